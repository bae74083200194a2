"""Webhook deliveries that are due, were made, or were given up.

A delivery is written in the transaction of what it tells of. Replicas claim what is due, each
its own (`SKIP LOCKED`; SQLite has one writer), by moving when it is due next beyond the time
that a try can take: whoever dies over it leaves it to the next one. At least once, therefore.
A replica sees only what is for its own endpoints: another may know of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import RowMapping, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import entries, tables
from gateway.store.entries import EntryRow
from gateway.store.session import Database
from gateway.store.times import as_text, from_text

_COLUMNS = tables.webhook_deliveries.c


class State(StrEnum):
    """What became of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"  # given up; an operator may have it tried again


_DUE = (
    select(_COLUMNS.id)
    .where(
        _COLUMNS.state == State.WAITING.value,
        _COLUMNS.due_at <= bindparam("now"),
        _COLUMNS.endpoint.in_(bindparam("endpoints", expanding=True)),
    )
    .order_by(_COLUMNS.due_at)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint.

    Attributes:
        id: `whd_` and 32 hex digits.
        event_id: The event's.
        event_type: Its type.
        endpoint: The endpoint's name.
        project: Whose event it is.
        body: What is sent.
        tries: How many were begun, the one at hand included.
        created_at: When the event was.
    """

    id: str
    event_id: str
    event_type: str
    endpoint: str
    project: str
    body: bytes
    tries: int
    created_at: datetime


async def add(connection: AsyncConnection, deliveries: Sequence[Delivery]) -> None:
    """Write deliveries, due at once, in the caller's transaction."""
    if not deliveries:
        return
    rows = [
        {
            "id": each.id,
            "event_id": each.event_id,
            "event_type": each.event_type,
            "endpoint": each.endpoint,
            "project": each.project,
            "body": each.body,
            "tries": each.tries,
            "created_at": as_text(each.created_at),
            "due_at": as_text(each.created_at),
            "state": State.WAITING.value,
            "settled_at": None,
            "error": None,
        }
        for each in deliveries
    ]
    await connection.execute(insert(tables.webhook_deliveries), rows)


async def any_due(database: Database, endpoints: Sequence[str], now: datetime) -> bool:
    """Return whether anything is due at one of these endpoints."""
    return bool(await database.look_up(_DUE, {"now": as_text(now), "endpoints": list(endpoints)}))


async def claim(
    database: Database, endpoints: Sequence[str], now: datetime, until: datetime, limit: int
) -> list[Delivery]:
    """Return deliveries to these endpoints that are due, and are nobody else's before `until`."""
    due = (
        select(_COLUMNS.id)
        .where(
            _COLUMNS.state == State.WAITING.value,
            _COLUMNS.due_at <= as_text(now),
            _COLUMNS.endpoint.in_(endpoints),
        )
        .order_by(_COLUMNS.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    async with database.write() as connection:
        ids = list(await connection.scalars(due))
        if not ids:
            return []
        taken = (
            update(tables.webhook_deliveries)
            .where(_COLUMNS.id.in_(ids))
            .values(due_at=as_text(until), tries=_COLUMNS.tries + 1)
            .returning(tables.webhook_deliveries)
        )
        rows = (await connection.execute(taken)).mappings().all()
    return [_delivery(row) for row in rows]


async def orphans(
    database: Database, endpoints: Sequence[str], before: datetime, limit: int
) -> list[Delivery]:
    """Return deliveries to other endpoints that nobody has tried since they were due."""
    query = (
        select(tables.webhook_deliveries)
        .where(
            _COLUMNS.state == State.WAITING.value,
            _COLUMNS.due_at < as_text(before),
            _COLUMNS.endpoint.not_in(endpoints),
        )
        .order_by(_COLUMNS.due_at)
        .limit(limit)
    )
    async with database.read() as connection:
        return [_delivery(row) for row in (await connection.execute(query)).mappings()]


async def delivered(database: Database, delivery: Delivery, now: datetime) -> None:
    """Note that the endpoint has it; what was sent is kept no longer."""
    async with database.write() as connection:
        await connection.execute(
            update(tables.webhook_deliveries)
            .where(_COLUMNS.id == delivery.id)
            .values(state=State.DELIVERED.value, settled_at=as_text(now), error=None, body=b"")
        )


async def failed(database: Database, delivery: Delivery, due_at: datetime, error: str) -> None:
    """Note that a try failed, and when the next one is due."""
    async with database.write() as connection:
        await connection.execute(
            update(tables.webhook_deliveries)
            .where(_COLUMNS.id == delivery.id, _COLUMNS.state == State.WAITING.value)
            .values(due_at=as_text(due_at), error=error)
        )


async def give_up(
    database: Database, delivery: Delivery, now: datetime, error: str, recorded: EntryRow
) -> bool:
    """Note that there are no more tries, and write the entry about it; False if it is settled."""
    async with database.write() as connection:
        done = await connection.execute(
            update(tables.webhook_deliveries)
            .where(_COLUMNS.id == delivery.id, _COLUMNS.state == State.WAITING.value)
            .values(state=State.DEAD.value, settled_at=as_text(now), error=error)
        )
        if done.rowcount:
            await entries.append(connection, recorded)
        return bool(done.rowcount)


async def retry(database: Database, delivery_id: str, now: datetime, recorded: EntryRow) -> bool:
    """Have a delivery that was given up tried anew, and write the entry about it."""
    async with database.write() as connection:
        done = await connection.execute(
            update(tables.webhook_deliveries)
            .where(_COLUMNS.id == delivery_id, _COLUMNS.state == State.DEAD.value)
            .values(state=State.WAITING.value, due_at=as_text(now), tries=0, settled_at=None)
        )
        if done.rowcount:
            await entries.append(connection, recorded)
        return bool(done.rowcount)


async def prune(database: Database, before: datetime) -> int:
    """Delete what was settled before a moment, delivered or given up; return how many."""
    gone = delete(tables.webhook_deliveries).where(
        _COLUMNS.state != State.WAITING.value, _COLUMNS.settled_at < as_text(before)
    )
    async with database.write() as connection:
        return (await connection.execute(gone)).rowcount


async def counted(database: Database) -> dict[tuple[str, str], int]:
    """Return how many deliveries there are that have not arrived, by endpoint and state."""
    query = (
        select(_COLUMNS.endpoint, _COLUMNS.state, func.count())
        .where(_COLUMNS.state != State.DELIVERED.value)
        .group_by(_COLUMNS.endpoint, _COLUMNS.state)
    )
    async with database.read() as connection:
        return {(row[0], row[1]): row[2] for row in await connection.execute(query)}


async def listed(database: Database, state: State | None, limit: int) -> list[dict[str, object]]:
    """Return the newest deliveries, without what they say."""
    columns = [column for column in _COLUMNS if column.name != "body"]
    query = select(*columns).order_by(_COLUMNS.created_at.desc(), _COLUMNS.id).limit(limit)
    if state is not None:
        query = query.where(_COLUMNS.state == state.value)
    async with database.read() as connection:
        return [dict(row) for row in (await connection.execute(query)).mappings()]


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(
        row["id"],
        row["event_id"],
        row["event_type"],
        row["endpoint"],
        row["project"],
        bytes(row["body"]),
        row["tries"],
        from_text(row["created_at"]),
    )
