"""What is recorded of reviews: one builder per type of entry. Never what a call says."""

from __future__ import annotations

from typing import Any

from gateway.audit.consequence_records import of_exchange
from gateway.audit.entry import Entry
from gateway.exchange import Exchange
from gateway.store.reviews import Review
from gateway.store.times import as_text

_MAX_REASON = 512  # code points


def opened(exchange: Exchange, review: Review) -> Entry:
    """A tool call waits for a person."""
    body = of_exchange(exchange)
    body["review"] = {
        **_named(review),
        "rule": review.rule,
        "approvals": review.approvals,
        "expires_at": as_text(review.expires_at),
    }
    return Entry("review.opened", body, exchange.id, review.project)


def decided(review: Review, *, approve: bool, final: bool, by: str, reason: str) -> Entry:
    """A person decided; not `final` where another one has to approve too."""
    body: dict[str, Any] = {
        "actor": {"key": by},
        "review": {
            **_named(review),
            "approved": approve,
            "final": final,
            "project": review.project,
            "reason": reason[:_MAX_REASON],
        },
        "request": {"id": review.request_id},
    }
    return Entry("review.decided", body, review.request_id, review.project)


def expired(exchange: Exchange, review: Review) -> Entry:
    """Nobody decided in time: the call is not released."""
    body = {**of_exchange(exchange), "review": _named(review)}
    return Entry("review.expired", body, exchange.id, review.project)


def closed(exchange: Exchange, review: Review) -> Entry:
    """Whoever waited has gone."""
    body = {**of_exchange(exchange), "review": _named(review)}
    return Entry("review.closed", body, exchange.id, review.project)


def _named(review: Review) -> dict[str, Any]:
    return {"id": review.id, "decision": review.decision_id}
