"""Moderation results in OpenAI's shape, made from decisions already taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from classifiers.types import UNSUPPORTED_LANGUAGE
from gateway.api.fields import ModerationParam
from policies.cascade import FAILED, NOT_ASKED
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


NOT_SCORED = "classifier_unavailable"
UNREADABLE = "unsupported_language"


@dataclass(frozen=True, slots=True)
class Gap:
    """A category that nobody can say a score of.

    Attributes:
        category: Its name.
        reason: Why: a reason code of a verdict, or `not_asked`.
    """

    category: str
    reason: str

    @property
    def code(self) -> str:
        """The error code that the caller sees."""
        return UNREADABLE if self.reason == UNSUPPORTED_LANGUAGE else NOT_SCORED

    @property
    def message(self) -> str:
        """What the caller is told."""
        if self.code == UNREADABLE:
            return f"no classifier reads this language, so `{self.category}` has no score"
        return f"no classifier answered for `{self.category}`"


def gap(decision: Decision) -> Gap | None:
    """Return the first moderation category without a score, or None if all have one.

    A score with an answer missing is a lower bound: enough to flag, too little not to.
    """
    for name in CATEGORIES:
        score = decision.scores.get(name)
        reason = decision.unscored.get(name, FAILED if score is None else None)
        if name not in decision.scores:
            return Gap(name, NOT_ASKED)
        if reason is not None and (score is None or score < FLAG_THRESHOLD):
            return Gap(name, reason)
    return None


def moderation_result(scores: Mapping[str, float | None]) -> dict[str, Any]:
    """Return one result.

    A score is a plain number in OpenAI's format and cannot say that there is none, and a
    category that nobody scored must not read 0.0; see `gap`.

    Raises:
        KeyError: If a category has no score.
    """
    known = {name: score for name, score in scores.items() if score is not None}
    known = {name: known[name] for name in CATEGORIES}
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

    A caller can only add rules, and adding a rule never makes a decision milder. What
    nobody scored is blocked too; a language that nobody reads takes what the policy says.
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
            on_unsupported_language=policy.on_unsupported_language,
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
        if missing := gap(decision):
            return {"type": "error", "code": missing.code, "message": missing.message}
        for category, score in decision.scores.items():
            merged[category] = max(merged.get(category, 0.0), score or 0.0)
    result = {
        "type": "moderation_result",
        "model": MODERATION_MODEL,
        **moderation_result(merged),
    }
    if not results_list:
        return result
    return {"type": "moderation_results", "model": MODERATION_MODEL, "results": [result]}
