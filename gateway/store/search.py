"""Finding entries of the log, newest first or oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, TextClause, bindparam, select, text

from gateway.store.entries import StoredEntry
from gateway.store.session import Database
from gateway.store.tables import ADMINISTRATIVE, audit_entries


class Narrowed(NamedTuple):
    """What can be told of an entry without reading it all.

    Attributes:
        administrative: Only what people did, or is done to what they look after.
        types: Any of these; empty means all.
        projects: Any of these; empty means all.
        request_id: This one's, or None.
        since: Recorded at this moment or later, or None.
        before: Recorded earlier than this moment, or None.
        holding: Byte strings that all occur in its canonical bytes.
    """

    administrative: bool = False
    types: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    request_id: str | None = None
    since: str | None = None
    before: str | None = None
    holding: tuple[bytes, ...] = ()


async def entries(
    database: Database, narrowed: Narrowed, cursor: int | None, *, newer: bool, limit: int
) -> list[StoredEntry]:
    """Return up to `limit` entries from `cursor` on, that one left out, in the way it goes.

    Args:
        database: Where the log is.
        narrowed: What entries.
        cursor: A sequence number; None means from the newest, or the oldest, on.
        newer: Whether to go from old to new.
        limit: At most so many.
    """
    columns = audit_entries.c
    query = select(columns.seq, columns.body).where(*_conditions(database, narrowed)).limit(limit)
    if cursor is not None:
        query = query.where(columns.seq > cursor if newer else columns.seq < cursor)
    query = query.order_by(columns.seq if newer else columns.seq.desc())
    async with database.read() as connection:
        return [StoredEntry(*row) for row in await connection.execute(query)]


async def seq_of(database: Database, entry_id: str) -> int | None:
    """Return the sequence number of an entry, or None if there is none with this id."""
    query = select(audit_entries.c.seq).where(audit_entries.c.id == entry_id)
    async with database.read() as connection:
        found: int | None = await connection.scalar(query)
        return found


def _conditions(
    database: Database, narrowed: Narrowed
) -> Sequence[ColumnElement[bool] | TextClause]:
    columns = audit_entries.c
    found: list[ColumnElement[bool] | TextClause] = []
    if narrowed.administrative:
        found.append(text(ADMINISTRATIVE))  # as the index says it, so that it is used
    if narrowed.types:
        found.append(columns.type.in_(narrowed.types))
    if narrowed.projects:
        found.append(columns.project.in_(narrowed.projects))
    if narrowed.request_id is not None:
        found.append(columns.request_id == narrowed.request_id)
    if narrowed.since is not None:
        found.append(columns.recorded_at >= narrowed.since)
    if narrowed.before is not None:
        found.append(columns.recorded_at < narrowed.before)
    holds = "instr(body, :{0}) > 0" if database.is_sqlite else "position(:{0} IN body) > 0"
    for number, part in enumerate(narrowed.holding):
        name = f"part_{number}"
        found.append(text(holds.format(name)).bindparams(bindparam(name, part)))
    return found
