"""What every entry must be by itself, and what a stretch of the log says. Standard library.

Each is one canonical JSON object whose columns say the same; each replica counts its own
without a gap; no request ends twice. A part is checked by itself, in a process of its own
if there are several, and what it says of replicas and requests is joined in log order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from gateway.audit.bundle import Part, read_lines, read_span
from gateway.audit.merkle import HASH_SIZE, blocks, leaf_hash, packed_root
from gateway.audit.projection import columns_of
from gateway.audit.shapes import ADMITTED, Shape, Shapes

_fast: Any = None
with suppress(ImportError):  # several times as fast where it is there, and the same answers
    import orjson

    _fast = orjson

# A request that was admitted so long before the end and has not ended never will.
LONGEST_REQUEST = timedelta(days=1)

_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


class Fault(NamedTuple):
    """What is wrong with an entry.

    Attributes:
        at: Its position in the bundle, from 0.
        reason: For people.
    """

    at: int
    reason: str


@dataclass(slots=True)
class Run:
    """Consecutive numbers of one replica, and where the first of them stands."""

    first: int
    last: int
    at: int


@dataclass(slots=True)
class Findings:
    """What a part of a bundle holds.

    Attributes:
        entries: How many.
        subtrees: The fewest complete subtrees over them: level and root, in log order; none
            after a fault.
        fault: The first thing that is wrong in it, or None.
        replicas: Which numbers of which replica.
        admitted: Requests without an end in this part: where, and when.
        ended: Requests that ended in it: where.
        first_id: Of the first entry.
        last_at: When the last entry was recorded.
        last_seq: Its number in the log.
        first_seq: That of the first entry.
    """

    entries: int = 0
    subtrees: list[tuple[int, bytes]] = field(default_factory=list)
    fault: Fault | None = None
    replicas: dict[str, Run] = field(default_factory=dict)
    admitted: dict[str, tuple[int, str]] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    first_id: str = ""
    last_at: str = ""
    first_seq: int = -1
    last_seq: int = -1


_shapes = Shapes()  # of the log that this process reads; nothing is believed because of them


def check_part(path: Path, start: int, part: Part) -> Findings:
    """Return what a part holds.

    Args:
        path: The bundle.
        start: The index in the log of the first entry of the bundle.
        part: Which.

    Raises:
        OSError: If the bundle cannot be read.
    """
    found = Findings(entries=part.lines)
    entries = read_lines(path, part.entries)
    leaves = list(map(leaf_hash, entries))
    faults = [_misfit(part.first, leaves, read_span(path, part.leaves))]
    faults.append(_first_fault(found, part.first, entries, read_lines(path, part.columns)))
    found.fault = min((fault for fault in faults if fault), default=None, key=lambda each: each.at)
    if found.fault is None:
        begin = start + part.first
        for level, index in blocks(begin, begin + part.lines):
            at = (index << level) - begin
            found.subtrees.append((level, packed_root(b"".join(leaves[at : at + (1 << level)]))))
    return found


def _misfit(first: int, leaves: list[bytes], listed: bytes) -> Fault | None:
    """Return the first entry whose hash is not the one that is listed."""
    if b"".join(leaves) == listed:
        return None
    for at, leaf in enumerate(leaves):
        if listed[at * HASH_SIZE : (at + 1) * HASH_SIZE] != leaf:
            return Fault(first + at, MISFIT)
    return None


def _first_fault(
    found: Findings, at: int, entries: list[bytes], columns: list[bytes]
) -> Fault | None:
    known, checked = _shapes.read, _Checked(found, at)
    try:
        for line, beside in zip(entries, columns, strict=False):
            if (read := known(line)) is not None:
                checked.add_known(*read, beside)
            else:
                checked.add(line, beside)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, _Wrong) else "it is no entry of a log"
        return Fault(checked.at, reason)
    if len(columns) != len(entries):
        return Fault(checked.at, "entries and columns are not as many")
    found.last_at = json.loads(columns[-1])[_RECORDED_AT]
    return None


def join(whole: Findings, part: Findings) -> Fault | None:
    """Add what a part says to what those before it say; return what does not fit."""
    faults = [part.fault] if part.fault else []
    if 0 <= part.first_seq <= whole.last_seq:
        faults.append(Fault(min(run.at for run in part.replicas.values()), _UNORDERED))
    whole.first_id = whole.first_id or part.first_id
    faults += [*_join_replicas(whole, part), *_join_requests(whole, part)]
    if part.last_at:
        whole.last_at, whole.last_seq = part.last_at, part.last_seq
    return min(faults, default=None)


def _join_replicas(whole: Findings, part: Findings) -> Iterator[Fault]:
    for replica, run in part.replicas.items():
        before = whole.replicas.get(replica)
        expected = before.last + 1 if before else 1 if is_new(replica, whole.first_id) else None
        if expected is not None and run.first != expected:
            yield Fault(run.at, f"{_GAP} `{replica}`: {expected} is missing")
        whole.replicas[replica] = run


def _join_requests(whole: Findings, part: Findings) -> Iterator[Fault]:
    for request, at in part.ended.items():
        if request in whole.ended:
            yield Fault(at, _TWICE)
        whole.ended[request] = at
        whole.admitted.pop(request, None)
    for request, admission in part.admitted.items():
        if request not in whole.ended:
            whole.admitted[request] = admission


def never_ended(whole: Findings) -> Fault | None:
    """Return the first request that must have ended by the end of the bundle and has not."""
    if not whole.admitted:
        return None
    limit = datetime.fromisoformat(whole.last_at) - LONGEST_REQUEST
    late = [at for at, when in whole.admitted.values() if datetime.fromisoformat(when) < limit]
    return Fault(min(late), "its request never ended") if late else None


class _Wrong(ValueError):
    """Carries what is said about an entry."""


MISFIT = "it is not the entry that the log's tree has there"
_UNORDERED = "the log's numbers do not go up"
_GAP = "a gap in the numbers of replica"
_TWICE = "its request has ended before"
_RECORDED_AT = 3  # which column
_COLUMN = "a column does not say what the entry says"


class _Checked:
    """The entries of a part that were found right so far.

    Attributes:
        at: Where the next one stands in the bundle.
    """

    __slots__ = ("_found", "_replica", "_run", "at")

    def __init__(self, found: Findings, at: int):
        self.at = at
        self._found = found
        self._replica = b""  # of the last entry, in quotes
        self._run = Run(0, 0, 0)  # and its

    def add_known(self, shape: Shape, said: tuple[bytes, ...], beside: bytes) -> None:
        """Check an entry of a known shape: it is canonical, and `said` stands in it."""
        id, moment, request, project, replica, number = said
        found = self._found
        seq = found.last_seq + 1
        said = (id, moment, request or b"null", project or b"null", replica, number)
        if shape.beside % (seq, *said) != beside:
            seq, *stored = (_fast or json).loads(beside)
            if type(seq) is not int or json.loads(shape.beside % (seq, *said))[1:] != stored:
                raise _Wrong(_COLUMN)
            self._check_follows(seq)
        if found.first_seq < 0:
            found.first_seq, found.first_id = seq, id[1:-1].decode()
        found.last_seq = seq
        if replica == self._replica and int(number) == self._run.last + 1:
            self._run.last += 1
        else:
            self._count(replica[1:-1].decode(), int(number))
            self._replica = replica
        if shape.terminal:
            self._end(request[1:-1].decode())
        elif shape.admits:
            self._admit(request[1:-1].decode(), moment[1:-1].decode())
        self.at += 1

    def add(self, line: bytes, beside: bytes) -> None:
        """Check an entry."""
        document = parse_canonical(line)
        columns = columns_of(document)
        seq, *stored = (_fast or json).loads(beside)
        if tuple(stored) != columns or type(seq) is not int:
            raise _Wrong(_COLUMN)
        self._check_follows(seq)
        found = self._found
        if found.first_seq < 0:
            found.first_seq, found.first_id = seq, columns.id
        found.last_seq = seq
        self._count(columns.replica, columns.replica_seq)
        self._replica = b""
        if columns.terminal:
            self._end(columns.request_id)
        elif columns.type == ADMITTED:
            self._admit(columns.request_id, columns.recorded_at)
        self.at += 1
        _shapes.learn(document)

    def _check_follows(self, seq: int) -> None:
        if seq <= self._found.last_seq:
            raise _Wrong(_UNORDERED)

    def _count(self, replica: str, number: int) -> None:
        run = self._found.replicas.get(replica)
        if run is None:
            run = self._found.replicas[replica] = Run(number, number, self.at)
        elif number == run.last + 1:
            run.last = number
        else:
            raise _Wrong(f"{_GAP} `{replica}`: {run.last + 1} is missing")
        self._run = run

    def _admit(self, request_id: str, moment: str) -> None:
        if request_id not in self._found.ended:
            self._found.admitted[request_id] = (self.at, moment)

    def _end(self, request_id: str) -> None:
        if request_id in self._found.ended:
            raise _Wrong(_TWICE)
        self._found.ended[request_id] = self.at
        self._found.admitted.pop(request_id, None)


def parse_canonical(line: bytes) -> dict[str, Any]:
    """Read an entry. Raises `ValueError` unless these are its canonical bytes (RFC 8785)."""
    if _fast is not None and not (b".0," in line or b".0}" in line or b".0]" in line):
        document = _fast.loads(line)
        canonical = _fast.dumps(document, option=_fast.OPT_SORT_KEYS)
    else:
        document = json.loads(line, parse_float=_fraction)
        canonical = _encode(document).encode()
    if canonical != line or not isinstance(document, dict):
        raise _Wrong("its bytes are not canonical JSON")
    return document


def _fraction(text: str) -> float:
    if text.endswith(".0"):  # an integer, which is written as one
        raise _Wrong("its bytes are not canonical JSON")
    return float(text)


def is_new(replica: str, first_id: str) -> bool:
    """Return whether a replica came after the first entry: both are named by UUIDv7."""
    born = replica.rpartition("_")[2][:12]
    return len(born) == 12 and born > first_id.replace("-", "")[:12]
