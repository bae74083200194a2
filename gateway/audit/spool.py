"""Entries that wait for the log, on this machine's disk, while it cannot be written.

Where a policy says `durability: spool`, a record counts as durable once it is here: a line
for each batch with its checksum, synced before anybody is told. When the log is back they
go into it in the order in which they came, each once however often it is tried: an entry
keeps its id. The size is bounded; what does not fit is refused, as without a spool.

Every process writes files of its own and holds a lock on them. Whoever starts takes over
the files that nobody holds, so a crash loses nothing. A last line that is cut off was never
acknowledged and is dropped; any other damage is an error for a person to look at.
"""

from __future__ import annotations

import fcntl
import os
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from zlib import crc32

import orjson
from uuid_utils import uuid7

from gateway.audit.entry import Entry, encodable
from gateway.store.content import ContentRow, KeyRow, Sealed

_SUFFIX = ".spool"
_PIECE = 1 << 16


class SpoolFull(Exception):
    """What should be spooled does not fit any more."""


class SpoolDamaged(OSError):
    """A file of the spool does not hold what was written to it."""


@dataclass(slots=True)
class _File:
    path: Path
    descriptor: int
    size: int
    read: int = 0  # up to here it is in the log


class Spool:
    """The spool of one process; a thread may append while another one reads.

    Args:
        directory: Where the files lie; made when first needed.
        max_bytes: How large they may be, all together.

    Attributes:
        entries: How many wait.
    """

    def __init__(self, directory: Path, max_bytes: int):
        self.max_bytes = max_bytes
        self.entries = 0
        self._directory = directory
        self._files: deque[_File] = deque()  # the oldest first; new batches go to the last
        self._turn = Lock()  # a file must not be dropped while somebody writes to it

    @property
    def size(self) -> int:
        """How much they take, bytes."""
        return sum(file.size for file in self._files)

    @property
    def has_room(self) -> bool:
        """Whether it is likely that one more fits."""
        return self.size + _PIECE <= self.max_bytes

    def open(self) -> None:
        """Take over what a process left that is no more.

        Raises:
            SpoolDamaged: If a line was changed, or one that is not the last is not whole.
            OSError: If the files cannot be read.
        """
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            descriptor = _taken_over(path)
            if descriptor is None:
                continue
            file = _File(path, descriptor, os.fstat(descriptor).st_size)
            self.entries += _checked(file)
            self._files.append(file)
            self._drop_finished()

    def append(self, entries: Sequence[Entry]) -> None:
        """Write a batch; durable on return.

        Raises:
            SpoolFull: If it does not fit.
            OSError: If it could not be written; then nothing of it is there.
        """
        content = orjson.dumps([_packed(entry) for entry in entries])
        line = b"%08x %b\n" % (crc32(content), content)
        with self._turn:
            self._append(line)
            self.entries += len(entries)

    def _append(self, line: bytes) -> None:
        if self.size + len(line) > self.max_bytes:
            raise SpoolFull
        file = self._files[-1] if self._files else self._new_file()
        try:
            _write(file.descriptor, line)
        except OSError:
            os.ftruncate(file.descriptor, file.size)
            raise
        file.size += len(line)

    def oldest(self) -> list[Entry]:
        """Return the batch that has waited longest; nothing if none does.

        Raises:
            SpoolDamaged, OSError: If it cannot be read back.
        """
        if not self._files or self._files[0].read >= self._files[0].size:
            return []
        return _unpacked_line(_line(self._files[0]))

    def forget(self, batch: Sequence[Entry]) -> None:
        """Say that `oldest` is in the log. INVARIANT: it is committed."""
        with self._turn:
            file = self._files[0]
            file.read += len(_line(file)) + 1
            self.entries -= len(batch)
            self._drop_finished()

    def close(self) -> None:
        """Let go of the files; what waits is taken over by the next process."""
        while self._files:
            os.close(self._files.popleft().descriptor)
        self.entries = 0

    def _drop_finished(self) -> None:
        while self._files and self._files[0].read >= self._files[0].size:
            file = self._files.popleft()
            file.path.unlink()
            os.close(file.descriptor)

    def _new_file(self) -> _File:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, descriptor = _made(self._directory)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)  # a file whose name is lost is lost
        finally:
            os.close(directory)
        file = _File(path, descriptor, 0)
        self._files.append(file)
        return file


def _made(directory: Path) -> tuple[Path, int]:
    """Return a new file that is held; one that is not yet may be dropped by whoever starts."""
    while True:
        path = directory / f"{uuid7().hex}{_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        if _locked(descriptor) and os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # theirs now, and empty


def _taken_over(path: Path) -> int | None:
    """Return a file that nobody holds, opened; None if somebody does, or has finished it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    except FileNotFoundError:
        return None
    if _locked(descriptor) and os.fstat(descriptor).st_nlink:
        return descriptor
    os.close(descriptor)
    return None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, line: bytes) -> None:
    written = 0
    while written < len(line):
        written += os.write(descriptor, line[written:])
    os.fsync(descriptor)


def _checked(file: _File) -> int:
    """Return how many entries a file holds, and cut off what was never acknowledged."""
    whole, entries = _File(file.path, file.descriptor, file.size), 0
    while whole.read < whole.size:
        line = _line(whole)
        end = whole.read + len(line) + 1
        if end > whole.size:
            os.ftruncate(file.descriptor, whole.read)
            os.fsync(file.descriptor)
            file.size = whole.read
            break
        entries += len(_unpacked_line(line))
        whole.read = end
    return entries


def _line(file: _File) -> bytes:
    """Return the line that begins where a file was read up to, without its newline."""
    pieces, at = [], file.read
    while piece := os.pread(file.descriptor, _PIECE, at):
        line, newline, _ = piece.partition(b"\n")
        pieces.append(line)
        if newline:
            break
        at += len(piece)
    return b"".join(pieces)


def _unpacked_line(line: bytes) -> list[Entry]:
    checksum, _, content = line.partition(b" ")
    if checksum != b"%08x" % crc32(content):
        raise SpoolDamaged("a line of the spool is not what was written")
    return [_unpacked(each) for each in orjson.loads(content)]


def _packed(entry: Entry) -> dict[str, Any]:
    return {
        "type": entry.type,
        "body": encodable(entry.body),
        "request_id": entry.request_id,
        "project": entry.project,
        "terminal": entry.terminal,
        "id": entry.id,
        "recorded_at": entry.recorded_at,
        "keys": [_packed_row(row) for row in entry.sealed.keys],
        "content": [_packed_row(row) for row in entry.sealed.content],
    }


def _unpacked(packed: Mapping[str, Any]) -> Entry:
    keys, content = packed["keys"], packed["content"]
    sealed = Sealed(
        tuple(KeyRow(**_unpacked_row(row, "wrapped")) for row in keys),
        tuple(ContentRow(**_unpacked_row(row, "box")) for row in content),
    )
    fields = {name: packed[name] for name in packed if name not in {"keys", "content"}}
    return Entry(**fields, sealed=sealed)


def _packed_row(row: KeyRow | ContentRow) -> dict[str, Any]:
    return {
        name: b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in row._asdict().items()
    }


def _unpacked_row(packed: Mapping[str, Any], sealed: str) -> dict[str, Any]:
    return {**packed, sealed: b64decode(packed[sealed])}
