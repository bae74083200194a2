"""What the end user is told in place of what was blocked. Pure."""

from __future__ import annotations

from gateway.misalignment import STOPPED_MESSAGE
from policies.effects import STOPPED
from policies.types import Decision

DEFAULT_REFUSAL = "I can't help with that."


def refusal_text(decision: Decision) -> str:
    """Return what the end user is told."""
    default = STOPPED_MESSAGE if decision.code == STOPPED else DEFAULT_REFUSAL
    return decision.user_message or default
