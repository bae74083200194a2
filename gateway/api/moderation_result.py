"""Moderation results in OpenAI's shape, made from decisions already taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gateway.api.fields import ModerationParam
from policies.types import Action, Band, Decision, Policy, Rule, Stage

MODERATION_MODEL = "ostiary-moderation"

# The 13 categories of the moderation endpoint, as `openai.types.Moderation` names them.
CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
FLAG_THRESHOLD = 0.5  # a calibrated probability: more likely than not


def moderation_result(scores: Mapping[str, float | None]) -> dict[str, Any]:
    """Return one result; a category nobody scored reads 0.0 and is not flagged."""
    known = {name: scores.get(name) or 0.0 for name in CATEGORIES}
    flagged = {name: score >= FLAG_THRESHOLD for name, score in known.items()}
    return {
        "categories": flagged,
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
        "category_scores": known,
        "flagged": any(flagged.values()),
    }


def moderation_of(decisions: Iterable[Decision], *, results_list: bool) -> dict[str, Any]:
    """Return the `moderation` field of a reply: what was scored on either side.

    Args:
        decisions: Every decision of the exchange.
        results_list: Chat Completions wraps each side in `results[]`.
    """
    taken = list(decisions)
    return {
        "input": _side([d for d in taken if d.stage is Stage.INPUT], results_list),
        "output": _side([d for d in taken if d.stage is Stage.OUTPUT], results_list),
    }


def tightened(policy: Policy, moderation: ModerationParam | None) -> Policy:
    """Return `policy` with the caller's own `block` wishes added as rules.

    A caller can only add rules, and adding a rule never makes a decision milder.
    """
    if moderation is None:
        return policy
    stages = {
        stage
        for stage, blocks in (
            (Stage.INPUT, moderation.blocks_input),
            (Stage.OUTPUT, moderation.blocks_output),
        )
        if blocks
    }
    if not stages:
        return policy
    added = tuple(
        Rule(
            id=f"moderation-parameter:{category}",
            category=category,
            stages=frozenset(stages),
            bands=(Band(FLAG_THRESHOLD, Action.BLOCK),),
            on_unavailable=dict.fromkeys(stages, Action.BLOCK),
            developer_message=f"the request asked to block {category}",
        )
        for category in CATEGORIES
    )
    return replace(policy, rules=(*policy.rules, *added))


def _side(decisions: list[Decision], results_list: bool) -> dict[str, Any]:
    if not decisions:
        return {"type": "error", "code": "not_scored", "message": "there was nothing to score"}
    merged: dict[str, float] = {}
    for decision in decisions:
        for category, score in decision.scores.items():
            if category in CATEGORIES and score is None:
                return {
                    "type": "error",
                    "code": "classifier_unavailable",
                    "message": f"no classifier answered for {category}",
                }
            merged[category] = max(merged.get(category, 0.0), score or 0.0)
    result = {
        "type": "moderation_result",
        "model": MODERATION_MODEL,
        **moderation_result(merged),
    }
    if not results_list:
        return result
    return {"type": "moderation_results", "model": MODERATION_MODEL, "results": [result]}
