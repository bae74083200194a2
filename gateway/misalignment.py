"""What the outside is told of a conversation that was stopped, or of an alert. Pure.

OpenAI's `error.misalignment` object and the reason of a `safety.alert`. Every sentence here is
fixed: it follows from the kind of finding alone, never from what was thought or said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from classifiers.categories import misalignment_type
from gateway.types import Stopped
from policies.types import RuleOutcome

OTHER = "other"
_EXPLANATIONS = {
    "potentially_unintended_data_transfer": (
        "The model may have been about to send data to where it was not meant to go."
    ),
    "potentially_unintended_data_access": (
        "The model may have been about to reach data or rights that it was not given."
    ),
    "potentially_unintended_destructive_activity": (
        "The model may have been about to delete or damage something without being asked to."
    ),
    OTHER: "What was asked for, or was about to be done, may go against what is allowed here.",
}
STOPPED_MESSAGE = "this conversation was stopped by policy and cannot be continued"


def explanation(error_type: str) -> str:
    """Return what may be said of a finding of this kind."""
    return _EXPLANATIONS.get(error_type, _EXPLANATIONS[OTHER])


def error_type_of(outcomes: Iterable[RuleOutcome]) -> str:
    """Return the wire's name for what these rules found: the first that says more than `other`."""
    named = [misalignment_type(outcome.category) for outcome in outcomes]
    return next((name for name in named if name != OTHER), OTHER)


def misalignment(stopped: Stopped | None) -> dict[str, Any]:
    """Return the `misalignment` object of an error; None where nothing was registered."""
    kind = stopped.error_type if stopped else OTHER
    review = stopped.id if stopped else None
    ask = f" or ask the operator to lift {review}" if review else ""
    return {
        "error_type": kind,
        "detailed_explanation": explanation(kind),
        "review_target": review,
        "steer": {
            "message": "Do not continue this conversation. Begin a new one without the step "
            f"that was stopped{ask}."
        },
    }
