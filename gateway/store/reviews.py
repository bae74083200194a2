"""Tool calls that wait for a person, and what people decided about them.

A review is open until somebody decides it, its time is up, or whoever waited has gone: one
statement moves it, so that of two that want to only one does. Each change takes the entry that
records it, and both are written in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from gateway.store import entries, tables
from gateway.store.entries import EntryRow
from gateway.store.session import Database
from gateway.store.times import as_text, from_text

_COLUMNS = tables.reviews.c
_MOMENTS = ("opened_at", "expires_at", "seen_at", "first_at", "decided_at")
_BY_ID = select(tables.reviews).where(_COLUMNS.id == bindparam("id"))


class State(StrEnum):
    """Where a review stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"  # nobody decided in time
    CLOSED = "closed"  # whoever waited has gone


@dataclass(frozen=True, slots=True)
class Review:
    """A tool call that a person is asked about.

    Attributes:
        id: `rev_` and 32 hex digits.
        project: Whose it is.
        request_id: In which exchange.
        decision_id: By which decision; its content is the arguments.
        rule: By which rule, the first of them.
        tool: The function that is called.
        key_id: Whose key asked: that one does not decide.
        subject: The end user's pseudonym, where somebody was named.
        approvals: How many people have to approve, 1 or 2.
        opened_at: When.
        expires_at: From when on it is too late.
        seen_at: When whoever waits last showed that they do.
        state: Where it stands.
        first_by: Who approved first, where two have to.
        first_at: When.
        decided_by: Who decided.
        decided_at: When it left `open`.
        reason: Why, in their words.
    """

    id: str
    project: str
    request_id: str
    decision_id: str
    rule: str
    tool: str
    key_id: str
    subject: str | None
    approvals: int
    opened_at: datetime
    expires_at: datetime
    seen_at: datetime
    state: State = State.OPEN
    first_by: str | None = None
    first_at: datetime | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None


async def add(database: Database, review: Review, recorded: EntryRow) -> None:
    """Open a review. Raises `StoreUnavailable`."""
    row = {**asdict(review), "state": review.state.value}
    for name in _MOMENTS:
        row[name] = row[name] and as_text(row[name])
    async with database.write() as connection:
        await entries.append(connection, recorded)
        await connection.execute(insert(tables.reviews), row)


async def look(database: Database, review_id: str) -> Review | None:
    """Return one review, or None. Raises `StoreUnavailable`."""
    found = await database.look_up(_BY_ID, {"id": review_id})
    return _review(found[0]._mapping) if found else None


async def seen(database: Database, review_id: str, now: datetime) -> None:
    """Show that whoever waits still does."""
    change = update(tables.reviews).where(_COLUMNS.id == review_id, _open())
    async with database.write() as connection:
        await connection.execute(change.values(seen_at=as_text(now)))


async def settle(
    database: Database, review_id: str, changes: Mapping[str, object], recorded: EntryRow
) -> bool:
    """Change a review that is open, and write the entry about it; False if it is not.

    Args:
        database: Migrated.
        review_id: Which.
        changes: Values of columns, moments and states as they are.
        recorded: The entry.

    Raises:
        StoreUnavailable: If it could not be written.
    """
    values = {name: _value(value) for name, value in changes.items()}
    change = update(tables.reviews).where(_COLUMNS.id == review_id, _open()).values(**values)
    if "first_by" in values:  # of two first approvals one is
        change = change.where(_COLUMNS.first_by.is_(None))
    async with database.write() as connection:
        if not (await connection.execute(change)).rowcount:
            return False
        await entries.append(connection, recorded)
        return True


async def listed(
    database: Database, state: State | None, project: str | None, limit: int
) -> Sequence[Review]:
    """Return the newest reviews, in one state or any, of one project or all."""
    query = select(tables.reviews).order_by(_COLUMNS.id.desc()).limit(limit)  # by time: UUIDv7
    if state is not None:
        query = query.where(_COLUMNS.state == state.value)
    if project is not None:
        query = query.where(_COLUMNS.project == project)
    async with database.read() as connection:
        return [_review(row) for row in (await connection.execute(query)).mappings()]


def _open() -> Any:  # noqa: ANN401 - a clause of SQLAlchemy's
    return _COLUMNS.state == State.OPEN.value


def _value(value: object) -> object:
    if isinstance(value, datetime):
        return as_text(value)
    return value.value if isinstance(value, State) else value


def _review(row: Mapping[Any, Any]) -> Review:
    fields = dict(row)
    for name in _MOMENTS:
        fields[name] = fields[name] and from_text(fields[name])
    return Review(**{**fields, "state": State(fields["state"])})
