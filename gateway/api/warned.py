"""What a caller is told of decisions that let something out with a warning."""

from __future__ import annotations

from typing import Any

from gateway.exchange import Exchange
from policies.types import Action


def add_warnings(body: dict[str, Any], exchange: Exchange) -> None:
    """Put the warnings of an exchange under `ostiary` in the body of its reply.

    OpenAI's format has no place for them; a client that does not know the key ignores it.
    Each names the decision, where it was taken and the rules, and what they say to the end
    user. A text that was warned of is nowhere repeated.
    """
    warnings = [
        {
            "decision_id": decision_id,
            "stage": decision.stage.value,
            "rules": list(decision.determining_rules),
            "message": decision.user_message or None,
        }
        for decision_id, decision in zip(exchange.decision_ids, exchange.decisions, strict=False)
        if decision.action is Action.WARN
    ]
    if warnings:
        body["ostiary"] = {**body.get("ostiary", {}), "warnings": warnings}
