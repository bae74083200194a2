"""Finding entries of the log, newest first or oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, TextClause, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import log_index
from gateway.store.entries import StoredEntry
from gateway.store.session import Database
from gateway.store.tables import ADMINISTRATIVE, audit_entries

_FIRST, _MOST = 4, 64  # blocks that are looked through at once: few, and then more


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
        terms: Groups of terms as the index has them; of each group one is in the entry.
    """

    administrative: bool = False
    types: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    request_id: str | None = None
    since: str | None = None
    before: str | None = None
    holding: tuple[bytes, ...] = ()
    terms: tuple[tuple[str, ...], ...] = ()

    @property
    def look(self) -> log_index.Look | None:
        """What the index can tell of it, None if that is nothing."""
        if self.administrative or self.request_id is not None:
            return None  # they have indexes of their own
        look = log_index.Look(self.terms, self.since, self.before)
        return look if any(look) else None


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
    async with database.read() as connection:
        wanted = _Wanted(connection, _conditions(database, narrowed), newer, limit)
        look = narrowed.look
        if look is None:
            return await wanted.read(cursor)
        upto = await log_index.reached(connection)
        beyond = audit_entries.c.seq > upto
        if newer:
            await wanted.look_up(look, cursor, upto)
            return await wanted.read(cursor, beyond)
        await wanted.read(cursor, beyond)
        return await wanted.look_up(look, cursor, upto)


class _Wanted:
    """Reads entries part by part, in the way it goes, until there are enough."""

    def __init__(
        self,
        connection: AsyncConnection,
        conditions: Sequence[ColumnElement[bool] | TextClause],
        newer: bool,
        limit: int,
    ):
        self._connection = connection
        self._newer = newer
        self._limit = limit
        seq = audit_entries.c.seq
        query = select(seq, audit_entries.c.body).where(*conditions)
        self._query = query.order_by(seq if newer else seq.desc())
        self.rows: list[StoredEntry] = []

    async def read(self, cursor: int | None, *parts: ColumnElement[bool]) -> list[StoredEntry]:
        """Read a part of the log; return what there is so far."""
        seq, query = audit_entries.c.seq, self._query.where(*parts)
        if cursor is not None:
            query = query.where(seq > cursor if self._newer else seq < cursor)
        if len(self.rows) < self._limit:
            query = query.limit(self._limit - len(self.rows))
            found = await self._connection.execute(query)
            self.rows += [StoredEntry(*row) for row in found]
        return self.rows

    async def look_up(
        self, look: log_index.Look, cursor: int | None, upto: int
    ) -> list[StoredEntry]:
        """Read the blocks that the index names, up to a number; return what there is so far."""
        if self._newer:
            at, step = (cursor or 0) // log_index.BLOCK, 1
        else:
            at, step = (upto if cursor is None else min(cursor, upto)) // log_index.BLOCK, -1
        covered, size = audit_entries.c.seq <= upto, _FIRST
        while len(self.rows) < self._limit:
            some = await log_index.blocks(self._connection, look, at, newer=self._newer, limit=size)
            if not some:
                break
            await self.read(cursor, covered, log_index.within(some))
            at, size = some[-1] + step, min(2 * size, _MOST)
        return self.rows


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
