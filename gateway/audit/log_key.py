"""The keys that sign checkpoints, and by whose name the log goes.

One key at a time signs every shard: a shard's origin is the key's name, a slash and the
shard. All replicas must be given the same file. Whoever has it can sign another history,
which is what witnesses and the auditor's older checkpoints are for.

The file holds one key a line, the oldest first. Which of them signs is for the log to say
(`gateway.audit.succession`): the first, until an entry says that another took over.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog

from gateway.audit.mldsa import MldsaSigningKey, parse_mldsa_signing_key
from gateway.notes import NoteError, SigningKey, new_key, parse_signing_key
from gateway.settings import Settings
from gateway.store.keyfile import create, replace

log = structlog.get_logger(__name__)


class LogKeys(Protocol):
    """The private keys of a log that are here."""

    @property
    def held(self) -> Sequence[SigningKey]:
        """At least one, all of one name, the oldest first. Raises `OSError`, `ValueError`."""
        ...

    @property
    def mldsa(self) -> MldsaSigningKey | None:
        """The key of a second signature, if there is to be one."""
        ...


class GivenLogKeys:
    """Keys that somebody gives us."""

    def __init__(self, *keys: SigningKey, mldsa: MldsaSigningKey | None = None):
        self.held: Sequence[SigningKey] = keys
        self.mldsa = mldsa


def open_log_keys(settings: Settings) -> FileLogKeys:
    """Return the keys that the settings name. Raises `OSError`, `ValueError`."""
    mldsa = settings.home / "keys" / "log-mldsa" if settings.log_mldsa else None
    return FileLogKeys(settings.resolved_log_key, mldsa)


class FileLogKeys:
    """Keys in a file, read again when it has changed: another process may rotate them.

    Args:
        path: The file; made with a key of a random name if there is none.
        mldsa: The file of the ML-DSA-44 key, made likewise; None for no second signature.

    Raises:
        OSError: If a file can neither be read nor made.
        ValueError: If it holds something else.
    """

    def __init__(self, path: Path, mldsa: Path | None = None):
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._held: tuple[SigningKey, ...] = ()
        if not path.exists():
            made = new_key(f"ostiary/{secrets.token_hex(6)}")
            create(path, f"{made.secret_text()}\n".encode())
        name = self.held[0].name
        self.mldsa = _mldsa_key(mldsa, name) if mldsa is not None else None

    @property
    def held(self) -> Sequence[SigningKey]:
        """See `LogKeys.held`."""
        try:
            found = self._path.stat()
            seen = found.st_ino, found.st_mtime_ns
            if seen != self._seen:
                self._held, self._seen = read_keys(self._path), seen
        except (OSError, ValueError) as error:
            if not self._held:
                raise
            # What was read before is as good as ever; a rotation replaces the file as a whole.
            log.warning("log_key_unreadable", error=type(error).__name__)
        return self._held

    def keep(self, keys: Sequence[SigningKey]) -> None:
        """Write the file anew, with these keys."""
        replace(self._path, "".join(f"{key.secret_text()}\n" for key in keys).encode())


def read_key(path: Path) -> SigningKey:
    """Return the one key in `path`.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds something else.
    """
    key, *others = read_keys(path)
    if others:
        raise ValueError(f"`{path}` must hold one key")
    return key


def read_keys(path: Path) -> tuple[SigningKey, ...]:
    """Return the keys in `path`. As `read_key`."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        keys = tuple(parse_signing_key(line) for line in lines)
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from error
    if len({key.name for key in keys}) != 1:
        raise ValueError(f"`{path}`: all keys of a log must have its name")
    return keys


def _mldsa_key(path: Path, name: str) -> MldsaSigningKey:
    if not path.exists():
        seed = secrets.token_bytes(32)
        create(path, f"{MldsaSigningKey(name, seed).secret_text()}\n".encode())
    try:
        key = parse_mldsa_signing_key(path.read_text(encoding="utf-8").rstrip("\n"))
    except NoteError as error:
        raise ValueError(f"`{path}`: {error}") from error
    if key.name != name:
        raise ValueError(f"`{path}` is a key of `{key.name}`; the log is `{name}`")
    return key
