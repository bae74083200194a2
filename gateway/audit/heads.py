"""The head-keeper: the last checkpoints signed or seen, kept apart from the log's database.

A database that was restored from a backup is consistent with itself. That it has lost its
end shows only against something that was not restored with it: a directory, or another
database. What is kept only ever grows.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

from sqlalchemy import text

from gateway.audit.checkpoint import Checkpoint, parse_checkpoint
from gateway.notes import parse_note
from gateway.store import keyfile
from gateway.store.session import Database

_SUFFIX = ".checkpoint"


class HeadKeeper(Protocol):
    """Remembers the largest checkpoint of each origin."""

    async def kept(self) -> dict[str, bytes]:
        """Return the signed checkpoints by origin.

        Raises:
            OSError, StoreUnavailable: If they cannot be read.
        """
        ...

    async def keep(self, checkpoint: Checkpoint, note: bytes) -> None:
        """Keep a signed checkpoint, durably, unless a larger one of its origin is kept.

        Raises:
            OSError, StoreUnavailable: If it cannot be kept.
        """
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


def open_heads(place: str, home: Path) -> HeadKeeper:
    """Return the head-keeper at `place`: a directory, a database's URL, or `<home>/heads`."""
    if "://" in place:
        return DatabaseHeads(Database(place))
    return FileHeads(Path(place) if place else home / "heads")


class FileHeads:
    """Keeps them in a directory, one file per origin. Processes may share it."""

    def __init__(self, directory: Path):
        self._directory = directory

    async def kept(self) -> dict[str, bytes]:
        """See `HeadKeeper.kept`."""
        return await asyncio.to_thread(self._read)

    async def keep(self, checkpoint: Checkpoint, note: bytes) -> None:
        """See `HeadKeeper.keep`."""
        await asyncio.to_thread(self._write, checkpoint, note)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _read(self) -> dict[str, bytes]:
        if not self._directory.exists():
            return {}
        files = self._directory.glob(f"*{_SUFFIX}")
        return {unquote(file.name.removesuffix(_SUFFIX)): file.read_bytes() for file in files}

    def _write(self, checkpoint: Checkpoint, note: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{quote(checkpoint.origin, safe='')}{_SUFFIX}"
        with self._locked():
            if path.exists() and _size(path.read_bytes()) >= checkpoint.size:
                return
            keyfile.replace(path, note)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out."""
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class DatabaseHeads:
    """Keeps them in a table of another database, which should not be restored with the log's."""

    def __init__(self, database: Database):
        self._database = database
        self._made = False

    async def kept(self) -> dict[str, bytes]:
        """See `HeadKeeper.kept`."""
        await self._make()
        async with self._database.read() as connection:
            rows = await connection.execute(text("SELECT origin, note FROM kept_heads"))
            return {origin: note.encode() for origin, note in rows}

    async def keep(self, checkpoint: Checkpoint, note: bytes) -> None:
        """See `HeadKeeper.keep`."""
        await self._make()
        statement = text(
            "INSERT INTO kept_heads (origin, size, note) VALUES (:origin, :size, :note) "
            "ON CONFLICT (origin) DO UPDATE SET size = excluded.size, note = excluded.note "
            "WHERE kept_heads.size < excluded.size"
        )
        row = {"origin": checkpoint.origin, "size": checkpoint.size, "note": note.decode()}
        async with self._database.write() as connection:
            await connection.execute(statement, row)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._database.aclose()

    async def _make(self) -> None:
        if not self._made:
            async with self._database.write() as connection:
                if connection.dialect.name == "postgresql":  # two that create at once collide
                    await connection.execute(text("SELECT pg_advisory_xact_lock(0x6f737469)"))
                await connection.execute(
                    text(
                        "CREATE TABLE IF NOT EXISTS kept_heads "
                        "(origin TEXT PRIMARY KEY, size BIGINT NOT NULL, note TEXT NOT NULL)"
                    )
                )
            self._made = True


def _size(note: bytes) -> int:
    return parse_checkpoint(parse_note(note).text).size
