"""What is recorded of reviews of exchanges that have ended: one builder per type of entry.

A review is decided like everything else, and its entry has the form of `decision.recorded`; it
has a type of its own because nothing was held back by it, and because it was taken on another
reading than the request was. As everywhere nothing of what was said is in it.
"""

from __future__ import annotations

from dataclasses import replace

from classifiers.judges.overseer import Opinion
from gateway.audit.consequence_records import of_exchange
from gateway.audit.entry import Entry, fraction
from gateway.audit.records import decided as decided_in_time
from gateway.exchange import Exchange
from policies.types import Decision


def decided(exchange: Exchange, decision: Decision, told: Opinion, why: str) -> tuple[str, Entry]:
    """An exchange that had ended was reviewed.

    Args:
        exchange: Which.
        decision: What the rules made of it.
        told: What the judge said; its words are left out.
        why: `flagged` or `sampled`.

    Returns:
        The decision's id, and the entry.
    """
    decision_id, entry = decided_in_time(exchange, decision, exchange.circumstances.end_user)
    review = {
        "why": why,
        "score": fraction(told.score),
        "categories": list(told.categories),
        "part": told.part,
        "unread_chars": told.unread,
    }
    return decision_id, replace(
        entry, type="oversight.decided", body={**entry.body, "review": review}
    )


def skipped(exchange: Exchange, why: str, reason: str) -> Entry:
    """An exchange that was to be reviewed was not."""
    body = of_exchange(exchange)
    body["review"] = {"why": why, "reason": reason}
    return Entry("oversight.skipped", body, exchange.id, exchange.principal.project)
