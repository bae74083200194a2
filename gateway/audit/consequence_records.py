"""What is recorded of what follows from a decision beyond it: one builder per type of entry.

As everywhere in the log an end user appears as a pseudonym, and nothing of what was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.audit.entry import Entry
from gateway.exchange import Exchange
from gateway.store.notices import Alert
from gateway.store.outbox import Delivery
from gateway.store.stops import Stop
from gateway.store.times import as_text

_MAX_REASON = 512  # code points


def stopped(exchange: Exchange, stop: Stop, marks: int) -> Entry:
    """A conversation was stopped: no request that goes on with it is served."""
    body = of_exchange(exchange)
    body["stop"] = {
        "id": stop.id,
        "decision": stop.decision_id,
        "rule": stop.rule,
        "error_type": stop.error_type,
        "expires_at": as_text(stop.expires_at),
        "marks": marks,
    }
    return Entry("conversation.stopped", body, exchange.id, stop.project)


def alert_created(exchange: Exchange, alert: Alert, rules: Sequence[str]) -> Entry:
    """An alert was raised about what rules found."""
    body = of_exchange(exchange)
    body["alert"] = {
        "id": alert.id,
        "decision": alert.decision_id,
        "error_type": alert.error_type,
        "request_paused": alert.request_paused,
    }
    body["rules"] = list(rules)
    return Entry("alert.created", body, exchange.id, alert.project)


def webhook_abandoned(delivery: Delivery, error: str) -> Entry:
    """An endpoint was not told of an event, and is not tried any more."""
    body: dict[str, Any] = {"webhook": {**_webhook(delivery), "error": error}}
    return Entry("webhook.abandoned", body, project=delivery.project)


def webhook_retried(delivery_id: str, *, actor: str) -> Entry:
    """A person has an endpoint tried again that was given up."""
    body: dict[str, Any] = {"actor": {"key": actor}, "webhook": {"id": delivery_id}}
    return Entry("webhook.retried", body)


def _webhook(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event": delivery.event_id,
        "type": delivery.event_type,
        "endpoint": delivery.endpoint,
        "project": delivery.project,
        "tries": delivery.tries,
    }


def lifted(stop: Stop, *, reason: str, actor: str) -> Entry:
    """A person lets a conversation go on. `actor` is a key id, or who used the command line."""
    body: dict[str, Any] = {
        "actor": {"key": actor},
        "stop": {"id": stop.id, "project": stop.project, "reason": reason[:_MAX_REASON]},
        "decisions": [stop.decision_id],
    }
    return Entry("conversation.lifted", body, project=stop.project)


def of_exchange(exchange: Exchange) -> dict[str, Any]:
    """Return who asked, in what: what entries about an exchange begin with."""
    return {
        "request": {"id": exchange.id, "endpoint": exchange.endpoint, "stream": exchange.stream},
        "actor": {
            "project": exchange.principal.project,
            "key": exchange.principal.key_id,
            "safety_identifier": exchange.circumstances.end_user,
        },
    }
