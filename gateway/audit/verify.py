"""What an outside auditor runs: a bundle and a key -> yes or no. Standard library only.

Beside it stand `cryptography`, for Ed25519, and the modules it imports, which want nothing
more; `gateway.audit.verifier` makes one file of them all. Nothing of the operator's is
believed: the hashes are computed, the root must be the one that was signed, and an older
checkpoint of the auditor's own must be a beginning of the same log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gateway.audit.bundle import (
    PART,
    Bundle,
    BundleError,
    check_format,
    read_hashes,
    read_notes,
    read_object,
    read_span,
)
from gateway.audit.checkpoint import Checkpoint, hash_text
from gateway.audit.entry_check import (
    MISFIT,
    Fault,
    Findings,
    check_part,
    join,
    never_ended,
    parse_canonical,
)
from gateway.audit.merkle import (
    HASH_SIZE,
    ProofError,
    Tree,
    blocks,
    leaf_hash,
    root_from_inclusion_proof,
)
from gateway.audit.mldsa import MldsaKey, check_mldsa
from gateway.audit.succession import Keyring, parse_succession
from gateway.notes import NoteError, VerifierKey, parse_note

PROOF_FORMAT = "ostiary-proof/1"
KEYED_PROOF_FORMAT = "ostiary-proof/2"  # of a log whose key was changed
_ALONE = 16 * PART  # with fewer entries no process is started
_LARGEST_PROOF = 1_000_000  # bytes

_SPARE = "more entries than the manifest says"

Progress = Callable[[int, int], None]
Subtrees = Sequence[tuple[int, bytes]]  # level and root of complete subtrees, in log order


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        intact: Whether everything that was looked at is as it was signed.
        problem: What is wrong, or None.
        index: The first entry that is wrong, as an index of the log; None if none can be named.
        origin: Which log.
        size: How many entries the checkpoint covers.
        root: Its root hash, base64.
        first: Index of the first entry in the bundle.
        entries: How many there are.
        open_requests: Requests that had not ended yet.
        since: The size of the older checkpoint that this one extends, or None.
        what: What files under a signed list are, or None.
        made: When they were made, or None.
        files: How many they are, or None.
        logs: What was found of each log among them.
        keys: The keys that the log had, in their order, where it was given another.
        mldsa: Whether the checkpoint was found to be signed with ML-DSA-44 too.
    """

    intact: bool
    problem: str | None = None
    index: int | None = None
    origin: str | None = None
    size: int | None = None
    root: str | None = None
    first: int | None = None
    entries: int | None = None
    open_requests: int | None = None
    since: int | None = None
    what: str | None = None
    made: str | None = None
    files: int | None = None
    logs: tuple[Report, ...] = ()
    keys: tuple[str, ...] = ()
    mldsa: bool = False

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        logs = [each.document() for each in self.logs]
        return {**asdict(self), "logs": logs, "keys": list(self.keys)}


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom an auditor believes.

    Attributes:
        key: The log's, now or at some time: how it changed travels with what is verified.
        mldsa: The log's ML-DSA-44 key, if it must have signed the checkpoint too.
        key_changes: Changes of key, signed notes, that the auditor was given besides.
    """

    key: VerifierKey
    mldsa: MldsaKey | None = None
    key_changes: tuple[bytes, ...] = ()

    def keyring(self, notes: Iterable[bytes]) -> Keyring:
        """Return what follows with these changes of key. Raises `Tampered`."""
        try:
            changes = [parse_succession(note) for note in (*self.key_changes, *notes)]
            return Keyring([self.key], changes)
        except NoteError as error:
            raise Tampered(f"a change of the log's key: {error}") from error


class Tampered(Exception):
    """Ends the work: what is wrong, and the index of the entry if one can be named."""

    def __init__(self, problem: str, index: int | None = None):
        super().__init__(problem)
        self.index = index


def verify_file(
    path: Path,
    key: VerifierKey | Trust,
    since: bytes | None = None,
    *,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Verify a bundle, or the proof of one entry.

    Args:
        path: The file.
        key: The log's, or whom else the auditor believes.
        since: A signed checkpoint that the auditor was given earlier.
        processes: How many work on a long bundle; as many as there are cores by default.
        progress: Told how many entries of how many are done.

    Raises:
        BundleError: If nothing can be said: not a bundle, not a whole one, or one that
            cannot be compared with the older checkpoint.
        OSError: If it cannot be read.
    """
    trust = key if isinstance(key, Trust) else Trust(key)
    with path.open("rb") as file:
        is_proof = file.read(1) == b"{"
    try:
        if is_proof:
            if since is not None:
                raise BundleError("the proof of one entry says nothing about an older checkpoint")
            return _verified_proof(path, trust)
        return verify_bundle(Bundle(path), trust, since, processes, progress)
    except Tampered as found:
        return Report(False, str(found), found.index)


def verify_bundle(
    bundle: Bundle,
    trust: Trust,
    since: bytes | None,
    processes: int | None,
    progress: Progress,
) -> Report:
    """Verify a bundle that is open; arguments as `verify_file` has them.

    Raises:
        Tampered: If it is not intact.
        BundleError: If nothing can be said.
    """
    return _Verification(bundle, trust).run(since, processes, progress)


class _Verification:
    """The work on one bundle."""

    def __init__(self, bundle: Bundle, trust: Trust):
        self.bundle = bundle
        self.manifest = manifest = bundle.manifest
        self.keys = trust.keyring(manifest.keys)
        self.head = signed_head(bundle.checkpoint, self.keys, "the checkpoint", trust.mldsa)
        self.mldsa = trust.mldsa is not None
        self.end = manifest.first + manifest.count
        if self.end > self.head.size:
            raise Tampered(f"the checkpoint covers {self.head.size} entries only", self.head.size)

    def run(self, since: bytes | None, processes: int | None, progress: Progress) -> Report:
        older = self._older(since)
        whole, parts = self._read(processes, progress)
        self._check_root(parts)
        if older is not None:
            self._check_extends(older, parts)
        if (fault := never_ended(whole)) is not None:
            raise Tampered(fault.reason, self.manifest.first + fault.at)
        if older != self.head:
            check_vouched(self.bundle.checkpoint, self.keys)
        return replace(
            _of(self.head),
            first=self.manifest.first,
            entries=self.manifest.count,
            open_requests=len(whole.admitted),
            since=older.size if older else None,
            keys=_key_texts(self.keys),
            mldsa=self.mldsa,
        )

    def _older(self, since: bytes | None) -> Checkpoint | None:
        if since is None:
            return None
        older = signed_head(since, self.keys, "the older checkpoint")
        if older.origin != self.head.origin:
            raise BundleError(f"the older checkpoint is one of `{older.origin}`")
        if older.size > self.head.size:
            raise Tampered(
                f"the log had {older.size} entries and has {self.head.size}", self.head.size
            )
        if not self.manifest.first <= older.size <= self.end:
            raise BundleError(
                f"entries {self.manifest.first} to {self.end} do not show whether the log still "
                f"begins with the first {older.size}; export all of them"
            )
        return older

    def _read(self, processes: int | None, progress: Progress) -> tuple[Findings, list[Subtrees]]:
        """Check every entry; return what they say, and the subtrees of each part."""
        whole, parts, total = Findings(), list[Subtrees](), self.manifest.count
        done = 0
        for found in _checked(self.bundle, processes, total):
            fault = join(whole, found)
            if fault is not None:
                self._refuse(fault)
            parts.append(found.subtrees)
            done += found.entries
            progress(done, total)
        if done < total:
            self._refuse(Fault(done, MISFIT))
        if self.bundle.listed != total * HASH_SIZE:
            self._refuse(Fault(total, _SPARE))
        return whole, parts

    def _refuse(self, fault: Fault) -> None:
        spare = fault.reason == MISFIT and fault.at >= self.manifest.count
        reason = _SPARE if spare else fault.reason
        raise Tampered(reason, self.manifest.first + fault.at)

    def _check_root(self, parts: Iterable[Subtrees]) -> None:
        tree = self._before()
        for part in parts:
            _append(tree, part)
        right = list(blocks(self.end, self.head.size))
        if len(right) != len(self.manifest.right):
            raise Tampered("the manifest has hashes to spare, or too few")
        _append(tree, zip((level for level, _ in right), self.manifest.right, strict=True))
        if tree.root() != self.head.root:
            raise Tampered("the entries do not lead to the root hash that was signed")

    def _check_extends(self, older: Checkpoint, parts: Iterable[Subtrees]) -> None:
        """Check that the first entries are those of an older checkpoint.

        Within a part there are no subtrees, but its leaves are listed, and were compared.
        """
        tree = self._before()
        for part in parts:
            if tree.size + sum(1 << level for level, _ in part) > older.size:
                break
            _append(tree, part)
        first = self.manifest.first
        listed = self.bundle.leaves(tree.size - first, older.size - first)
        for leaf in _split(read_span(self.bundle.path, listed)):
            tree.append(leaf)
        if tree.root() != older.root:
            raise Tampered(
                f"the first {older.size} entries are not those of the older checkpoint: "
                "the log was forked"
            )

    def _before(self) -> Tree:
        """Return the tree over the entries before the bundle."""
        tree = Tree()
        left = list(blocks(0, self.manifest.first))
        if len(left) != len(self.manifest.left):
            raise Tampered("the manifest has hashes to spare, or too few")
        _append(tree, zip((level for level, _ in left), self.manifest.left, strict=True))
        return tree


def _append(tree: Tree, subtrees: Iterable[tuple[int, bytes]]) -> None:
    for level, hash in subtrees:
        tree.append_subtree(level, hash)


def _checked(bundle: Bundle, processes: int | None, total: int) -> Iterator[Findings]:
    processes = processes or os.cpu_count() or 1
    check = partial(check_part, bundle.path, bundle.manifest.first)
    if processes == 1 or total <= _ALONE:
        yield from map(check, bundle.parts())
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(check, bundle.parts())


def _verified_proof(path: Path, trust: Trust) -> Report:
    content = path.read_bytes()
    if len(content) > _LARGEST_PROOF:
        raise BundleError("too large for the proof of one entry")
    proof = read_object(content, {"format", "index", "entry", "hashes", "checkpoint"}, {"keys"})
    check_format(proof, PROOF_FORMAT, KEYED_PROOF_FORMAT)
    keys = trust.keyring(read_notes(proof.get("keys", [])))
    index, entry, note = proof["index"], proof["entry"], proof["checkpoint"]
    if type(index) is not int or not isinstance(entry, str) or not isinstance(note, str):
        raise BundleError("the proof's fields cannot be used")
    head = signed_head(_bytes(note), keys, "the checkpoint", trust.mldsa)
    hashes, line = read_hashes(proof["hashes"]), _bytes(entry)
    try:
        parse_canonical(line)
        root = root_from_inclusion_proof(leaf_hash(line), index, head.size, hashes)
    except ProofError as error:
        raise Tampered(str(error), index) from error
    except ValueError as error:
        raise Tampered("its bytes are not canonical JSON", index) from error
    if root != head.root:
        raise Tampered("the entry is not in the log at this index", index)
    check_vouched(_bytes(note), keys)
    found = replace(_of(head), first=index, entries=1)
    return replace(found, keys=_key_texts(keys), mldsa=trust.mldsa is not None)


def _key_texts(keys: Keyring) -> tuple[str, ...]:
    if not keys.changes:
        return ()
    return (str(keys.changes[0].old), *(str(each.new) for each in keys.changes))


def signed_head(note: bytes, keys: Keyring, what: str, mldsa: MldsaKey | None = None) -> Checkpoint:
    """Return what a checkpoint says. Raises `Tampered` unless the log's key signed it."""
    try:
        if mldsa is not None:
            check_mldsa(parse_note(note), mldsa)
        return keys.read(note)
    except NoteError as error:
        raise Tampered(f"{what}: {error}") from error


def check_vouched(note: bytes, keys: Keyring) -> None:
    """Raise `BundleError` if only a replaced key, which may be stolen, signed a checkpoint."""
    if not keys.vouches(note):
        raise BundleError(
            "only a key that was replaced before the one that you trust signed the checkpoint, "
            "and whoever stole it could; ask for one by the key that you trust, or give your own "
            "of this size as the older checkpoint"
        )


def _of(head: Checkpoint) -> Report:
    return Report(True, origin=head.origin, size=head.size, root=hash_text(head.root))


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BundleError("the proof is no Unicode text") from error


def _split(hashes: bytes) -> Sequence[bytes]:
    return [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]
