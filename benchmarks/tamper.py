"""Tampers with a log in every way we could think of: is each found, and its place named?

    python -m benchmarks.tamper [--tampers 10000] [--requests 400] [--seed 1]

Writes a log through our own ledger, exports it and verifies the bundle, untouched: that
must be intact. Then, again and again, changes something at a random place and verifies
anew, with an older checkpoint beside it as an auditor has. Exit status 0 if every change
was found, with the first bad index where there is one, and nothing untouched was accused.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.ledger import DECISION, exchange_number
from gateway.audit.bundle import CHECKPOINT, COLUMNS, ENTRIES, LEAVES, MANIFEST, BundleError
from gateway.audit.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from gateway.audit.export import Stretch, export, signed_tree
from gateway.audit.heads import FileHeads
from gateway.audit.ledger import Ledger
from gateway.audit.log_key import GivenLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.merkle import leaf_hash, root_hash
from gateway.audit.verify import Report, verify_file
from gateway.notes import SigningKey, VerifierKey, parse_note
from gateway.store.session import Database

KEY = SigningKey("log.example", b"k" * 32)
_STRANGER = SigningKey("log.example", b"s" * 32)


@dataclass(slots=True)
class Copy:
    """A bundle taken apart, to be changed.

    Attributes:
        entries: Lines.
        columns: Lines.
        leaves: Hashes.
        checkpoint: The signed note.
        manifest: As in the file.
        key: What it is verified with.
        cut: How many bytes are cut off the file.
    """

    entries: list[bytes]
    columns: list[bytes]
    leaves: list[bytes]
    checkpoint: bytes
    manifest: dict[str, object]
    key: VerifierKey = field(default_factory=lambda: KEY.verifier)
    cut: int = 0

    def write(self, path: Path) -> None:
        """Write it as a bundle."""
        members = {
            ENTRIES: b"".join(line + b"\n" for line in self.entries),
            COLUMNS: b"".join(line + b"\n" for line in self.columns),
            LEAVES: b"".join(self.leaves),
            MANIFEST: json.dumps(self.manifest).encode(),
            CHECKPOINT: self.checkpoint,
        }
        with tarfile.open(path, "w:") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        if self.cut:
            content = path.read_bytes()
            path.write_bytes(content[: max(0, len(content) - self.cut)])

    def rehash(self) -> None:
        """Make hashes, count and root fit the entries, as somebody thorough would."""
        self.leaves = [leaf_hash(entry) for entry in self.entries]
        self.manifest["count"] = len(self.entries)

    def sign(self, key: SigningKey) -> None:
        """Sign what is there."""
        origin = parse_checkpoint(parse_note(self.checkpoint).text).origin
        checkpoint = Checkpoint(origin, len(self.leaves), root_hash(self.leaves))
        self.checkpoint = sign_checkpoint(checkpoint, key)


def read(path: Path) -> Copy:
    """Take a bundle apart."""
    with tarfile.open(path, "r:") as archive:
        content = {member.name: archive.extractfile(member) for member in archive}
        parts = {name: file.read() for name, file in content.items() if file is not None}
    leaves = parts[LEAVES]
    return Copy(
        parts[ENTRIES].split(b"\n")[:-1],
        parts[COLUMNS].split(b"\n")[:-1],
        [leaves[at : at + 32] for at in range(0, len(leaves), 32)],
        parts[CHECKPOINT],
        json.loads(parts[MANIFEST]),
    )


# A tamper changes a copy and returns the first index that is then wrong, or None where no
# single entry is at fault.
Tamper = Callable[[Copy, random.Random], int | None]


def _flip(copy: Copy, chance: random.Random) -> int:
    at = chance.randrange(len(copy.entries))
    line = bytearray(copy.entries[at])
    line[chance.randrange(len(line))] ^= 1 << chance.randrange(8)
    line = line.replace(b"\n", b"\x0b")  # another line would be an insertion
    copy.entries[at] = bytes(line)
    return at


def _edit(copy: Copy, chance: random.Random) -> int:
    at = chance.randrange(len(copy.entries))
    document = json.loads(copy.entries[at])
    document["recorded_at"] = document["recorded_at"].replace("20", "19", 1)
    copy.entries[at] = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return at


def _delete(copy: Copy, chance: random.Random) -> int:
    at = chance.randrange(len(copy.entries) - 1)
    del copy.entries[at], copy.columns[at]
    return at


def _insert(copy: Copy, chance: random.Random) -> int:
    at, source = chance.randrange(1, len(copy.entries)), chance.randrange(len(copy.entries) - 1)
    at += at == source  # the same entry twice in a row begins one later
    copy.entries.insert(at, copy.entries[source])
    copy.columns.insert(at, copy.columns[source])
    return at


def _swap(copy: Copy, chance: random.Random) -> int:
    one, two = sorted(chance.sample(range(len(copy.entries)), 2))
    for lines in (copy.entries, copy.columns):
        lines[one], lines[two] = lines[two], lines[one]
    return one


def _reorder(copy: Copy, chance: random.Random) -> int:
    begin = chance.randrange(len(copy.entries) - 3)
    end = chance.randrange(begin + 2, len(copy.entries))
    for lines in (copy.entries, copy.columns):
        lines[begin:end] = lines[begin:end][::-1]
    return begin


def _cut_entries(copy: Copy, chance: random.Random) -> int:
    kept = chance.randrange(1, len(copy.entries))
    del copy.entries[kept:], copy.columns[kept:]
    return kept


def _cut_file(copy: Copy, chance: random.Random) -> None:
    copy.cut = chance.randrange(11_264, 200_000)  # more than a tar ends in: zeros, up to 11,263


def _column(copy: Copy, chance: random.Random) -> int:
    at = chance.randrange(len(copy.columns))
    columns = json.loads(copy.columns[at])
    which = chance.randrange(1, 9)
    columns[which] = not columns[which] if which == 8 else "other"
    copy.columns[at] = json.dumps(columns).encode()
    return at


def _end_twice(copy: Copy, chance: random.Random) -> int:
    ends = [at for at, line in enumerate(copy.columns) if line.endswith(b"true]")]
    source = chance.choice(ends)
    copy.entries.append(copy.entries[source])
    copy.columns.append(copy.columns[source])
    copy.manifest["count"] = len(copy.entries)
    copy.leaves.append(copy.leaves[source])
    return len(copy.entries) - 1


def _leaf(copy: Copy, chance: random.Random) -> int:
    at = chance.randrange(len(copy.leaves))
    copy.leaves[at] = leaf_hash(copy.leaves[at])
    return at


def _head(copy: Copy, chance: random.Random) -> None:
    _, size, root = copy.checkpoint.decode().split("\n", 3)[:3]
    other = chance.choice([str(int(size) - 1), str(int(size) + 1), f"+{size}", f"0{size}"])
    if chance.random() < 0.5:
        copy.checkpoint = copy.checkpoint.replace(size.encode(), other.encode(), 1)
    else:
        at = chance.randrange(len(root) - 2)
        letter = "A" if root[at] != "A" else "B"
        changed = root[:at] + letter + root[at + 1 :]
        copy.checkpoint = copy.checkpoint.replace(root.encode(), changed.encode(), 1)


def _wrong_key(copy: Copy, chance: random.Random) -> None:
    if chance.random() < 0.5:
        copy.key = _STRANGER.verifier
    else:
        copy.sign(_STRANGER)


def _roll_back(copy: Copy, chance: random.Random) -> int:
    """Sign a shorter log with the log's own key: only the older checkpoint can tell."""
    kept = chance.randrange(1, len(copy.entries) // 2)
    del copy.entries[kept:], copy.columns[kept:]
    copy.rehash()
    copy.sign(KEY)
    return kept


def _fork(copy: Copy, chance: random.Random) -> None:
    """Sign another history with the log's own key: likewise."""
    at = chance.randrange(len(copy.entries) // 2)
    document = json.loads(copy.entries[at])
    document["replica"]["build"] += ".1"
    copy.entries[at] = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    copy.rehash()
    copy.sign(KEY)


def _gap(copy: Copy, chance: random.Random) -> int:
    """Leave an entry out and sign the rest: the replica's numbers tell."""
    at = chance.randrange(len(copy.entries) // 2 + 1, len(copy.entries) - 1)
    del copy.entries[at], copy.columns[at]
    copy.rehash()
    copy.sign(KEY)
    return at


TAMPERS: dict[str, Tamper] = {
    "flip a bit": _flip,
    "edit a field": _edit,
    "delete an entry": _delete,
    "insert an entry": _insert,
    "swap two entries": _swap,
    "reorder a stretch": _reorder,
    "cut off entries": _cut_entries,
    "cut off the file": _cut_file,
    "change a column": _column,
    "end a request twice": _end_twice,
    "change a listed hash": _leaf,
    "change the checkpoint": _head,
    "sign with another key": _wrong_key,
    "roll back, and sign": _roll_back,
    "fork, and sign": _fork,
    "leave one out, and sign": _gap,
}


@dataclass(slots=True)
class Tally:
    """What came of it: per kind how many, how many were found and how many placed."""

    tried: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    placed: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)


def verdict(copy: Copy, path: Path, since: bytes) -> Report:
    """Verify a copy; what is no whole bundle is not intact either."""
    copy.write(path)
    try:
        return verify_file(path, copy.key, since, processes=1)
    except BundleError as error:
        return Report(False, str(error))


def tamper(whole: Copy, since: bytes, times: int, seed: int) -> Tally:
    """Change copies of a bundle `times` times, each kind as often."""
    chance, tally, kinds = random.Random(seed), Tally(), list(TAMPERS)  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bundle"
        for number in range(times):
            kind = kinds[number % len(kinds)]
            copy = replace(
                whole,
                entries=list(whole.entries),
                columns=list(whole.columns),
                leaves=list(whole.leaves),
                manifest=dict(whole.manifest),
            )
            index = TAMPERS[kind](copy, chance)
            report = verdict(copy, path, since)
            tally.tried[kind] += 1
            tally.found[kind] += not report.intact
            tally.placed[kind] += report.index == index
            if report.intact or report.index != index:
                tally.missed.append(f"{number} {kind}: {index} is wrong, and it said {report}")
    return tally


async def write_log(home: Path, requests: int) -> tuple[Copy, bytes, int]:
    """Write a log, and return its bundle, a checkpoint from half-way, and false alarms."""
    database = Database(f"sqlite+aiosqlite:///{home}/ostiary.db")
    await database.migrate()
    tree = LogTree(database, GivenLogKeys(KEY), FileHeads(home / "heads"))
    ledger = Ledger(database, home)
    await ledger.start()
    older, alarms, bundle = b"", 0, home / "bundle"
    for number in range(requests):
        async with ledger.exchange(exchange_number(number)) as exchange:
            await ledger.record(exchange, DECISION)
        if number % 20 == 0 or number == requests // 2 or number == requests - 1:
            await tree.turn()
            alarms += tree.alarm is not None
            await export(database, Stretch(), bundle)
            alarms += not verify_file(bundle, KEY.verifier, older or None, processes=1).intact
        if number == requests // 2:
            older = (await signed_tree(database)).checkpoint or b""
    await ledger.aclose()
    await tree.aclose()
    await database.aclose()
    return read(bundle), older, alarms


def main() -> None:
    """Tamper, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tampers", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        whole, since, alarms = asyncio.run(write_log(Path(home), args.requests))
    tally = tamper(whole, since, args.tampers, args.seed)
    for kind, tried in tally.tried.items():
        found, placed = tally.found[kind], tally.placed[kind]
        print(f"{kind:<24} {tried:>6} tried {found:>6} found {placed:>6} placed")
    print(f"{len(whole.entries)} entries; {alarms} false alarms; {len(tally.missed)} missed")
    print("\n".join(tally.missed[:20]))
    raise SystemExit(1 if tally.missed or alarms else 0)


if __name__ == "__main__":
    main()
