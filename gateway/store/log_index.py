"""An index of the log by blocks of `BLOCK` numbers: when, and which terms occur in it.

A block is a few rows however many entries it holds, and entries are not touched: who writes
the log knows nothing of this. A search reads the blocks that may hold what it is looking for,
and what is newer than the index; so it finds the same with an index that lags, or an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, case, func, literal, null, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import audit_entries, log_blocks, log_indexed, log_terms

BLOCK = 256  # numbers of the log; how many there are in a block at most
LONGEST_TERM = 200  # code points; of a longer one these, and who finds it compares the rest

# Types of which there are many, and which name no rules: they need not be read.
_WITHOUT_TERMS = (
    "request.admitted",
    "request.denied",
    "stream.started",
    "request.completed",
    "request.blocked",
    "request.aborted",
    "request.client_disconnected",
    "request.error",
    "request.lost",
)
_WIDEN = (
    "(block) DO UPDATE SET "
    "first_at = CASE WHEN excluded.first_at < log_blocks.first_at "
    "THEN excluded.first_at ELSE log_blocks.first_at END, "
    "last_at = CASE WHEN excluded.last_at > log_blocks.last_at "
    "THEN excluded.last_at ELSE log_blocks.last_at END"
)
_ROWS = 500  # of one statement
_TOGETHER = 32  # blocks that are looked through at once

Times = tuple[str, str]


class Unindexed(NamedTuple):
    """An entry that is to be indexed; `body` only where terms may stand in there."""

    seq: int
    type: str
    recorded_at: str
    body: bytes | None


async def reached(connection: AsyncConnection) -> int:
    """Return the number up to which entries are in the index."""
    return int(await connection.scalar(select(log_indexed.c.seq)) or 0)


async def unindexed(connection: AsyncConnection, after: int, limit: int) -> list[Unindexed]:
    """Return up to `limit` entries after a number, without the bodies that hold no terms.

    INVARIANT: who inserts holds the sequence lock until the commit, so an entry that is not
    seen here has a greater number than all that are.
    """
    columns = audit_entries.c
    body = case((columns.type.in_(_WITHOUT_TERMS), null()), else_=columns.body)
    query = select(columns.seq, columns.type, columns.recorded_at, body)
    query = query.where(columns.seq > after).order_by(columns.seq).limit(limit)
    return [Unindexed(*row) for row in (await connection.execute(query)).all()]


async def advance(
    connection: AsyncConnection,
    old: int,
    new: int,
    times: Mapping[int, Times],
    terms: Iterable[tuple[str, int]],
) -> bool:
    """Add what entries from one number to another say. False if another replica has.

    Args:
        connection: In a transaction of its own.
        old: What `reached` returned before the entries were read.
        new: The number of the last of them.
        times: By block, when the first and the last of them were recorded.
        terms: What occurs, and in which block; each once.
    """
    moved = update(log_indexed).where(log_indexed.c.seq == old).values(seq=new)
    if (await connection.execute(moved)).rowcount != 1:
        return False
    spans = [(at, first, last) for at, (first, last) in times.items()]
    await _insert(connection, "log_blocks (block, first_at, last_at)", spans, _WIDEN)
    await _insert(connection, "log_terms (term, block)", list(terms), "DO NOTHING")
    return True


async def _insert(
    connection: AsyncConnection, into: str, rows: Sequence[tuple[str | int, ...]], conflict: str
) -> None:
    """Insert rows as one statement: row by row, a busy loop would hold the writers up."""
    for at in range(0, len(rows), _ROWS):
        some = rows[at : at + _ROWS]
        names = [
            [f"v{number}_{place}" for place in range(len(row))] for number, row in enumerate(some)
        ]
        values = ", ".join("(" + ", ".join(f":{name}" for name in each) + ")" for each in names)
        statement = text(f"INSERT INTO {into} VALUES {values} ON CONFLICT {conflict}")  # noqa: S608 - constants and parameters
        bound = {
            name: value
            for each, row in zip(names, some, strict=True)
            for name, value in zip(each, row, strict=True)
        }
        await connection.execute(statement, bound)


class Look(NamedTuple):
    """What a block must have that may hold an entry; an index can tell no more.

    Attributes:
        groups: Of each of these groups of terms at least one occurs in it.
        since: It has an entry recorded at this moment or later, or None.
        before: It has an entry recorded earlier than this moment, or None.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    since: str | None = None
    before: str | None = None


async def blocks(
    connection: AsyncConnection, look: Look, begin: int, *, newer: bool, limit: int
) -> list[int]:
    """Return up to `limit` blocks, from `begin` on in the way it goes."""
    terms, times = log_terms.c, log_blocks.c
    column = terms.block if look.groups else times.block
    query = select(column).where(column >= begin if newer else column <= begin)
    if look.groups:
        query = query.distinct().where(terms.term.in_(look.groups[0]))
    for group in look.groups[1:]:
        also = log_terms.alias()
        query = query.where(_exists(also.c.block == column, also.c.term.in_(group)))
    spans = [times.last_at >= look.since] if look.since is not None else []
    spans += [times.first_at < look.before] if look.before is not None else []
    if spans and look.groups:
        query = query.where(_exists(times.block == column, *spans))
    elif spans:
        query = query.where(*spans)
    query = query.order_by(column if newer else column.desc()).limit(limit)
    return list(await connection.scalars(query))


async def edge(
    connection: AsyncConnection, look: Look, first: int, last: int, *, newest: bool
) -> int | None:
    """Return the number of the first entry of a time, or of the last; None if there is none.

    Args:
        connection: To read through.
        look: Of which time.
        first: Entries from this number on.
        last: Up to this number.
        newest: Whether the last one is wanted.
    """
    seq, upto = audit_entries.c.seq, await reached(connection)
    wanted = select(func.max(seq) if newest else func.min(seq)).where(
        seq.between(first, last), *recorded(look.since, look.before)
    )
    beyond = wanted.where(seq > upto)
    if newest and (found := await connection.scalar(beyond)) is not None:
        return int(found)
    at: int | None = (min(last, upto) if newest else first) // BLOCK
    while at is not None:
        some = await blocks(connection, look, at, newer=not newest, limit=_TOGETHER)
        if some and (found := await connection.scalar(wanted.where(within(some)))) is not None:
            return int(found)
        at = None if len(some) < _TOGETHER else some[-1] + (-1 if newest else 1)
    return None if newest else await connection.scalar(beyond)


def recorded(since: str | None, before: str | None) -> list[ColumnElement[bool]]:
    """Return what is true of entries that were recorded at a time."""
    at = audit_entries.c.recorded_at
    found = [at >= since] if since is not None else []
    return [*found, at < before] if before is not None else found


def within(found: Sequence[int]) -> ColumnElement[bool]:
    """Return what is true of entries in these blocks, at least one; neighbours as one."""
    runs: list[list[int]] = []
    for block in sorted(found):
        if runs and block == runs[-1][1] + 1:
            runs[-1][1] = block
        else:
            runs.append([block, block])
    seq = audit_entries.c.seq
    return or_(*(seq.between(begin * BLOCK, (end + 1) * BLOCK - 1) for begin, end in runs))


def _exists(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return select(literal(1)).where(*conditions).exists()
