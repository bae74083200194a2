"""Which notices a sanction is told by: a case, and what endpoints hear of it. Pure.

A warning and a throttle are warnings, a deactivation is one; a suspension and a deactivation
block the identifier. Each change is told once, when the strike is made that causes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from uuid_utils import uuid7

from gateway.exchange import Exchange
from gateway.safety_events import (
    DEACTIVATION_ISSUED,
    IDENTIFIER_BLOCKED,
    WARNING_ISSUED,
    Event,
    event,
)
from gateway.store.notices import Case
from policies.ladder import Sanction, Standing

WARNING, DEACTIVATION = "warning", "deactivation"
_NOTICES = {
    Sanction.WARN: (WARNING, WARNING_ISSUED),
    Sanction.THROTTLE: (WARNING, WARNING_ISSUED),
    Sanction.DEACTIVATE: (DEACTIVATION, DEACTIVATION_ISSUED),
}


@dataclass(frozen=True, slots=True)
class Notices:
    """What a change of a sanction is told by."""

    case: Case | None
    events: Sequence[Event]


def notices_of(
    exchange: Exchange, category: str, before: Standing, after: Standing, now: datetime
) -> Notices:
    """Return what tells of a change of where the end user of `exchange` stands.

    Args:
        exchange: In which the strikes were made.
        category: What the last of them was for.
        before: Where they stood.
        after: Where they stand.
        now: The time of day.
    """
    if after.sanction <= before.sanction:
        return Notices(None, ())
    project, who = exchange.principal.project, exchange.safety_identifier or ""
    events = []
    case = None
    if after.sanction >= Sanction.SUSPEND > before.sanction:
        data = {
            "safety_category": category,
            "safety_identifier": who,
            "model": exchange.prompt.model,
            "project_id": project,
            "request_id": exchange.id,
        }
        events.append(event(IDENTIFIER_BLOCKED, project, data, now))
    if after.sanction in _NOTICES:
        notice, kind = _NOTICES[after.sanction]
        count = f"{after.strikes} strike{'' if after.strikes == 1 else 's'}"
        subject = exchange.circumstances.end_user or ""
        reason = f"{after.sanction.name.lower()} after {count}"
        case = Case(f"case_{uuid7().hex}", project, now, notice, subject, who, reason)
        events.append(event(kind, project, {"id": case.id}, now))
    return Notices(case, tuple(events))
