"""What follows from a decision for a conversation and a project, durably, before anything leaves.

Strikes are `gateway.enforcement`'s. This is also the door for findings that come later: a
review of an exchange that has ended hands its decision to `follow` as the pipeline does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from dataclasses import dataclass, field

from gateway.alerting import Alerts
from gateway.exchange import Exchange
from gateway.stopping import Stops
from gateway.store.stops import NO_CONVERSATION
from gateway.webhooks import Webhooks
from policies.striking import alerting
from policies.types import Decision


@dataclass(slots=True, eq=False)
class Consequences:
    """Does what the rules of a decision say beside its action."""

    stops: Stops
    alerts: Alerts
    _running: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    @property
    def webhooks(self) -> Webhooks:
        """Who tells endpoints of it."""
        return self.alerts.webhooks

    async def follow(
        self,
        exchange: Exchange,
        decision: Decision,
        new: Collection[int] | None,
        recorded: Awaitable[object],
    ) -> None:
        """Do what follows from the last decision about `exchange`.

        Goes on to the end even if the caller is cancelled: hanging up avoids nothing.

        Args:
            exchange: Whose; it may have ended.
            decision: What was decided; its id is the last one that the exchange has.
            new: Which of the judged passages are new, by index; None if all are.
            recorded: Done once the decision is durable.

        Raises:
            AuditUnavailable: If the decision could not be made durable.
            StoreUnavailable: If what follows could not; then it must not be acted on.
        """
        if exchange.endpoint == NO_CONVERSATION or not _has_any(decision):
            return
        task = asyncio.create_task(self._follow(exchange, decision, new, recorded))
        self._running.add(task)
        task.add_done_callback(self._finished)
        await asyncio.shield(task)

    async def completed(self, exchange: Exchange, told: str = "") -> None:
        """Note that the reply has ended, before that is told. Raises `StoreUnavailable`."""
        await self.stops.clear(exchange, told)

    async def aclose(self) -> None:
        """Wait for what is being written."""
        if self._running:
            await asyncio.wait(self._running)

    async def _follow(
        self,
        exchange: Exchange,
        decision: Decision,
        new: Collection[int] | None,
        recorded: Awaitable[object],
    ) -> None:
        await self.stops.stop(exchange, decision, recorded)
        rules = alerting(exchange.policy, decision, new)
        await self.alerts.raise_for(exchange, decision, rules, recorded)

    def _finished(self, done: asyncio.Task[None]) -> None:
        self._running.discard(done)
        if not done.cancelled():
            done.exception()  # whoever still waits gets it; nobody may be left


def _has_any(decision: Decision) -> bool:
    return any(outcome.stop or outcome.alert for outcome in decision.outcomes)
