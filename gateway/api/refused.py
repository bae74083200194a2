"""What a refusal says on the wire, whichever API it goes through."""

from __future__ import annotations

from typing import Any

from gateway.misalignment import misalignment
from gateway.pipeline import Refusal
from gateway.refusing import refusal_text
from policies.effects import STOPPED


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
