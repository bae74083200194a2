"""Conversations that were stopped, and the marks that they are known by.

Every change takes the entry that records it, and both are written in one transaction. The
marks are digests: there is nothing to read in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row, and_, bindparam, delete, insert, select, update

from gateway.conversation import Kind, Mark
from gateway.store import entries, tables
from gateway.store.entries import EntryRow
from gateway.store.session import Database
from gateway.store.times import as_text, from_text

MAX_LISTED = 1000
NO_CONVERSATION = "moderations"  # the endpoint that only judges
_MOMENTS = ("stopped_at", "expires_at", "lifted_at")

_stops, _marks = tables.conversation_stops.c, tables.conversation_marks.c
_IN_FORCE = and_(_stops.lifted_at.is_(None), _stops.expires_at > bindparam("now"))
_ANY = select(_stops.id).where(_stops.project == bindparam("project"), _IN_FORCE).limit(1)
_MATCHING = (
    select(_marks.kind, _marks.digest, tables.conversation_stops)
    .join(tables.conversation_stops, _stops.id == _marks.stop_id)
    .where(
        _marks.project == bindparam("project"),
        _marks.digest.in_(bindparam("digests", expanding=True)),
        _marks.until > bindparam("now"),
        _IN_FORCE,
    )
)


@dataclass(frozen=True, slots=True)
class Stop:
    """A conversation that must not go on.

    Attributes:
        id: `stop_` and 32 hex digits.
        project: Whose it is.
        request_id: In which exchange it was stopped.
        decision_id: By which decision.
        rule: By which rule.
        error_type: What the wire calls what was found.
        subject: The end user's pseudonym, where somebody was named.
        stopped_at: When.
        expires_at: Until when it is known.
        lifted_at: Since when a person lets it go on, or None.
        lifted_by: Who.
        reason: Why.
    """

    id: str
    project: str
    request_id: str
    decision_id: str
    rule: str
    error_type: str
    subject: str | None
    stopped_at: datetime
    expires_at: datetime
    lifted_at: datetime | None = None
    lifted_by: str | None = None
    reason: str | None = None


async def add(
    database: Database,
    stop: Stop,
    marks: Sequence[tuple[Mark, datetime]],
    recorded: EntryRow,
) -> None:
    """Store a stop, each of its marks with how long it counts, and the entry about it.

    What has expired goes meanwhile.

    Raises:
        StoreUnavailable: If it could not be written.
    """
    now = as_text(stop.stopped_at)
    row = asdict(stop)
    for name in _MOMENTS:
        row[name] = row[name] and as_text(row[name])
    rows = [
        {
            "stop_id": stop.id,
            "kind": mark.kind.value,
            "digest": mark.digest,
            "project": stop.project,
            "until": as_text(until),
        }
        for mark, until in marks
    ]
    async with database.write() as connection:
        await entries.append(connection, recorded)
        await connection.execute(delete(tables.conversation_marks).where(_marks.until <= now))
        await connection.execute(delete(tables.conversation_stops).where(_stops.expires_at <= now))
        await connection.execute(insert(tables.conversation_stops), row)
        await connection.execute(insert(tables.conversation_marks), rows)


async def clear(database: Database, project: str, start: Mark, cleared: Mark) -> None:
    """Note that an opening, which a stop is known by, got this reply: that is another one.

    It counts as long as the opening does, for each stop that has it.
    """
    same = select(_marks.stop_id, _marks.until).where(
        _marks.project == project,
        _marks.kind == start.kind.value,
        _marks.digest == start.digest,
    )
    async with database.write() as connection:
        known = select(_marks.stop_id).where(
            _marks.kind == cleared.kind.value, _marks.digest == cleared.digest
        )
        there = set(await connection.scalars(known))
        rows = [
            {
                "stop_id": stop_id,
                "kind": cleared.kind.value,
                "digest": cleared.digest,
                "project": project,
                "until": until,
            }
            for stop_id, until in await connection.execute(same)
            if stop_id not in there
        ]
        if rows:
            await connection.execute(insert(tables.conversation_marks), rows)


async def any_in_force(database: Database, project: str, now: datetime) -> bool:
    """Return whether a project has any conversation that is stopped."""
    values = {"project": project, "now": as_text(now)}
    return bool(await database.look_up(_ANY, values))


async def matching(
    database: Database, project: str, digests: Sequence[bytes], now: datetime
) -> dict[bytes, tuple[Kind, Stop]]:
    """Return the stops in force that have one of these marks, by its digest."""
    values = {"project": project, "digests": list(digests), "now": as_text(now)}
    found: dict[bytes, tuple[Kind, Stop]] = {}
    for row in await database.look_up(_MATCHING, values):
        fields = dict(row._mapping)
        kind, digest = Kind(str(fields.pop("kind"))), fields.pop("digest")
        found[bytes(digest)] = kind, _stop(fields)
    return found


async def admitted(database: Database, project: str, exchanges: Iterable[str]) -> set[str]:
    """Return which of these exchanges, 32 hex digits each, could get a reply in a project.

    One that was turned away, or only judged, is in the log as well: no conversation has its id.
    """
    asked = [f"req_{each}" for each in exchanges]
    if not asked:
        return set()
    log = tables.audit_entries.c
    query = select(log.request_id, log.body).where(
        log.request_id.in_(asked), log.project == project, log.type == "request.admitted"
    )
    async with database.read() as connection:
        return {
            name
            for name, body in await connection.execute(query)
            if orjson.loads(body)["request"]["endpoint"] != NO_CONVERSATION
        }


async def listed(database: Database, project: str | None, limit: int = 100) -> list[Stop]:
    """Return the newest stops, those that were lifted too, of one project or all."""
    query = select(tables.conversation_stops).order_by(_stops.stopped_at.desc(), _stops.id)
    if project is not None:
        query = query.where(_stops.project == project)
    async with database.read() as connection:
        rows = await connection.execute(query.limit(min(limit, MAX_LISTED)))
        return [_stop(dict(row._mapping)) for row in rows]


async def with_id(database: Database, stop_id: str) -> Stop | None:
    """Return one stop, or None."""
    query = select(tables.conversation_stops).where(_stops.id == stop_id)
    async with database.read() as connection:
        row: Row[tuple[object, ...]] | None = (await connection.execute(query)).first()
        return None if row is None else _stop(dict(row._mapping))


async def lift(
    database: Database,
    stop_id: str,
    lifted: tuple[datetime, str, str],
    recorded: Callable[[Stop], EntryRow],
) -> Stop | None:
    """Let a conversation go on, and write the entry about it.

    Args:
        database: Migrated.
        stop_id: Which.
        lifted: When, who and why.
        recorded: Given the stop as it is then, returns the entry.

    Returns:
        The stop, or None if there is none by this id in force.
    """
    at, by, reason = lifted
    change = (
        update(tables.conversation_stops)
        .where(_stops.id == stop_id, _stops.lifted_at.is_(None))
        .values(lifted_at=as_text(at), lifted_by=by, reason=reason)
        .returning(tables.conversation_stops)
    )
    async with database.write() as connection:
        row = (await connection.execute(change)).first()
        if row is None:
            return None
        stop = _stop(dict(row._mapping))
        await entries.append(connection, recorded(stop))
        return stop


def _stop(fields: dict[str, Any]) -> Stop:
    for name in _MOMENTS:
        moment = fields[name]
        fields[name] = moment and from_text(moment)
    return Stop(**fields)
