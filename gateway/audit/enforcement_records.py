"""What is recorded of strikes and sanctions: one builder per type of entry.

As everywhere in the log an end user appears as a pseudonym, and nothing of what they said.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway.audit.entry import Entry
from gateway.exchange import Exchange
from gateway.store.strikes import Strike
from gateway.store.times import as_text
from policies.ladder import Standing

_MAX_REASON = 512  # code points


def struck(exchange: Exchange, strike: Strike) -> Entry:
    """A rule counted against an end user."""
    body = _of_exchange(exchange, strike.subject)
    body["strike"] = {
        "decision": strike.decision_id,
        "rule": strike.rule,
        "policy": strike.policy,
        "at": as_text(strike.struck_at),
    }
    return Entry("enforcement.struck", body, exchange.id, strike.project)


def sanctioned(exchange: Exchange, subject: str, before: Standing, after: Standing) -> Entry:
    """The strikes of this exchange changed where its end user stands."""
    body = _of_exchange(exchange, subject)
    body["sanction"] = {
        "from": before.sanction.name.lower(),
        "to": after.sanction.name.lower(),
        "since": _moment(after.since),
        "until": _moment(after.until),
        "strikes": after.strikes,
    }
    return Entry("enforcement.sanctioned", body, exchange.id, exchange.principal.project)


def reversed_(struck: Sequence[Strike], *, reason: str, actor: str) -> Entry:
    """A person had these strikes of one end user, at least one, count no more.

    `actor` is who did it: a key id, or `cli`.
    """
    first = struck[0]
    body: dict[str, Any] = {
        "actor": {"key": actor},
        "end_user": {"project": first.project, "safety_identifier": first.subject},
        "reversal": {
            "strikes": len(struck),
            "reason": reason[:_MAX_REASON],
            "at": _moment(first.reversed_at),
        },
        "decisions": list(dict.fromkeys(strike.decision_id for strike in struck)),
    }
    return Entry("enforcement.reversed", body, project=first.project)


def _of_exchange(exchange: Exchange, subject: str) -> dict[str, Any]:
    return {
        "request": {"id": exchange.id, "endpoint": exchange.endpoint, "stream": exchange.stream},
        "actor": {
            "project": exchange.principal.project,
            "key": exchange.principal.key_id,
            "safety_identifier": subject,
        },
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else as_text(moment)
