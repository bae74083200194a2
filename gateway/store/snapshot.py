"""The log and the tables that follow from it, all as of one moment."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from sqlalchemy import Table, case, null, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import tables
from gateway.store.session import Database
from gateway.store.tables import audit_entries

_PAGE = 5000  # entries


class Outline(NamedTuple):
    """The columns of an entry, and its bytes where they were asked for."""

    seq: int
    id: str
    type: str
    recorded_at: str
    request_id: str | None
    replica: str
    replica_seq: int
    terminal: bool
    body: bytes | None


@asynccontextmanager
async def snapshot(database: Database) -> AsyncGenerator[AsyncConnection]:
    """Yield a connection that sees the database as it is now. Raises `StoreUnavailable`."""
    async with database.read() as connection:
        if not database.is_sqlite:  # SQLite's readers see one moment anyway
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        yield connection


async def outlines(
    connection: AsyncConnection, with_body: Collection[str]
) -> AsyncIterator[Outline]:
    """Yield all entries in log order; of the types in `with_body` also their bytes."""
    columns = audit_entries.c
    body = case((columns.type.in_(sorted(with_body)), columns.body), else_=null())
    query = (
        select(*(columns[name] for name in Outline._fields[:-1]), body)
        .order_by(columns.seq)
        .limit(_PAGE)
    )
    last = 0
    while rows := (await connection.execute(query.where(columns.seq > last))).all():
        for row in rows:
            yield Outline._make(row)
        last = rows[-1].seq


async def strikes(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return every strike, those that were reversed too."""
    return await _rows(connection, tables.strikes)


async def stops(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return the conversations that were stopped, but for some that have expired."""
    return await _rows(connection, tables.conversation_stops)


async def holds(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return what is held."""
    return await _rows(connection, tables.content_holds)


async def erasures(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return the erasures that are not finished."""
    return await _rows(connection, tables.content_erasures)


async def keys(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Return every API key, but for what it is checked against."""
    return await _rows(connection, tables.api_keys)


async def swept_replicas(connection: AsyncConnection) -> frozenset[str]:
    """Return the replicas whose requests have all been closed."""
    columns = tables.replicas.c
    found = await connection.scalars(select(columns.id).where(columns.swept_at.is_not(None)))
    return frozenset(found)


async def _rows(connection: AsyncConnection, table: Table) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in await connection.execute(select(table))]
