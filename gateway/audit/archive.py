"""Writes a tar into which members are streamed, and puts a file in its place when it is whole."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from gateway.audit.bundle import Span

_BLOCK = 512  # bytes; what a tar is made of
_READ = 1 << 20


class Archive:
    """An uncompressed tar that is being written. Members may be archives themselves.

    Args:
        file: Open for writing and reading, at any place.

    Attributes:
        file: Where members are written to.
        digests: SHA-256 of each member, hexadecimal, by name.
        spans: Where each member lies.
    """

    def __init__(self, file: IO[bytes]):
        self.file = file
        self.digests: dict[str, str] = {}
        self.spans: dict[str, Span] = {}

    @contextmanager
    def member(self, name: str) -> Iterator[IO[bytes]]:
        """Write a member, whose size is known in the end."""
        head = self.file.tell()
        self.file.write(bytes(_BLOCK))
        yield self.file
        end = self.file.tell()
        span = Span(head + _BLOCK, end - head - _BLOCK)
        self.file.write(bytes(-span.size % _BLOCK))
        after = self.file.tell()
        self.file.seek(head)
        self.file.write(_header(name, span.size))
        self.digests[name], self.spans[name] = self._digest(span), span
        self.file.seek(after)

    def add(self, name: str, content: bytes) -> None:
        """Write a member that is at hand."""
        with self.member(name) as file:
            file.write(content)

    def end(self) -> None:
        """Say that no member follows."""
        self.file.write(bytes(2 * _BLOCK))

    def _digest(self, span: Span) -> str:
        self.file.seek(span.offset)
        digest, left = hashlib.sha256(), span.size
        while left:
            block = self.file.read(min(left, _READ))
            digest.update(block)
            left -= len(block)
        return digest.hexdigest()


@contextmanager
def whole_file(out: Path) -> Iterator[IO[bytes]]:
    """Write a file; one that is there is replaced when the new one is whole, and only then.

    Raises:
        OSError: If it cannot be written.
    """
    draft = draft_of(out)
    try:
        with draft.open("w+b") as file:
            yield file
        draft.replace(out)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def draft_of(out: Path) -> Path:
    """Return where a file lies until it is whole."""
    return out.with_name(f"{out.name}.part")


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(tarfile.GNU_FORMAT)
