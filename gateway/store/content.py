"""Sealed content and the keys it is sealed under: what is written, and the queries.

The rows of an exchange go into the log's own transaction (`gateway.store.entries`), so that
an entry and what it names are there together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import exists, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import tables
from gateway.store.session import Database

# Whoever adds or removes a generation of a project's keys is alone. "osti" and a number.
KEYS_LOCK = 0x6F737469_0003


class KeyRow(NamedTuple):
    """The data key of one exchange, wrapped by its project's."""

    id: str
    project: str
    generation: int
    subject: str | None
    wrapped: bytes
    created_at: str


class ContentRow(NamedTuple):
    """One sealed field of one record."""

    record_id: str
    field: str
    key_id: str
    kept_at: str
    box: bytes


class ProjectKeyRow(NamedTuple):
    """One generation of a project's key, wrapped by a master key."""

    project: str
    generation: int
    master_key: str
    wrapped: bytes
    created_at: str


class StoredContent(NamedTuple):
    """A sealed field and the key it opens with."""

    field: str
    box: bytes
    key: KeyRow


class Sealed(NamedTuple):
    """What is kept beside entries: new keys, and content under these or earlier ones."""

    keys: tuple[KeyRow, ...] = ()
    content: tuple[ContentRow, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is anything."""
        return bool(self.keys or self.content)

    def columns(self) -> tuple[list[object], ...]:
        """Return the columns of all keys, then those of all content; none if there are none."""
        if not self:
            return ()
        return (*_columns(self.keys, KeyRow), *_columns(self.content, ContentRow))


NOTHING = Sealed()


def together(all_: Iterable[Sealed]) -> Sealed:
    """Return everything in `all_` as one."""
    parts = [each for each in all_ if each]
    keys = tuple(key for part in parts for key in part.keys)
    return Sealed(keys, tuple(row for part in parts for row in part.content))


_KEY_COLUMNS, _CONTENT_COLUMNS = ", ".join(KeyRow._fields), ", ".join(ContentRow._fields)
_TYPES = {"generation": "int", "wrapped": "bytea", "box": "bytea"}  # others are text


def with_sealed(statement: str) -> str:
    """Return PostgreSQL's statement that inserts entries as one that keeps content too.

    Args:
        statement: Begins with `WITH`; has nine parameters, and a subquery `alive` with a row
            if its replica may write.
    """
    # A key whose project's key is gone could not be opened, nor content without its key.
    kept = f"""
        , new_keys AS (
            INSERT INTO content_keys ({_KEY_COLUMNS})
            SELECT batch.* FROM alive, {_unnested(KeyRow, 10)} AS batch ({_KEY_COLUMNS})
            WHERE EXISTS (
                SELECT FROM content_projects AS owner
                WHERE owner.project = batch.project AND owner.generation = batch.generation)
            RETURNING id)
        , kept AS (
            INSERT INTO content ({_CONTENT_COLUMNS})
            SELECT batch.* FROM alive, {_unnested(ContentRow, 16)} AS batch ({_CONTENT_COLUMNS})
            WHERE EXISTS (SELECT FROM content_keys AS own WHERE own.id = batch.key_id)
            OR EXISTS (SELECT FROM new_keys AS own WHERE own.id = batch.key_id))
        INSERT INTO audit_entries"""  # noqa: S608 - made of constants
    return statement.replace("INSERT INTO audit_entries", kept, 1)


def insert_sealed(connection: sqlite3.Connection, sealed: Sealed) -> None:
    """Insert what is sealed, in a transaction of SQLite's that has begun."""
    owned = "SELECT 1 FROM content_projects WHERE project = column2 AND generation = column3"
    _insert(connection, f"content_keys ({_KEY_COLUMNS})", sealed.keys, owned)
    _insert(
        connection,
        f"content ({_CONTENT_COLUMNS})",
        sealed.content,
        "SELECT 1 FROM content_keys WHERE id = column3",
    )


def _insert(
    connection: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]], owned: str
) -> None:
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    connection.execute(
        f"INSERT INTO {into} SELECT * FROM "  # noqa: S608 - made of constants
        f"(VALUES {', '.join([row] * len(rows))}) WHERE EXISTS ({owned})",
        [value for each in rows for value in each],
    )


async def lock_keys(connection: AsyncConnection) -> None:
    """Be alone with the keys of projects until the transaction ends."""
    if connection.dialect.name == "postgresql":  # SQLite: BEGIN IMMEDIATE already is
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": KEYS_LOCK})


async def newest_key(connection: AsyncConnection, project: str) -> ProjectKeyRow | None:
    """Return the newest generation of a project's key, or None if it has none."""
    columns = tables.content_projects.c
    query = (
        select(tables.content_projects)
        .where(columns.project == project)
        .order_by(columns.generation.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return ProjectKeyRow(*row) if row else None


async def newest_keys(connection: AsyncConnection) -> list[ProjectKeyRow]:
    """Return the newest generation of every project's key."""
    newer = tables.content_projects.alias("newer")
    replaced = exists().where(
        newer.c.project == tables.content_projects.c.project,
        newer.c.generation > tables.content_projects.c.generation,
    )
    rows = await connection.execute(select(tables.content_projects).where(~replaced))
    return [ProjectKeyRow(*row) for row in rows]


async def project_keys(connection: AsyncConnection, project: str) -> list[ProjectKeyRow]:
    """Return all generations of a project's key."""
    query = select(tables.content_projects).where(tables.content_projects.c.project == project)
    return [ProjectKeyRow(*row) for row in await connection.execute(query)]


async def add_project_key(connection: AsyncConnection, row: ProjectKeyRow) -> None:
    """Add a generation of a project's key."""
    await connection.execute(insert(tables.content_projects).values(row._asdict()))


async def of_record(database: Database, record_id: str) -> list[StoredContent]:
    """Return what is kept for a record, with its keys; fields whose key is gone left out."""
    content, keys = tables.content.c, tables.content_keys
    query = (
        select(content.field, content.box, *keys.c)
        .select_from(tables.content.join(keys, keys.c.id == content.key_id))
        .where(content.record_id == record_id)
    )
    async with database.read() as connection:
        found = await connection.execute(query)
        return [StoredContent(field, box, KeyRow(*key)) for field, box, *key in found]


def _columns(
    rows: Sequence[tuple[object, ...]], kind: type[KeyRow | ContentRow]
) -> list[list[object]]:
    return [[row[at] for row in rows] for at in range(len(kind._fields))]


def _unnested(kind: type[KeyRow | ContentRow], first: int) -> str:
    """Return an SQL expression for the rows whose columns are parameters from `first` on."""
    arrays = [
        f"${number}::{_TYPES.get(name, 'text')}[]"
        for number, name in enumerate(kind._fields, first)
    ]
    return f"unnest({', '.join(arrays)})"
