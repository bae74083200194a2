"""The decision log's rows: the fast way in, and the queries that read it.

The ledger's writer appends through `EntryWriter`, one statement per batch, on a
connection of its own. Everything else goes through the engine.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import NamedTuple, Protocol

import asyncpg
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import PoolProxiedConnection

from gateway.errors import StoreUnavailable
from gateway.store.content import NOTHING, Sealed, insert_sealed, with_sealed
from gateway.store.session import (
    BUSY_TIMEOUT_MS,
    PRAGMAS,
    SEQUENCE_LOCK,
    Database,
    storage_errors,
    take_turn,
)
from gateway.store.tables import audit_entries

QUICK_S = 0.002  # a commit that takes less than this on average is not worth a thread
_AVERAGED = 8  # commits that count in the average
_PRIMARY_CODE = 0xFF  # the part of an SQLite error code that names its kind

MAX_BATCH = 512  # rows in one statement; SQLite takes 32,766 parameters


class EntryRow(NamedTuple):
    """One row of `audit_entries` before it has its sequence number."""

    id: str
    type: str
    recorded_at: str
    request_id: str | None
    project: str | None
    replica: str
    replica_seq: int
    terminal: bool
    body: bytes


class StoredEntry(NamedTuple):
    """One entry as it lies in the log. `body` is its canonical bytes."""

    seq: int
    body: bytes


class Admission(NamedTuple):
    """A request that was admitted and has no terminal record."""

    request_id: str
    project: str | None


class Fenced(Exception):
    """The replica was declared dead, so the log takes nothing more from it."""


class Conflict(Exception):
    """An entry is there already, or its request has a terminal record."""


class EntryWriter(Protocol):
    """Appends batches on a connection of its own. One caller at a time."""

    async def append(
        self, rows: Sequence[EntryRow], replica: str, sealed: Sealed = NOTHING
    ) -> None:
        """Append 1 to `MAX_BATCH` rows, all or none, in order, durable on return.

        Every row is `replica`'s, and their `replica_seq` count up by one. What is `sealed`
        is written with them, but for content whose key was destroyed meanwhile.

        Raises:
            Fenced: If `replica` is unknown or was declared dead.
            Conflict: If a unique constraint refused a row.
            StoreUnavailable: If the outcome is unknown, or it could not be tried.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


def open_writer(database: Database) -> EntryWriter:
    """Return a writer; it connects when first used and again after a failure."""
    return SqliteWriter(database) if database.is_sqlite else PostgresWriter(database)


_COLUMNS = ", ".join(EntryRow._fields)


class PostgresWriter:
    """One statement a batch: take the sequence lock, check the fence, insert."""

    # The advisory lock makes commit order equal sequence order across replicas, so a
    # reader that has seen number N never finds a smaller one later. FOR SHARE reads the
    # fence as it is now, not as it was when the statement began to wait for the lock.
    # Columns travel as arrays; what all rows share, or can be counted, travels once.
    _INSERT = f"""
        WITH sequenced AS MATERIALIZED (SELECT pg_advisory_xact_lock({SEQUENCE_LOCK})),
             alive AS MATERIALIZED (
                 SELECT FROM replicas WHERE id = $1 AND fenced_at IS NULL FOR SHARE)
        INSERT INTO audit_entries (
            replica, replica_seq, id, type, recorded_at, request_id, project, terminal, body)
        SELECT $1, $2 + row - 1, id, type, recorded_at, request_id, project, terminal, body
        FROM sequenced, alive, unnest(
            $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[], $9::bytea[]
        ) WITH ORDINALITY
            AS batch (id, type, recorded_at, request_id, project, terminal, body, row)
        ORDER BY row
    """  # noqa: S608 - made of constants
    _INSERT_SEALED = with_sealed(_INSERT)

    def __init__(self, database: Database):
        self._database = database
        self._borrowed: PoolProxiedConnection | None = None

    async def append(
        self, rows: Sequence[EntryRow], replica: str, sealed: Sealed = NOTHING
    ) -> None:
        """See `EntryWriter.append`."""
        try:
            with storage_errors():
                connection = await self._connection()
                ids, types, moments, requests, projects, _, seqs, ends, bodies = zip(
                    *rows, strict=True
                )
                columns = (ids, types, moments, requests, projects, ends, bodies)
                statement = self._INSERT_SEALED if sealed else self._INSERT
                status = await connection.execute(
                    statement, replica, seqs[0], *columns, *sealed.columns()
                )
        except StoreUnavailable as error:
            if isinstance(error.__cause__, asyncpg.UniqueViolationError):
                raise Conflict from error
            self._drop()
            raise
        except BaseException:  # cancelled: the connection is in the middle of something
            self._drop()
            raise
        if status != f"INSERT 0 {len(rows)}":
            raise Fenced

    async def aclose(self) -> None:
        """Give the connection back."""
        self._drop()

    async def _connection(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._borrowed is None:
            self._borrowed = await self._database.engine.raw_connection()
        connection: asyncpg.Connection[asyncpg.Record] | None = self._borrowed.driver_connection
        if connection is None or connection.is_closed():
            self._drop()
            raise ConnectionResetError("the writer's connection was closed")
        return connection

    def _drop(self) -> None:
        borrowed, self._borrowed = self._borrowed, None
        if borrowed is not None and borrowed.driver_connection is not None:
            connection: asyncpg.Connection[asyncpg.Record] = borrowed.driver_connection
            borrowed.detach()  # the pool must not hand out what may be half-way
            connection.terminate()


class SqliteWriter:
    """One statement a batch: here and now while commits are quick, else in a thread.

    On an ordinary disk a commit takes a third of a millisecond, and to hand it to a thread
    and back costs a busy event loop several times that. When commits get slow, or another
    process holds the lock, a thread waits for them and the loop goes on.

    In the thread each step of a statement takes Python's global lock anew and may wait for
    it: 64 rows by `executemany` then take 390 ms, as one statement 6 ms. Batches are padded
    to a power of two, so ten statements serve all.
    """

    def __init__(self, database: Database):
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._connections: dict[int, sqlite3.Connection] = {}  # by how long they wait, ms
        self._commit_s = 0.0  # moving average
        self._last_seq = 0  # of the last batch

    async def append(
        self, rows: Sequence[EntryRow], replica: str, sealed: Sealed = NOTHING
    ) -> None:
        """See `EntryWriter.append`."""
        loop = asyncio.get_running_loop()
        with storage_errors():
            async with self._database.turn:
                quick = self._commit_s < QUICK_S
                inserted = self._insert_now(rows, replica, sealed) if quick else None
                if inserted is None:
                    inserted = await loop.run_in_executor(
                        self._thread, self._insert, rows, replica, sealed, BUSY_TIMEOUT_MS
                    )
        if inserted != len(rows):
            raise Fenced
        first_seq = self._last_seq - len(rows) + 1  # a statement's numbers follow each other
        self._database.recent_leaves.add(first_seq, (row.body for row in rows))

    async def aclose(self) -> None:
        """Close the connections once the last statement is done."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    def _insert_now(self, rows: Sequence[EntryRow], replica: str, sealed: Sealed) -> int | None:
        """Insert without waiting for anybody; None if another process holds the lock."""
        try:
            return self._insert(rows, replica, sealed, wait_ms=0)
        except sqlite3.Error as error:
            if _is_busy(error):
                return None
            raise

    def _insert(self, rows: Sequence[EntryRow], replica: str, sealed: Sealed, wait_ms: int) -> int:
        started = perf_counter()
        size = 1 << (len(rows) - 1).bit_length()
        values: list[object] = [value for row in rows for value in row]
        values.extend([None] * (len(EntryRow._fields) * (size - len(rows))))
        values.append(replica)
        try:
            connection = self._connection(wait_ms)
            inserted, last_seq = _execute(connection, _padded_insert(size), values, sealed)
        except sqlite3.IntegrityError as error:
            raise Conflict from error
        except sqlite3.Error as error:
            if not _is_busy(error):
                self._drop()
            raise
        self._commit_s += (perf_counter() - started - self._commit_s) / _AVERAGED
        self._last_seq = last_seq
        return inserted

    def _connection(self, wait_ms: int) -> sqlite3.Connection:
        if wait_ms not in self._connections:
            connection = sqlite3.connect(
                self._database.path,
                isolation_level=None,  # a statement is a transaction of its own, or we say BEGIN
                check_same_thread=False,  # used in one thread at a time, by turns
            )
            for pragma in (*PRAGMAS, f"PRAGMA busy_timeout = {wait_ms}"):
                connection.execute(pragma)
            self._connections[wait_ms] = connection
        return self._connections[wait_ms]

    def _drop(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def _execute(
    connection: sqlite3.Connection, statement: str, values: list[object], sealed: Sealed
) -> tuple[int, int]:
    """Insert entries and what is sealed, all or nothing; how many, and the last one's number."""
    if not sealed:
        done = connection.execute(statement, values)
        return done.rowcount, done.lastrowid or 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = connection.execute(statement, values)
        if done.rowcount:
            insert_sealed(connection, sealed)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return done.rowcount, done.lastrowid or 0


def _is_busy(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_BUSY


def _padded_insert(size: int) -> str:
    row = "(" + ", ".join("?" * len(EntryRow._fields)) + ")"
    return (
        f"INSERT INTO audit_entries ({_COLUMNS}) "  # noqa: S608 - made of constants
        f"SELECT * FROM (VALUES {', '.join([row] * size)}) WHERE column1 IS NOT NULL "
        "AND EXISTS (SELECT 1 FROM replicas WHERE id = ? AND fenced_at IS NULL)"
    )


async def append(connection: AsyncConnection, row: EntryRow) -> None:
    """Append one entry in the caller's transaction, to record what that changes."""
    await take_turn(connection)
    await connection.execute(insert(audit_entries).values(row._asdict()))


async def last_replica_seq(database: Database, replica: str) -> int:
    """Return the highest `replica_seq` in the log, 0 if there is none."""
    entries = audit_entries.c
    query = (
        select(entries.replica_seq)
        .where(entries.replica == replica)
        .order_by(entries.replica_seq.desc())
        .limit(1)
    )
    async with database.read() as connection:
        return await connection.scalar(query) or 0


async def present(database: Database, ids: Sequence[str]) -> set[str]:
    """Return which of these entry ids are in the log."""
    query = select(audit_entries.c.id).where(audit_entries.c.id.in_(ids))
    async with database.read() as connection:
        return set(await connection.scalars(query))


async def ended(database: Database, request_ids: Sequence[str]) -> set[str]:
    """Return which of these requests have a terminal record."""
    entries = audit_entries.c
    query = select(entries.request_id).where(entries.request_id.in_(request_ids), text("terminal"))
    async with database.read() as connection:
        return {request_id for request_id in await connection.scalars(query) if request_id}


async def unfinished(
    database: Database, replica: str, from_seq: int, limit: int
) -> list[Admission]:
    """Return requests `replica` admitted that have no terminal record, oldest first.

    Args:
        database: Where the log is.
        replica: Whose requests.
        from_seq: Entries with a smaller `replica_seq` belong to finished requests.
        limit: At most so many.
    """
    admitted = audit_entries.alias("admitted")
    end = audit_entries.alias("ended")
    query = (
        select(admitted.c.request_id, admitted.c.project)
        .where(
            admitted.c.replica == replica,
            admitted.c.replica_seq >= from_seq,
            admitted.c.type == "request.admitted",
            ~select(end.c.seq)
            .where(end.c.request_id == admitted.c.request_id, text("ended.terminal"))
            .exists(),
        )
        .order_by(admitted.c.replica_seq)
        .limit(limit)
    )
    async with database.read() as connection:
        return [Admission(*row) for row in await connection.execute(query)]


async def after(database: Database, seq: int, limit: int) -> list[StoredEntry]:
    """Return up to `limit` entries with a greater sequence number, in log order."""
    entries = audit_entries.c
    query = select(entries.seq, entries.body).where(entries.seq > seq).order_by(entries.seq)
    async with database.read() as connection:
        return [StoredEntry(*row) for row in await connection.execute(query.limit(limit))]


async def latest(database: Database, limit: int) -> list[StoredEntry]:
    """Return the last `limit` entries, in log order."""
    entries = audit_entries.c
    query = select(entries.seq, entries.body).order_by(entries.seq.desc()).limit(limit)
    async with database.read() as connection:
        return [StoredEntry(*row) for row in await connection.execute(query)][::-1]


async def with_id(database: Database, entry_id: str) -> list[StoredEntry]:
    """Return the entry with this id, or nothing."""
    query = select(audit_entries.c.seq, audit_entries.c.body).where(audit_entries.c.id == entry_id)
    async with database.read() as connection:
        return [StoredEntry(*row) for row in await connection.execute(query)]


async def of_request(database: Database, request_id: str, limit: int) -> list[StoredEntry]:
    """Return a request's entries, in log order."""
    entries = audit_entries.c
    query = (
        select(entries.seq, entries.body)
        .where(entries.request_id == request_id)
        .order_by(entries.seq)
        .limit(limit)
    )
    async with database.read() as connection:
        return [StoredEntry(*row) for row in await connection.execute(query)]
