"""Erasures, holds, expiry and rotation of what is kept: the queries.

Whoever changes a hold, or destroys keys, does it in a transaction that took `lock_keys`, so
that a hold is either seen by an erasure or comes after it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import tables
from gateway.store.content import KeyRow, ProjectKeyRow
from gateway.store.session import BUSY_TIMEOUT_MS, Database, storage_errors

_KEYS, _CONTENT, _HOLDS = tables.content_keys, tables.content, tables.content_holds
_ERASURES, _PROJECTS = tables.content_erasures, tables.content_projects


class Erasure(NamedTuple):
    """An erasure that was accepted and is not finished."""

    id: str
    project: str
    subject: str
    actor: str
    reason: str
    requested_at: str


class Hold(NamedTuple):
    """What may neither be erased nor expire. Without a subject: all of the project."""

    id: str
    project: str
    subject: str | None
    actor: str
    reason: str
    created_at: str


async def add_erasure(connection: AsyncConnection, erasure: Erasure) -> None:
    """Note that an erasure was accepted."""
    await connection.execute(insert(_ERASURES).values(erasure._asdict()))


async def erasures(database: Database) -> list[Erasure]:
    """Return the erasures that are not finished, oldest first."""
    async with database.read() as connection:
        rows = await connection.execute(select(_ERASURES).order_by(_ERASURES.c.id))
        return [Erasure(*row) for row in rows]


async def take_erasure(connection: AsyncConnection, id: str) -> bool:
    """Remove the note of an erasure; False if somebody else has finished it."""
    done = await connection.execute(delete(_ERASURES).where(_ERASURES.c.id == id))
    return done.rowcount > 0


async def destroy(connection: AsyncConnection, project: str, subject: str) -> int:
    """Destroy an end user's data keys, and what was sealed under them; return how many keys."""
    own = and_(_KEYS.c.project == project, _KEYS.c.subject == subject)
    under = select(_KEYS.c.id).where(own)
    await connection.execute(delete(_CONTENT).where(_CONTENT.c.key_id.in_(under)))
    return (await connection.execute(delete(_KEYS).where(own))).rowcount


async def add_hold(connection: AsyncConnection, hold: Hold) -> None:
    """Add a hold."""
    await connection.execute(insert(_HOLDS).values(hold._asdict()))


async def take_hold(connection: AsyncConnection, id: str) -> Hold | None:
    """Remove a hold and return it; None if there is none."""
    change = delete(_HOLDS).where(_HOLDS.c.id == id).returning(_HOLDS)
    row = (await connection.execute(change)).one_or_none()
    return Hold(*row) if row else None


async def holds(connection: AsyncConnection, project: str | None = None) -> list[Hold]:
    """Return all holds, or those in a project, oldest first."""
    query = select(_HOLDS).order_by(_HOLDS.c.id)
    if project is not None:
        query = query.where(_HOLDS.c.project == project)
    return [Hold(*row) for row in await connection.execute(query)]


async def expire(
    connection: AsyncConnection, before: str, reasoning_before: str, limit: int
) -> tuple[int, int]:
    """Delete content that was kept before a moment and is not held, and keys without content.

    Args:
        connection: In a transaction that took `lock_keys`.
        before: For content in general.
        reasoning_before: For thoughts.
        limit: At most so many fields, and so many keys.

    Returns:
        How many fields, and how many keys.
    """
    late = or_(
        _CONTENT.c.kept_at < before,
        and_(_CONTENT.c.field == "reasoning", _CONTENT.c.kept_at < reasoning_before),
    )
    query = select(_CONTENT.c.record_id, _CONTENT.c.field).where(
        late, ~_held_key(_CONTENT.c.key_id)
    )
    rows = (await connection.execute(query.limit(limit))).all()
    if rows:
        gone = delete(_CONTENT).where(
            _CONTENT.c.record_id == bindparam("record"), _CONTENT.c.field == bindparam("name")
        )
        await connection.execute(gone, [{"record": record, "name": name} for record, name in rows])
    empty = (
        select(_KEYS.c.id)
        .where(
            _KEYS.c.created_at < before,
            ~exists().where(_CONTENT.c.key_id == _KEYS.c.id),
            ~_held(_KEYS.c.project, _KEYS.c.subject),
        )
        .limit(limit)
    )
    keys = (await connection.execute(delete(_KEYS).where(_KEYS.c.id.in_(empty)))).rowcount
    return len(rows), keys


async def newest_generations(connection: AsyncConnection) -> dict[str, int]:
    """Return each project's newest generation of its key."""
    query = select(_PROJECTS.c.project, func.max(_PROJECTS.c.generation)).group_by(
        _PROJECTS.c.project
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


async def earlier_keys(
    connection: AsyncConnection, newest: ProjectKeyRow, limit: int
) -> list[KeyRow]:
    """Return data keys that are wrapped by an earlier generation of a project's key."""
    query = (
        select(_KEYS)
        .where(_KEYS.c.project == newest.project, _KEYS.c.generation < newest.generation)
        .limit(limit)
    )
    return [KeyRow(*row) for row in await connection.execute(query)]


async def rewrap(connection: AsyncConnection, rows: Sequence[KeyRow]) -> None:
    """Store data keys that were wrapped anew; those that were destroyed meanwhile stay so."""
    if not rows:
        return
    change = (
        update(_KEYS)
        .where(_KEYS.c.id == bindparam("of"))
        .values(generation=bindparam("by"), wrapped=bindparam("box"))
    )
    values = [{"of": row.id, "by": row.generation, "box": row.wrapped} for row in rows]
    await connection.execute(change, values)


async def drop_earlier_generations(connection: AsyncConnection) -> None:
    """Destroy the keys of projects that a newer one replaces and that wrap nothing any more."""
    newer = _PROJECTS.alias("newer")
    replaced = exists().where(
        newer.c.project == _PROJECTS.c.project, newer.c.generation > _PROJECTS.c.generation
    )
    used = exists().where(
        _KEYS.c.project == _PROJECTS.c.project, _KEYS.c.generation == _PROJECTS.c.generation
    )
    await connection.execute(delete(_PROJECTS).where(replaced, ~used))


async def master_keys(connection: AsyncConnection) -> set[str]:
    """Return the ids of all master keys that are needed."""
    return set(await connection.scalars(select(_PROJECTS.c.master_key)))


async def scrub(database: Database) -> bool:
    """Have the database let go of what was deleted, as far as it can.

    SQLite overwrites what it deletes; the write-ahead log is emptied too. PostgreSQL frees
    the rows; its own write-ahead log keeps them for as long as it is configured to.

    Returns:
        False if a part may be left: somebody was reading, or this role may not have it vacuumed.
    """
    if database.is_sqlite:
        with storage_errors():
            return await asyncio.to_thread(_truncate, database)
    with storage_errors():
        borrowed = await database.engine.raw_connection()
        try:
            connection = borrowed.driver_connection
            return connection is None or await _vacuum(connection)
        finally:
            borrowed.close()


async def _vacuum(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Vacuum the keys; False if the server warned that it did not."""
    warnings: list[object] = []

    def heard(_: object, message: asyncpg.PostgresLogMessage) -> None:
        warnings.append(message)

    connection.add_log_listener(heard)
    try:
        await connection.execute("VACUUM content_keys, content_projects")
    finally:
        connection.remove_log_listener(heard)
    return not warnings


def _truncate(database: Database) -> bool:
    connection = sqlite3.connect(database.path, timeout=BUSY_TIMEOUT_MS / 1000)
    try:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    finally:
        connection.close()


def _held(project: ColumnElement[str], subject: ColumnElement[str | None]) -> ColumnElement[bool]:
    return exists().where(
        _HOLDS.c.project == project,
        or_(_HOLDS.c.subject.is_(None), _HOLDS.c.subject == subject),
    )


def _held_key(key_id: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(_KEYS.c.id == key_id, _held(_KEYS.c.project, _KEYS.c.subject))
