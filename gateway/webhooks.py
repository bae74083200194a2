"""Tells endpoints of safety notices, durably: an outbox, and who empties it.

An event is in the database before anything is sent, in the transaction of what it tells of.
Every replica looks for what is due; one that dies over a try leaves it to the others when the
lease is over, so an endpoint may get an event twice and knows it by its `webhook-id`. What
cannot be delivered is tried again later and later, and after `MOST_TRIES` given up: that is in
the log, the metrics and on `/readyz`. Nothing of this is ever on a request's way. An endpoint
that a replica does not know may be known to another: what is for it is left for a day.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from standardwebhooks import Webhook
from uuid_utils import uuid7

from gateway.audit import consequence_records as records
from gateway.audit.entry import row_apart
from gateway.egress import Egress, EgressFailed, EgressRefused
from gateway.errors import StoreUnavailable
from gateway.safety_events import Event
from gateway.store import outbox as store
from gateway.store.outbox import Delivery
from gateway.store.session import Database
from gateway.webhook_endpoints import WebhookEndpoint

MOST_TRIES = 18  # over about a day
POLL_S = 1.0
KEPT = timedelta(days=30)  # how long a delivery is listed once it is settled
ORPHANED = timedelta(days=1)  # how long what is due at an unknown endpoint is left to others
LEASE = timedelta(seconds=60)  # longer than a try can take
_TOGETHER = 8  # deliveries that one replica makes at a time
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 6 * 3600.0
_PRUNE_S = 3600.0
_PRUNED_TOGETHER = 1000
_WRITER = "webhooks"  # who the entries say they are by
_ACCEPTED = range(200, 300)

_log = structlog.get_logger("ostiary.webhooks")


def wait_s(tries: int, chance: float) -> float:
    """Return how long to wait after so many failed tries, seconds.

    Args:
        tries: At least 1; each doubles it.
        chance: From 0 to 1: tries that failed together are spread from half of it to all.
    """
    longest = min(_FIRST_WAIT_S * 2.0 ** (tries - 1), _LONGEST_WAIT_S)
    return longest * (0.5 + chance / 2)


@dataclass(slots=True, eq=False)
class Webhooks:
    """Writes deliveries, and makes them.

    Args:
        database: Migrated.
        endpoints: Who is told of what.
        egress: Makes the requests.
        counted: Is told of each try: the endpoint's name, and how it ended.
        now: The time of day.
        chance: Spreads tries that failed together.
    """

    database: Database
    endpoints: Sequence[WebhookEndpoint]
    egress: Egress
    counted: Callable[[str, str], None] = lambda endpoint, outcome: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def deliveries(self, event: Event) -> list[Delivery]:
        """Return an event's deliveries, to be written with what it tells of."""
        now = self.now()
        return [
            Delivery(
                f"whd_{uuid7().hex}",
                event.id,
                event.type,
                endpoint.name,
                event.project,
                event.body,
                0,
                now,
            )
            for endpoint in self.endpoints
            if endpoint.wants(event.type, event.project)
        ]

    def wake(self) -> None:
        """Say that something was written."""
        self._wake.set()

    def start(self) -> None:
        """Begin to deliver, in the background, if there is anybody to deliver to."""
        if self.endpoints:
            self._task = asyncio.create_task(self._run(), name="webhooks")

    async def aclose(self) -> None:
        """Stop; what is being sent is left, and sent again by whoever starts next."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @property
    def stopped(self) -> bool:
        """Whether deliveries are not made any more, by a mistake of ours."""
        return self._task is not None and self._task.done()

    async def deliver_due(self) -> int:
        """Try what is due once; return how many were tried.

        Raises:
            StoreUnavailable: If nobody can tell what is, or what became of it.
        """
        now = self.now()
        known = {each.name: each for each in self.endpoints}
        if not await store.any_due(self.database, list(known), now):
            return 0
        claimed = await store.claim(self.database, list(known), now, now + LEASE, _TOGETHER)
        await asyncio.gather(*(self._deliver(each, known[each.endpoint]) for each in claimed))
        return len(claimed)

    async def prune(self) -> None:
        """Forget what was settled long ago; give up what no replica has an endpoint for.

        Raises:
            StoreUnavailable: If that cannot be noted.
        """
        now = self.now()
        await store.prune(self.database, now - KEPT)
        known = [each.name for each in self.endpoints]
        for each in await store.orphans(self.database, known, now - ORPHANED, _PRUNED_TOGETHER):
            await self._give_up(each, "no_such_endpoint")

    async def _run(self) -> None:
        pruned_at = -_PRUNE_S
        while True:
            self._wake.clear()
            try:
                if time.monotonic() - pruned_at >= _PRUNE_S:
                    pruned_at = time.monotonic()
                    await self.prune()
                tried = await self.deliver_due()
            except StoreUnavailable as error:
                _log.warning("webhooks_not_looked_for", error=str(error))
                tried = 0
            if tried < _TOGETHER:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._wake.wait()

    async def _deliver(self, delivery: Delivery, endpoint: WebhookEndpoint) -> None:
        error = await self._send(delivery, endpoint)
        if error is None:
            await store.delivered(self.database, delivery, self.now())
            self.counted(endpoint.name, "delivered")
        elif delivery.tries >= MOST_TRIES:
            await self._give_up(delivery, error)
        else:
            self.counted(endpoint.name, "failed")
            _log.warning(
                "webhook_failed", endpoint=endpoint.name, tries=delivery.tries, error=error
            )
            wait = timedelta(seconds=wait_s(delivery.tries, self.chance()))
            await store.failed(self.database, delivery, self.now() + wait, error)

    async def _send(self, delivery: Delivery, endpoint: WebhookEndpoint) -> str | None:
        """Make one try; return what was wrong with it, as a word, or None."""
        headers = _headers(delivery, endpoint.secret, self.now())
        try:
            status = await self.egress.post(endpoint.url, delivery.body, headers)
        except EgressRefused:
            return "refused"  # it may become public, or be listed, before the tries are over
        except EgressFailed as failed:
            return str(failed)[:64]
        return None if status in _ACCEPTED else f"status_{status}"

    async def _give_up(self, delivery: Delivery, error: str) -> None:
        entry = row_apart(records.webhook_abandoned(delivery, error), _WRITER)
        if not await store.give_up(self.database, delivery, self.now(), error, entry):
            return  # by another replica, at the same time
        self.counted(delivery.endpoint, "abandoned")
        _log.error("webhook_abandoned", endpoint=delivery.endpoint, delivery=delivery.id)


async def retry(database: Database, delivery_id: str, actor: str) -> bool:
    """Have a delivery that was given up tried anew, and record it; False if it was not."""
    entry = row_apart(records.webhook_retried(delivery_id, actor=actor), _WRITER)
    return await store.retry(database, delivery_id, datetime.now(UTC), entry)


def _headers(delivery: Delivery, secret: str, now: datetime) -> Mapping[str, str]:
    """Return what Standard Webhooks asks for; the signature is of this try's time."""
    return {
        "content-type": "application/json",
        "user-agent": "ostiary",
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(
            delivery.event_id, now.astimezone(UTC), delivery.body.decode()
        ),
    }
