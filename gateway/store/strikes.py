"""Strikes: what counted against which end user, and what was taken back.

Every change takes the entries that record it, and both are written in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Row, and_, bindparam, insert, select, update

from gateway.store import entries, notices, outbox, tables
from gateway.store.entries import EntryRow
from gateway.store.notices import Case
from gateway.store.outbox import Delivery
from gateway.store.session import Database, take_turn
from gateway.store.times import as_text, from_text

MAX_COUNTED = 10_000  # the newest ones; a ladder's steps go no higher

_COUNTING = (  # built once: that takes longer than to run it
    select(tables.strikes.c.struck_at)
    .where(
        tables.strikes.c.project == bindparam("project"),
        tables.strikes.c.subject == bindparam("subject"),
        tables.strikes.c.reversed_at.is_(None),
    )
    .order_by(tables.strikes.c.struck_at.desc())
    .limit(MAX_COUNTED)
)


@dataclass(frozen=True, slots=True)
class Strike:
    """A rule counted against an end user.

    Attributes:
        request_id: In which exchange; a rule counts once in it.
        rule: Its id.
        decision_id: By which decision.
        policy: The policy's id.
        project: Whose end user it is.
        subject: The end user's pseudonym, 32 hex digits.
        struck_at: When.
        reversed_at: Since when it does not count any more, or None.
    """

    request_id: str
    rule: str
    decision_id: str
    policy: str
    project: str
    subject: str
    struck_at: datetime
    reversed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """What follows from strikes, to be written with them.

    Attributes:
        recorded: The entry about it.
        case: The notice about the end user, if there is one.
        deliveries: What endpoints are told.
    """

    recorded: EntryRow
    case: Case | None = None
    deliveries: Sequence[Delivery] = ()


async def add(
    database: Database,
    struck: Sequence[Strike],
    recorded: Sequence[EntryRow],
    follows: Callable[[Sequence[datetime]], Followed | None],
) -> None:
    """Store the strikes of one decision and the entries that record them, all or none.

    Args:
        database: Migrated.
        struck: At least one, all of one end user.
        recorded: The entries.
        follows: Given when the strikes were made that counted before, returns what follows
            from these, if anything does.

    Raises:
        StoreUnavailable: If they could not be written.
    """
    rows = [
        {**asdict(strike), "struck_at": as_text(strike.struck_at), "reversed_at": None}
        for strike in struck
    ]
    first = struck[0]
    async with database.write() as connection:
        for entry in recorded:
            await entries.append(connection, entry)
        # INVARIANT: whoever has appended an entry is alone until the commit, so that of
        # two strikes at the same time the second one sees the first.
        who = {"project": first.project, "subject": first.subject}
        before = [from_text(moment) for moment in await connection.scalars(_COUNTING, who)]
        await connection.execute(insert(tables.strikes), rows)
        followed = follows(before)
        if followed is not None:
            await entries.append(connection, followed.recorded)
            if followed.case is not None:
                await notices.add_case(connection, followed.case)
            await outbox.add(connection, followed.deliveries)


async def moments(database: Database, project: str, subject: str) -> tuple[datetime, ...]:
    """Return when the strikes were made that count against an end user, newest first.

    Raises:
        StoreUnavailable: If the database cannot be read.
    """
    found = await database.look_up(_COUNTING, {"project": project, "subject": subject})
    return tuple(from_text(moment) for (moment,) in found)


async def of_subject(database: Database, project: str, subject: str) -> list[Strike]:
    """Return an end user's strikes, newest first, those that were reversed too."""
    query = (
        select(tables.strikes)
        .where(_of(project, subject))
        .order_by(tables.strikes.c.struck_at.desc(), tables.strikes.c.rule)
        .limit(MAX_COUNTED)
    )
    async with database.read() as connection:
        return [_strike(row) for row in await connection.execute(query)]


async def by_subject(database: Database, project: str) -> dict[str, list[datetime]]:
    """Return when the strikes were made that count, for each of a project's end users."""
    columns = tables.strikes.c
    query = (
        select(columns.subject, columns.struck_at)
        .where(columns.project == project, columns.reversed_at.is_(None))
        .order_by(columns.subject, columns.struck_at)
    )
    found: dict[str, list[datetime]] = {}
    async with database.read() as connection:
        for subject, struck_at in await connection.execute(query):
            found.setdefault(subject, []).append(from_text(struck_at))
    return found


async def reverse(
    database: Database,
    of: tuple[str, str],
    at: datetime,
    recorded: Callable[[Sequence[Strike]], EntryRow],
) -> int:
    """Have none of an end user's strikes count any more, and write the entry about it.

    Args:
        database: Migrated.
        of: The project and the end user's pseudonym.
        at: Now.
        recorded: Given the strikes, returns the entry.

    Returns:
        How many; with none, nothing is written.
    """
    columns = tables.strikes.c
    change = (
        update(tables.strikes)
        .where(_of(*of), columns.reversed_at.is_(None))
        .values(reversed_at=as_text(at))
        .returning(tables.strikes)
    )
    async with database.write() as connection:
        # INVARIANT: which strikes the entry reverses follows from those before it in the log.
        await take_turn(connection)
        done = [_strike(row) for row in await connection.execute(change)]
        if done:
            done.sort(key=lambda strike: (strike.struck_at, strike.rule))
            await entries.append(connection, recorded(done))
        return len(done)


def _of(project: str, subject: str) -> ColumnElement[bool]:
    return and_(tables.strikes.c.project == project, tables.strikes.c.subject == subject)


def _strike(row: Row[tuple[object, ...]]) -> Strike:
    fields = dict(row._mapping)
    for moment in ("struck_at", "reversed_at"):
        fields[moment] = fields[moment] and from_text(fields[moment])
    return Strike(**fields)
