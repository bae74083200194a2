"""What a refusal says on the wire, whichever API it goes through."""

from __future__ import annotations

from typing import Any

from gateway.misalignment import STOPPED_MESSAGE, misalignment
from gateway.pipeline import Refusal
from policies.effects import STOPPED
from policies.types import Decision

DEFAULT_REFUSAL = "I can't help with that."


def refusal_text(decision: Decision) -> str:
    """Return what the end user is told."""
    default = STOPPED_MESSAGE if decision.code == STOPPED else DEFAULT_REFUSAL
    return decision.user_message or default


def refusal_error(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as OpenAI's error object, without `param`."""
    decision = refusal.decision
    error: dict[str, Any] = {
        "message": refusal_text(decision),
        "type": "invalid_request_error",
        "code": decision.code,
    }
    if decision.code == STOPPED:
        error["misalignment"] = misalignment(refusal.stopped)
    return error
