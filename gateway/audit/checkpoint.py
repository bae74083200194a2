"""Checkpoints (c2sp.org/tlog-checkpoint): how large a log is, and its root hash, signed. Pure.

A checkpoint is the text of a signed note: three lines, the log's origin, the tree size
and the root hash. The reader takes no other spelling of the same: no sign, no leading
zero, no spare line, no base64 that could be written in another way.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.audit.merkle import EMPTY_ROOT, HASH_SIZE
from gateway.notes import Note, NoteError, SigningKey, VerifierKey, parse_note, sign, verify

MAX_SIZE = 2**63 - 1  # what databases count to

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_HASH = re.compile(r"[A-Za-z0-9+/]{43}=", re.ASCII)  # 32 bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log said it was.

    Attributes:
        origin: Which log; one line, not empty.
        size: How many entries it held, at most `MAX_SIZE`.
        root: The root hash over them, 32 bytes.

    Raises:
        NoteError: If it cannot be written as a checkpoint.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Check that it can be written, and read back as the same."""
        if not self.origin or "\n" in self.origin:
            raise NoteError("a log's origin must be one line, and not empty")
        if not 0 <= self.size <= MAX_SIZE:
            raise NoteError("a tree size must be a number from 0 to 2^63 - 1")
        if len(self.root) != HASH_SIZE:
            raise NoteError(f"a root hash must have {HASH_SIZE} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise NoteError("the root hash of an empty log must be that of the empty string")

    def text(self) -> str:
        """Return what is signed."""
        return f"{self.origin}\n{self.size}\n{hash_text(self.root)}\n"

    @property
    def head(self) -> tuple[int, bytes]:
        """Its size and root hash."""
        return self.size, self.root


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint's note. Raises `NoteError`."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise NoteError("a checkpoint must be three lines: origin, tree size, root hash")
    origin, size, root, _ = lines
    return Checkpoint(origin, parse_size(size), parse_hash(root))


def parse_size(text: str) -> int:
    """Read a tree size or an index. Raises `NoteError` at `+5`, `05`, `1_0`."""
    if not _SIZE.fullmatch(text):
        raise NoteError("a tree size must be written in digits, without a sign or leading zeros")
    return int(text)


def hash_text(hash: bytes) -> str:
    """Return a hash as base64."""
    return b64encode(hash).decode()


def parse_hash(text: str) -> bytes:
    """Read a hash: base64 of 32 bytes. Raises `NoteError` if it could be written otherwise."""
    if not _HASH.fullmatch(text):
        raise NoteError(f"a hash must be base64 of {HASH_SIZE} bytes")
    hash = b64decode(text)
    if hash_text(hash) != text:
        raise NoteError("base64 that could be written in another way")
    return hash


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> bytes:
    """Return the signed note of a checkpoint."""
    return sign(Note(checkpoint.text()), key).encode()


def read_checkpoint(content: bytes, trusted: Iterable[VerifierKey]) -> Checkpoint:
    """Return what a signed checkpoint says, once a trusted key has signed it.

    The origin must be the key's name, or that and a shard: `<name>/2026h2`.

    Raises:
        NoteError: If it is malformed, none of the keys signed it, or it is another log's.
    """
    note = parse_note(content)
    signers = verify(note, trusted)
    checkpoint = parse_checkpoint(note.text)
    origin = checkpoint.origin
    if not any(origin == key.name or origin.startswith(f"{key.name}/") for key in signers):
        raise NoteError(f"`{origin}` is not a log of the key `{signers[0].name}`")
    return checkpoint
