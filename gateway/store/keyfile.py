"""Secrets that live in files: made on first use, readable by their owner only."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECRET_SIZE = 32  # bytes


def read_or_create(path: Path) -> bytes:
    """Return the 32-byte secret in `path`, making it (0600, directory 0700) if need be.

    Processes that do this at the same time all get the same secret. Replicas on several
    machines must be given the same file.

    Raises:
        OSError: If the file can neither be read nor made.
        ValueError: If it does not hold exactly 32 bytes.
    """
    ensure_file(path)
    secret = path.read_bytes()
    if len(secret) != SECRET_SIZE:
        raise ValueError(f"`{path}` must hold exactly {SECRET_SIZE} bytes")
    return secret


def ensure_file(path: Path) -> None:
    """Make a file with 32 random bytes where there is none, as `read_or_create` does."""
    if not path.exists():
        create(path, secrets.token_bytes(SECRET_SIZE))


def create(path: Path, content: bytes) -> None:
    """Make a secret file (0600, directory 0700); one that is there stays as it is.

    Raises:
        OSError: If it cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _drafted(path, content) as draft, suppress(FileExistsError):
        os.link(draft, path)  # whole or not at all; fails if another process was first


def replace(path: Path, content: bytes) -> None:
    """Write a file of ours anew (0600), whole or not at all, and on the disk on return."""
    with _drafted(path, content) as draft:
        os.replace(draft, path)
        _sync_directory(path.parent)


@contextmanager
def _drafted(path: Path, content: bytes) -> Iterator[Path]:
    """Yield a file beside `path` that holds `content`, on the disk; it goes at the end."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield Path(draft)
    finally:
        Path(draft).unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
