"""Strikes and what follows from them, for one end user at a time.

A rule that counts against the end user makes a strike; the ladders of the policy say what
strikes lead to (`policies.ladder`). An end user is known by the pseudonym of the caller's
`safety_identifier` within a project; a request that names nobody makes no strikes and is
never sanctioned. Nothing here is ever about a key or a whole project.

What is read is remembered for at most a second, so that a sanction, and its end, is in force
on every replica within one; where it was made, at once. If the database cannot be read,
nobody's standing is known, and the request is not served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.audit import enforcement_records as records
from gateway.audit.entry import row_apart
from gateway.errors import IdentifierBlocked
from gateway.exchange import Exchange
from gateway.memory import Memory
from gateway.safety_events import Event
from gateway.sanction_notices import notices_of
from gateway.store import strikes as store
from gateway.store.entries import EntryRow
from gateway.store.outbox import Delivery
from gateway.store.session import Database
from gateway.store.strikes import Followed, Strike
from gateway.webhooks import Webhooks
from policies.ladder import Ladder, Sanction, Standing, standing

_WRITER = "enforcement"  # who the entries say they are by


@dataclass(slots=True, eq=False)
class Enforcement:
    """Knows where end users stand, and counts against them.

    Args:
        database: Migrated.
        webhooks: Tells endpoints of sanctions; None tells nobody.
        monotonic: This process's clock, seconds.
        now: The time of day.
    """

    database: Database
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    webhooks: Webhooks | None = None
    _memory: Memory[tuple[str, str], tuple[datetime, ...]] = field(init=False)
    _striking: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        """Begin with nothing remembered."""
        self._memory = Memory(
            lambda who: store.moments(self.database, *who), self.monotonic, self.database.stale_s
        )

    async def standing(
        self, project: str, subject: str | None, ladders: Sequence[Ladder]
    ) -> Standing:
        """Return where an end user stands.

        Args:
            project: Whose end user it is.
            subject: Their pseudonym, or None where nobody said who it is.
            ladders: Those of the policy in force; without any nothing is read.

        Raises:
            StoreUnavailable: If nobody can tell.
        """
        if subject is None or not ladders:
            return Standing()
        moments = await self._memory.answer((project, subject))
        return self._judge(ladders, moments) if moments else Standing()

    async def strike(
        self, exchange: Exchange, rules: Sequence[str], recorded: Awaitable[object]
    ) -> None:
        """Count rules of the last decision against the end user of `exchange`, durably.

        Goes on to the end even if the caller is cancelled: hanging up avoids no strike.

        Args:
            exchange: Whose.
            rules: Their ids; one that has counted in this exchange does not count again.
            recorded: Done once the decision is durable; no strike is without its decision.

        Raises:
            AuditUnavailable: If the decision could not be made durable.
            StoreUnavailable: If the strikes could not.
        """
        struck = self._new_strikes(exchange, rules)
        if not struck:
            return
        task = asyncio.create_task(self._add(exchange, struck, recorded))
        self._striking.add(task)
        task.add_done_callback(self._finished)
        await asyncio.shield(task)

    async def reinstate(self, project: str, subject: str, *, reason: str, actor: str) -> int:
        """Reverse an end user's strikes and record it; in force everywhere within a second.

        Args:
            project: Whose end user it is.
            subject: Their pseudonym.
            reason: Why, in the operator's words.
            actor: Who does it: a key id, or `cli`.

        Returns:
            How many strikes do not count any more.

        Raises:
            StoreUnavailable: If it could not be written.
        """

        def entry(struck: Sequence[Strike]) -> EntryRow:
            return row_apart(records.reversed_(struck, reason=reason, actor=actor), _WRITER)

        count = await store.reverse(self.database, (project, subject), self.now(), entry)
        self._memory.forget((project, subject))
        return count

    async def aclose(self) -> None:
        """Wait for strikes that are being written."""
        if self._striking:
            await asyncio.wait(self._striking)

    def _new_strikes(self, exchange: Exchange, rules: Sequence[str]) -> list[Strike]:
        subject = exchange.circumstances.end_user
        if subject is None:
            return []
        new = [rule for rule in rules if rule not in exchange.struck]
        exchange.struck.update(new)
        policy, project, now = exchange.policy.id, exchange.principal.project, self.now()
        decision_id = exchange.decision_ids[-1]
        return [
            Strike(exchange.id, rule, decision_id, policy, project, subject, now) for rule in new
        ]

    async def _add(
        self, exchange: Exchange, struck: Sequence[Strike], recorded: Awaitable[object]
    ) -> None:
        await recorded
        first = struck[0]

        def follows(before: Sequence[datetime]) -> Followed | None:
            return self._consequence(exchange, struck, before)

        entries = [row_apart(records.struck(exchange, strike), _WRITER) for strike in struck]
        try:
            await store.add(self.database, struck, entries, follows)
        finally:  # also where nobody knows whether it was written
            self._memory.forget((first.project, first.subject))
        if self.webhooks:
            self.webhooks.wake()

    def _consequence(
        self, exchange: Exchange, struck: Sequence[Strike], before: Sequence[datetime]
    ) -> Followed | None:
        """Return what follows from a sanction that these strikes change, if they do."""
        ladders = exchange.policy.ladders
        moments = [*before, *(strike.struck_at for strike in struck)]
        now = max(moments)
        old, new = standing(ladders, before, now), standing(ladders, moments, now)
        if (old.sanction, old.until) == (new.sanction, new.until):
            return None
        entry = row_apart(records.sanctioned(exchange, struck[0].subject, old, new), _WRITER)
        told = notices_of(exchange, _category(exchange, struck), old, new, self.now())
        deliveries = [each for event in told.events for each in self._deliveries(event)]
        return Followed(entry, told.case, deliveries)

    def _deliveries(self, event: Event) -> list[Delivery]:
        return self.webhooks.deliveries(event) if self.webhooks else []

    def _judge(self, ladders: Sequence[Ladder], moments: Sequence[datetime]) -> Standing:
        # Another replica's clock may be ahead of ours; what it wrote has happened.
        return standing(ladders, moments, max(self.now(), moments[0]))

    def _finished(self, done: asyncio.Task[None]) -> None:
        self._striking.discard(done)
        if not done.cancelled():
            done.exception()  # whoever still waits gets it; nobody may be left


def _category(exchange: Exchange, struck: Sequence[Strike]) -> str:
    """Return the category of the last rule that struck."""
    named = {each.rule: each.category for each in exchange.decisions[-1].outcomes}
    return named.get(struck[-1].rule, "other")


def check_standing(standing: Standing, now: datetime | None = None) -> None:
    """Let an end user pass who is served, throttled or not.

    Args:
        standing: Where they stand.
        now: The time of day; None asks the clock.

    Raises:
        IdentifierBlocked: If they are suspended or deactivated.
    """
    if standing.sanction < Sanction.SUSPEND:
        return
    if standing.until is None:
        raise IdentifierBlocked(
            "requests for this safety identifier are not served any more; "
            "others of this project are not affected",
            reason=standing.sanction.name.lower(),
        )
    left_s = (standing.until - (now or datetime.now(UTC))).total_seconds()
    raise IdentifierBlocked(
        f"requests for this safety identifier are not served before "
        f"{standing.until:%Y-%m-%dT%H:%M:%SZ}; others of this project are not affected",
        reason=standing.sanction.name.lower(),
        retry_after_s=max(0.0, left_s),
    )


def safety_warning(standing: Standing) -> dict[str, str]:
    """Return the header that tells a caller of an end user's strikes, where there are any."""
    if standing.sanction is Sanction.NONE:
        return {}
    word = standing.sanction.name.lower()
    return {"x-ostiary-safety-warning": f"{word}; strikes={standing.strikes}"}
