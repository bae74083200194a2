"""Recorded decisions in log order, in ranges that several processes can read side by side."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, create_engine, func, select

from gateway.store.entries import StoredEntry
from gateway.store.session import Database, storage_errors
from gateway.store.tables import audit_entries

DECISION = "decision.recorded"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions.

    Attributes:
        since: Recorded at this moment or later, as the log writes moments; None for any.
        until: Recorded before it.
        project: Of this project.
        limit: The newest so many; None for all.
    """

    since: str | None = None
    until: str | None = None
    project: str | None = None
    limit: int | None = None


async def span_of(database: Database, wanted: Wanted) -> tuple[int, int, int]:
    """Return the first and the last number that is wanted, and how many decisions there are.

    Raises:
        StoreUnavailable: If the log cannot be read.
    """
    newest = (
        select(audit_entries.c.seq)
        .where(*_wanted(wanted))
        .order_by(audit_entries.c.seq.desc())
        .limit(wanted.limit)
        .subquery()
    )
    query = select(func.min(newest.c.seq), func.max(newest.c.seq), func.count())
    async with database.read() as connection:
        first, last, count = (await connection.execute(query)).one()
    return first or 0, last or 0, count


async def decisions(
    database: Database, wanted: Wanted, first: int, last: int, count: int
) -> list[StoredEntry]:
    """Return up to `count` decisions from `first` to `last`, in log order. As `span_of`."""
    entries = audit_entries.c
    query: Select[Any] = (
        select(entries.seq, entries.body)
        .where(entries.seq >= first, entries.seq <= last, *_wanted(wanted))
        .order_by(entries.seq)
        .limit(count)
    )
    async with database.read() as connection:
        return [StoredEntry(*row) for row in await connection.execute(query)]


@contextmanager
def reading(database: Database) -> Generator[Connection]:
    """Read an SQLite log without a loop and its thread, which take longer than the reading.

    Raises:
        StoreUnavailable: If the log cannot be read.
    """
    engine = create_engine(database.url.set(drivername="sqlite"), hide_parameters=True)
    try:
        with storage_errors(), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def bodies(connection: Connection, wanted: Wanted, first: int, last: int) -> Iterator[bytes]:
    """Yield the decisions from `first` to `last`, in log order."""
    entries = audit_entries.c
    query = (
        select(entries.body)
        .where(entries.seq >= first, entries.seq <= last, *_wanted(wanted))
        .order_by(entries.seq)
    )
    yield from connection.execution_options(yield_per=1000).scalars(query)


def body_of(connection: Connection, entry_id: str) -> bytes | None:
    """Return the entry with this id, or None."""
    query = select(audit_entries.c.body).where(audit_entries.c.id == entry_id)
    return connection.scalar(query)


def _wanted(wanted: Wanted) -> list[ColumnElement[bool]]:
    entries = audit_entries.c
    found: list[ColumnElement[bool]] = [entries.type == DECISION]
    if wanted.since is not None:
        found.append(entries.recorded_at >= wanted.since)
    if wanted.until is not None:
        found.append(entries.recorded_at < wanted.until)
    if wanted.project is not None:
        found.append(entries.project == wanted.project)
    return found
