"""Recorded decisions in log order, in ranges that several processes can read side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from gateway.store.entries import StoredEntry
from gateway.store.session import Database
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
