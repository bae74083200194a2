"""Safety alerts and cases: what a project was told. Nothing in them was said by anybody.

Each is written with the entry that records it and the deliveries that tell of it, in one
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import entries, outbox, tables
from gateway.store.entries import EntryRow
from gateway.store.outbox import Delivery
from gateway.store.session import Database
from gateway.store.times import as_text, from_text


@dataclass(frozen=True, slots=True)
class Alert:
    """A finding that a rule raises an alert about.

    Attributes:
        id: `alert_` and 32 hex digits.
        project: Whose it is.
        created_at: When.
        error_type: What the wire calls what was found.
        category: What the policy calls it.
        rule: By which rule.
        model: Which model was asked.
        request_id: In which exchange.
        response_id: The reply's id.
        decision_id: By which decision.
        request_paused: Whether what was found was held back.
        subject: The end user's pseudonym, where somebody was named.
    """

    id: str
    project: str
    created_at: datetime
    error_type: str
    category: str
    rule: str
    model: str
    request_id: str
    response_id: str
    decision_id: str
    request_paused: bool
    subject: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """A notice about an end user.

    Attributes:
        id: `case_` and 32 hex digits.
        project: Whose end user it is.
        created_at: When.
        notice: `warning` or `deactivation`.
        subject: The end user's pseudonym.
        entity: The identifier, as the application sends it.
        reason: What led to it, in fixed words.
    """

    id: str
    project: str
    created_at: datetime
    notice: str
    subject: str
    entity: str
    reason: str


async def add_alert(
    database: Database, alert: Alert, recorded: EntryRow, deliveries: Sequence[Delivery]
) -> None:
    """Store an alert, the entry about it and what tells of it. Raises `StoreUnavailable`."""
    row = {**asdict(alert), "created_at": as_text(alert.created_at)}
    async with database.write() as connection:
        await entries.append(connection, recorded)
        await connection.execute(insert(tables.safety_alerts), row)
        await outbox.add(connection, deliveries)


async def add_case(connection: AsyncConnection, case: Case) -> None:
    """Store a case in the caller's transaction."""
    row = {**asdict(case), "created_at": as_text(case.created_at)}
    await connection.execute(insert(tables.safety_cases), row)


async def forget(connection: AsyncConnection, project: str, subject: str) -> None:
    """Delete the cases of an end user, which name them, in the caller's transaction."""
    columns = tables.safety_cases.c
    await connection.execute(
        delete(tables.safety_cases).where(columns.project == project, columns.subject == subject)
    )


async def alert_with_id(database: Database, alert_id: str) -> Alert | None:
    """Return one alert, or None."""
    columns = tables.safety_alerts.c
    async with database.read() as connection:
        query = select(tables.safety_alerts).where(columns.id == alert_id)
        row = (await connection.execute(query)).mappings().first()
        return None if row is None else Alert(**_timed(dict(row)))


async def case_with_id(database: Database, case_id: str) -> Case | None:
    """Return one case, or None."""
    columns = tables.safety_cases.c
    async with database.read() as connection:
        query = select(tables.safety_cases).where(columns.id == case_id)
        row = (await connection.execute(query)).mappings().first()
        return None if row is None else Case(**_timed(dict(row)))


async def alerts(
    database: Database, project: str | None, limit: int, after: str | None = None
) -> list[Alert]:
    """Return the newest alerts, of one project or all, those before the one `after`."""
    columns = tables.safety_alerts.c
    query = select(tables.safety_alerts).order_by(columns.id.desc()).limit(limit)  # by time: UUIDv7
    if project is not None:
        query = query.where(columns.project == project)
    if after is not None:
        query = query.where(columns.id < after)
    async with database.read() as connection:
        rows = (await connection.execute(query)).mappings()
        return [Alert(**_timed(dict(row))) for row in rows]


def _timed(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "created_at": from_text(fields["created_at"])}
