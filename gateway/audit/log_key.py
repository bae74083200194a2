"""The key that signs checkpoints, and by whose name the log goes.

One key signs every shard: a shard's origin is the key's name, a slash and the shard. All
replicas must be given the same file. Whoever has it can sign another history, which is what
witnesses and the auditor's older checkpoints are for.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from gateway.notes import SigningKey, new_key, parse_signing_key
from gateway.store.keyfile import create


def read_or_create_key(path: Path) -> SigningKey:
    """Return the key in `path`, making one of a random name if there is none.

    Raises:
        OSError: If the file can neither be read nor made.
        ValueError: If it holds something else.
    """
    if not path.exists():
        made = new_key(f"ostiary/{secrets.token_hex(6)}")
        create(path, f"{made.secret_text()}\n".encode())
    return read_key(path)


def read_key(path: Path) -> SigningKey:
    """Return the key in `path`.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds something else.
    """
    try:
        return parse_signing_key(path.read_text(encoding="utf-8").rstrip("\n"))
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from error
