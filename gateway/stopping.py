"""Stops conversations, and turns away requests that go on with one.

What a stopped conversation is known by is `gateway.conversation`'s business. A stop is durable
before the refusal that tells of it leaves, is in force on every replica within a second, ends
by itself after `stop_days`, and can be lifted by a person. If the database cannot be read,
nobody knows what was stopped, and no request is served.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from uuid_utils import uuid7

from gateway.audit import consequence_records as records
from gateway.audit.entry import row_apart
from gateway.conversation import (
    Evidence,
    History,
    Kind,
    Mark,
    cleared,
    earlier_digest,
    evidence,
    issued_digest,
    marks_of_stop,
    opening,
    project_key,
    replied,
)
from gateway.errors import ConversationStopped
from gateway.exchange import Exchange
from gateway.memory import Memory
from gateway.misalignment import STOPPED_MESSAGE, error_type_of, misalignment
from gateway.store import stops as store
from gateway.store.entries import EntryRow
from gateway.store.session import Database
from gateway.store.stops import Stop
from gateway.types import Principal, Stopped
from model_runner.types import Channel, Message, Role
from policies.effects import stopping
from policies.types import Decision

# How long what is likely, and not sure, counts.
TURNS_LAST, START_LASTS = timedelta(hours=1), timedelta(hours=12)
_WRITER = "conversations"  # who the entries say they are by

Matches = dict[bytes, tuple[Kind, Stop]]


@dataclass(slots=True, eq=False)
class Stops:
    """Knows which conversations were stopped.

    Args:
        database: Migrated.
        secret: Keys the digests; 32 bytes that all replicas share.
        lasting: How long a stop holds.
        monotonic: This process's clock, seconds.
        now: The time of day.
    """

    database: Database
    secret: bytes
    lasting: timedelta
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _any: Memory[str, bool] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing remembered."""
        self._any = Memory(
            lambda project: store.any_in_force(self.database, project, self.now()),
            self.monotonic,
            self.database.stale_s,
        )

    async def check(
        self, principal: Principal, subject: str | None, history: History
    ) -> Mark | None:
        """Let a request pass that does not go on with a stopped conversation.

        Returns:
            The opening that it asks anew, if one like it was stopped; see `clear`.

        Raises:
            ConversationStopped: If it does.
            StoreUnavailable: If nobody can tell.
        """
        project = principal.project
        if not await self._any.answer(project):
            return None
        key, asker = project_key(self.secret, project), asker_of(principal, subject)
        places = evidence(history, key, asker)
        digests = {mark.digest for place in places for mark in place.said}
        digests |= {mark.digest for place in places for mark in place.begun or ()}
        for each in {each for place in places for each in place.issued}:
            digests |= {issued_digest(each), earlier_digest(each)}
        start = opening(history, key, asker)
        digests |= {start.digest} if start else set()
        found = await store.matching(self.database, project, sorted(digests), self.now())
        if found and (stop := await self._stop_in(places, found, project)):
            stopped = Stopped(stop.id, stop.error_type)
            raise ConversationStopped(
                STOPPED_MESSAGE, reason=stop.id, misalignment=misalignment(stopped)
            )
        return start if start and start.digest in found else None

    async def clear(self, exchange: Exchange, told: str = "") -> None:
        """Note what was replied to an opening that was stopped before: that may go on.

        Args:
            exchange: Whose reply has ended.
            told: The refusal at its end, if there is one. A caller sends it back behind what
                had left, in place of it, or not at all.

        Raises:
            StoreUnavailable: If it could not be noted.
        """
        if exchange.reopens is not None and exchange.stopped is None:
            project = exchange.principal.project
            asker = asker_of(exchange.principal, exchange.circumstances.end_user)
            key, said = project_key(self.secret, project), replied(exchange.released)
            refused = [Message(Role.ASSISTANT, told, Channel.FINAL)]
            for reply in [said, [*said, *refused], refused] if told else [said]:
                mark = cleared(exchange.history, reply, key, asker)
                await store.clear(self.database, project, exchange.reopens, mark)

    async def stop(
        self, exchange: Exchange, decision: Decision, recorded: Awaitable[object]
    ) -> None:
        """Stop the conversation of `exchange`, durably, if a rule of its last decision says so.

        Args:
            exchange: Whose. It is told, so that its caller can be.
            decision: What was decided.
            recorded: Done once the decision is durable; no stop is without its decision.

        Raises:
            AuditUnavailable: If the decision could not be made durable.
            StoreUnavailable: If the stop could not.
        """
        rules = stopping(decision)
        if not rules or exchange.stopped is not None:
            return
        stop = self._made(exchange, decision, rules)
        marks = self._marks(exchange, stop)
        await recorded
        entry = row_apart(records.stopped(exchange, stop, len(marks)), _WRITER)
        try:
            await store.add(self.database, stop, marks, entry)
        finally:  # also where nobody knows whether it was written
            self._any.forget(stop.project)
        exchange.stopped = Stopped(stop.id, stop.error_type)

    async def lift(self, stop_id: str, *, reason: str, actor: str) -> Stop | None:
        """Let a conversation go on, and record it; everywhere within a second.

        Returns:
            The stop, or None if there is none by this id that was not lifted.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        lifted = await lift(self.database, stop_id, reason=reason, actor=actor)
        if lifted is not None:
            self._any.forget(lifted.project)
        return lifted

    def _made(self, exchange: Exchange, decision: Decision, rules: Sequence[str]) -> Stop:
        now = self.now()
        return Stop(
            id=f"stop_{uuid7().hex}",
            project=exchange.principal.project,
            request_id=exchange.id,
            decision_id=exchange.decision_ids[-1],
            rule=rules[0],
            error_type=error_type_of(each for each in decision.outcomes if each.rule in rules),
            subject=exchange.circumstances.end_user,
            stopped_at=now,
            expires_at=now + self.lasting,
        )

    def _marks(self, exchange: Exchange, stop: Stop) -> list[tuple[Mark, datetime]]:
        marks = marks_of_stop(
            exchange.history,
            exchange.id.removeprefix("req_"),
            project_key(self.secret, stop.project),
            asker_of(exchange.principal, stop.subject),
            replied(exchange.released),
        )
        lasting = {Kind.TURNS: TURNS_LAST, Kind.START: START_LASTS}
        return [
            (mark, min(stop.stopped_at + lasting.get(mark.kind, self.lasting), stop.expires_at))
            for mark in dict.fromkeys(marks)
        ]

    async def _stop_in(
        self, places: Sequence[Evidence], found: Matches, project: str
    ) -> Stop | None:
        """Return the stop that one of these places proves, if any does."""
        for place in places:
            for each in place.issued:
                if (issued := found.get(issued_digest(each))) is not None:
                    return issued[1]
        for place in places:
            marks = [*place.said, *_begun(place, found)]
            alike = [found[mark.digest] for mark in marks if mark.digest in found]
            if alike and not await self._is_other(place, found, project):
                return min(alike, key=lambda pair: list(Kind).index(pair[0]))[1]
        return None

    async def _is_other(self, place: Evidence, found: Matches, project: str) -> bool:
        """Return whether ids of ours say that what looks alike is another conversation."""
        if any(earlier_digest(each) in found for each in place.issued):  # moved within it
            return False
        if await store.admitted(self.database, project, place.issued):
            return True
        if any(
            issued_digest(each) in found or earlier_digest(each) in found for each in place.earlier
        ):
            return False
        return bool(await store.admitted(self.database, project, place.earlier))


def _begun(place: Evidence, found: Matches) -> tuple[Mark, ...]:
    """Return the opening before a place, unless we gave it the reply that is between them."""
    if place.begun is None or place.begun[1].digest in found:
        return ()
    return place.begun[:1]


async def lift(database: Database, stop_id: str, *, reason: str, actor: str) -> Stop | None:
    """As `Stops.lift`, from a process that answers no requests."""

    def entry(stop: Stop) -> EntryRow:
        return row_apart(records.lifted(stop, reason=reason, actor=actor), _WRITER)

    return await store.lift(database, stop_id, (datetime.now(UTC), actor, reason), entry)


def asker_of(principal: Principal, subject: str | None) -> str:
    """Return who goes on with a conversation: an end user, or a key where nobody is named."""
    return subject or f"key:{principal.key_id}"
