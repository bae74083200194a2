"""Holds a tool call until a person decides about it: approve, or nothing leaves.

The exchange waits where it is; a stream is kept alive meanwhile, a caller that leaves closes
the review. A person decides through any replica, or the command line; whoever waits looks into
the database a few times a second, so that it does not matter where. When the time is up, the
call is not released. Nobody decides about what their own key asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog
from uuid_utils import uuid7

from gateway.audit import review_records as records
from gateway.audit.entry import row_apart
from gateway.errors import Conflict, Forbidden, NotFound, StoreUnavailable
from gateway.exchange import Exchange
from gateway.store import reviews as store
from gateway.store.reviews import Review, State
from gateway.store.session import Database
from gateway.types import Reviewed
from policies.types import Decision

POLL_S = 0.5
SEEN_S = 5.0  # how often whoever waits shows that they do
GONE_S = 20.0  # after so long a silence nobody waits
_WRITER = "reviews"  # who the entries say they are by

_log = structlog.get_logger("ostiary.reviews")


@dataclass(slots=True, eq=False)
class Reviews:
    """Opens reviews and waits for them.

    Args:
        database: Migrated.
        timeout_s: How long a person has, seconds.
        approvals: How many have to approve, 1 or 2.
        now: The time of day.
        waiting: How many calls wait on this replica.
    """

    database: Database
    timeout_s: float
    approvals: int = 1
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    waiting: int = field(default=0, init=False)
    _wakes: dict[str, asyncio.Event] = field(default_factory=dict, init=False)
    _closing: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def hold(
        self, exchange: Exchange, decision: Decision, tool: str, recorded: Awaitable[object]
    ) -> bool:
        """Return whether a person approved, once one decided or the time is up.

        Args:
            exchange: Whose call it is; it learns who decided, and how long it was held.
            decision: Its last one, which asks for a review.
            tool: The function that is called.
            recorded: Done once the decision is durable.

        Raises:
            AuditUnavailable: If the decision could not be made durable.
            StoreUnavailable: If no review could be opened.
        """
        await recorded
        review = self._made(exchange, decision, tool)
        entry = row_apart(records.opened(exchange, review), _WRITER)
        await store.add(self.database, review, entry)
        since = time.monotonic()
        self.waiting += 1
        self._wakes[review.id] = asyncio.Event()
        try:
            found = await self._decided(exchange, review)
        except asyncio.CancelledError:
            self._close(exchange, review)
            raise
        finally:
            self.waiting -= 1
            del self._wakes[review.id]
            exchange.held_s += time.monotonic() - since
        approved = found.state is State.APPROVED
        people = (found.decided_by, found.first_by) if approved else (found.decided_by, None)
        exchange.reviewed.append(Reviewed(found.id, found.state.value, *people))
        return approved

    def wake(self, review_id: str) -> None:
        """Have whoever waits here look at once."""
        if (waiting := self._wakes.get(review_id)) is not None:
            waiting.set()

    async def aclose(self) -> None:
        """Wait for reviews that are being closed."""
        if self._closing:
            await asyncio.wait(self._closing)

    def _made(self, exchange: Exchange, decision: Decision, tool: str) -> Review:
        now = self.now()
        return Review(
            id=f"rev_{uuid7().hex}",
            project=exchange.principal.project,
            request_id=exchange.id,
            decision_id=exchange.decision_ids[-1],
            rule=next(iter(decision.determining_rules), ""),
            tool=tool,
            key_id=exchange.principal.key_id,
            subject=exchange.circumstances.end_user,
            approvals=self.approvals,
            opened_at=now,
            expires_at=now + timedelta(seconds=self.timeout_s),
            seen_at=now,
        )

    async def _decided(self, exchange: Exchange, review: Review) -> Review:
        """Return the review as it is once it is open no more."""
        seen_at = review.opened_at
        while True:
            now = self.now()
            try:
                found = await store.look(self.database, review.id)
                if found is not None and found.state is not State.OPEN:
                    return found
                if now >= review.expires_at and await self._expire(exchange, review, now):
                    return replace(review, state=State.EXPIRED)
                if now - seen_at >= timedelta(seconds=SEEN_S):
                    await store.seen(self.database, review.id, now)
                    seen_at = now
            except StoreUnavailable as error:  # it may be back before the time is up
                _log.warning("review_not_looked_at", review=review.id, error=str(error))
                if now >= review.expires_at:
                    return replace(review, state=State.EXPIRED)
            await self._pause(review)

    async def _pause(self, review: Review) -> None:
        left_s = (review.expires_at - self.now()).total_seconds()
        wake = self._wakes[review.id]
        try:
            async with asyncio.timeout(max(0.01, min(POLL_S, left_s))):
                await wake.wait()
                wake.clear()
        except TimeoutError:
            return

    async def _expire(self, exchange: Exchange, review: Review, now: datetime) -> bool:
        entry = row_apart(records.expired(exchange, review), _WRITER)
        changes = {"state": State.EXPIRED, "decided_at": now}
        return await store.settle(self.database, review.id, changes, entry)

    def _close(self, exchange: Exchange, review: Review) -> None:
        """Close a review that nobody waits for any more; goes on though we are cancelled."""
        task = asyncio.create_task(self._closed(exchange, review))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _closed(self, exchange: Exchange, review: Review) -> None:
        entry = row_apart(records.closed(exchange, review), _WRITER)
        changes = {"state": State.CLOSED, "decided_at": self.now()}
        try:
            await store.settle(self.database, review.id, changes, entry)
        except StoreUnavailable as error:  # it expires; nothing is released
            _log.warning("review_not_closed", review=review.id, error=str(error))


async def decide(
    database: Database, review_id: str, *, approve: bool, by: str, reason: str
) -> Review:
    """Decide about a call that waits, and record it; return the review as it is then.

    Args:
        database: Migrated.
        review_id: Which.
        approve: Whether it may leave. Where two have to approve, the first leaves it open.
        by: Who: a key id, or who uses the command line.
        reason: Why.

    Raises:
        NotFound: If there is no such review.
        Forbidden: If it is about what their own key asked for.
        Conflict: If it is not open, if nobody waits for it, or if they approved it before.
        StoreUnavailable: If it could not be written.
    """
    review = await store.look(database, review_id)
    if review is None:
        raise NotFound(f"there is no review `{review_id[:80]}`")
    now = datetime.now(UTC)
    _check(review, by, now)
    seconded = not approve or review.approvals == 1 or review.first_by is not None
    if approve and review.first_by == by:
        raise Conflict("somebody else has to approve it too", code="second_approval_needed")
    changes: dict[str, object] = {"first_by": by, "first_at": now}
    if seconded:
        state = State.APPROVED if approve else State.REJECTED
        changes = {"state": state, "decided_by": by, "decided_at": now, "reason": reason[:500]}
    entry = records.decided(review, approve=approve, final=seconded, by=by, reason=reason)
    if not await store.settle(database, review_id, changes, row_apart(entry, _WRITER)):
        raise Conflict("somebody else was quicker; look at the review again")
    return await store.look(database, review_id) or review


def _check(review: Review, by: str, now: datetime) -> None:
    if by == review.key_id:
        raise Forbidden(
            "who asked for a call does not decide about it: use another key",
            code="own_request",
        )
    if review.state is not State.OPEN:
        raise Conflict(f"this review is {review.state.value}")
    if now >= review.expires_at or (now - review.seen_at).total_seconds() > GONE_S:
        raise Conflict("nobody waits for this call any more")
