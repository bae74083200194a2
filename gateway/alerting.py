"""Raises alerts: what a rule found is told to the project, once in an exchange for each rule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from uuid_utils import uuid7

from gateway.audit import consequence_records as records
from gateway.audit.entry import row_apart
from gateway.exchange import Exchange
from gateway.misalignment import OTHER, error_type_of
from gateway.safety_events import ALERT_CREATED, event
from gateway.store import notices as store
from gateway.store.notices import Alert
from gateway.store.session import Database
from gateway.webhooks import Webhooks
from policies.types import Decision, RuleOutcome

_WRITER = "alerts"  # who the entries say they are by


@dataclass(frozen=True, slots=True)
class Alerts:
    """Stores alerts and has endpoints told of them.

    Attributes:
        database: Migrated.
        webhooks: Tells them.
        now: The time of day.
    """

    database: Database
    webhooks: Webhooks
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def raise_for(
        self,
        exchange: Exchange,
        decision: Decision,
        rules: Sequence[str],
        recorded: Awaitable[object],
    ) -> None:
        """Raise one alert about what `rules` found, durably; a rule alerts once in an exchange.

        Args:
            exchange: Whose.
            decision: Its last one.
            rules: Their ids, in policy order.
            recorded: Done once the decision is durable; no alert is without its decision.

        Raises:
            AuditUnavailable: If the decision could not be made durable.
            StoreUnavailable: If the alert could not.
        """
        fresh = [rule for rule in rules if rule not in exchange.alerted]
        if not fresh:
            return
        exchange.alerted.update(fresh)
        found = [each for each in decision.outcomes if each.rule in fresh]
        alert = self._made(exchange, decision, found)
        told = event(ALERT_CREATED, alert.project, {"id": alert.id}, alert.created_at)
        await recorded
        entry = row_apart(records.alert_created(exchange, alert, fresh), _WRITER)
        await store.add_alert(self.database, alert, entry, self.webhooks.deliveries(told))
        self.webhooks.wake()

    def _made(self, exchange: Exchange, decision: Decision, found: Sequence[RuleOutcome]) -> Alert:
        kind = error_type_of(found)
        first = next((each for each in found if error_type_of([each]) == kind), found[0])
        suffix = exchange.id.removeprefix("req_")
        prefix = "chatcmpl-" if exchange.endpoint == "chat" else "resp_"
        return Alert(
            id=f"alert_{uuid7().hex}",
            project=exchange.principal.project,
            created_at=self.now(),
            error_type=kind or OTHER,
            category=first.category,
            rule=first.rule,
            model=exchange.prompt.model,
            request_id=exchange.id,
            response_id=prefix + suffix,
            decision_id=exchange.decision_ids[-1],
            request_paused=not decision.released,
            subject=exchange.circumstances.end_user,
        )
