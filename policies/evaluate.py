"""Turn an assessment into one decision.

Pure and total: no I/O, no clock, no configuration, and an answer for every input. The
strictest matching rule wins, whatever the order of the rules. A rule that somebody could
not answer takes its own `on_unavailable`, unless an answer that did come calls for more.
"""

from __future__ import annotations

from collections.abc import Mapping

from classifiers.types import Assessment, Span, Verdict
from policies.types import (
    Action,
    Band,
    Decision,
    Mode,
    Policy,
    Redaction,
    Rule,
    RuleOutcome,
    Stage,
)

Found = tuple[int, Verdict]  # the passage's index, and a verdict on it
Outcome = tuple[Rule, RuleOutcome]


def evaluate(policy: Policy, stage: Stage, assessment: Assessment) -> Decision:
    """Decide what `policy` says at `stage` about what the classifiers answered.

    Args:
        policy: A loaded policy.
        stage: Where the passages stand; rules of other stages are ignored.
        assessment: Verdicts in any order; a category that no rule mentions is ignored.

    Returns:
        The strictest action among enforced rules, and who called for it in policy order.
    """
    found = _by_category(assessment)
    outcomes: list[Outcome] = []
    for rule in policy.rules_at[stage]:
        if _silent(rule, found, assessment.covered):
            continue
        outcome = _apply(rule, stage, found.get(rule.category, ()), assessment.covered)
        if outcome is not None:
            outcomes.append((rule, outcome))
    enforced = [pair for pair in outcomes if not pair[1].shadow]
    action = max((outcome.action for _, outcome in enforced), default=Action.ALLOW)
    determining = [
        rule for rule, outcome in enforced if outcome.action is action and action > Action.ALLOW
    ]
    first = determining[0] if determining else None
    return Decision(
        stage=stage,
        action=action,
        determining_rules=tuple(rule.id for rule in determining),
        outcomes=tuple(outcome for _, outcome in outcomes),
        policy_id=policy.id,
        policy_version=policy.version,
        policy_digest=policy.digest,
        receipts=assessment.receipts,
        redactions=_redactions(enforced, found, assessment),
        code=first.code if first else "content_filter",
        user_message=first.user_message if first else "",
        developer_message=first.developer_message if first else "",
        scores=_scores(found, assessment.covered),
    )


def _by_category(assessment: Assessment) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {}
    for index, verdicts in enumerate(assessment.verdicts):
        for verdict in verdicts:
            found.setdefault(verdict.category, []).append((index, verdict))
    return found


def _silent(
    rule: Rule, found: Mapping[str, list[Found]], covered: Mapping[str, frozenset[str]]
) -> bool:
    """Return whether everyone was asked and nobody had anything to say: the usual case."""
    return (
        rule.category not in found
        and bool(covered.get(rule.category))
        and not rule.classifiers
        and all(band.gte > 0 for band in rule.bands)
    )


def _apply(
    rule: Rule, stage: Stage, found: list[Found] | tuple[()], covered: Mapping[str, frozenset[str]]
) -> RuleOutcome | None:
    """Return what the rule calls for, or None if it was answered and did not match."""
    counting = [verdict for _, verdict in found if _counts(rule, verdict)]
    answered = [verdict.score for verdict in counting if verdict.score is not None]
    missing = len(answered) < len(counting) or not _asked(rule, covered)
    score = max(answered, default=None if missing else 0.0)
    band = _band(rule, score or 0.0)  # whatever a missing answer would be, it is not below 0
    if band is None and not missing:
        return None
    matched = band.action if band else Action.ALLOW
    # A missing answer is not a low score: an attacker who can crash or time out one
    # classifier must not thereby pass it. Nor may it hide what another one saw.
    fallback = rule.on_unavailable.get(stage, Action.BLOCK) if missing else Action.ALLOW
    blind = band is None or fallback > matched or fallback == matched == Action.REDACT
    return RuleOutcome(
        rule=rule.id,
        category=rule.category,
        score=score,
        action=max(matched, fallback),
        shadow=rule.mode is Mode.SHADOW,
        unavailable=missing and blind,
        strike=band.strike if band else False,
        escalate=band.escalate if band else None,
    )


def _counts(rule: Rule, verdict: Verdict) -> bool:
    return not rule.classifiers or verdict.classifier.partition("@")[0] in rule.classifiers


def _asked(rule: Rule, covered: Mapping[str, frozenset[str]]) -> bool:
    """Return whether every classifier the rule relies on was asked about its category."""
    names = {name.partition("@")[0] for name in covered.get(rule.category, ())}
    return rule.classifiers <= names if rule.classifiers else bool(names)


def _band(rule: Rule, score: float) -> Band | None:
    """Return the strictest band that the score reaches; the higher one among equals."""
    reached = [band for band in rule.bands if score >= band.gte]
    return max(reached, key=lambda band: (band.action, band.gte), default=None)


def _redactions(
    enforced: list[Outcome], found: Mapping[str, list[Found]], assessment: Assessment
) -> tuple[Redaction, ...]:
    redactions: dict[Redaction, None] = {}  # a set that keeps its order
    for rule, outcome in enforced:
        if outcome.action is not Action.REDACT:
            continue
        floor = min((band.gte for band in rule.bands if band.action is Action.REDACT), default=0.0)
        if outcome.unavailable or floor <= 0:
            # Nobody could say what to hide, or everything matches: all of it is hidden.
            for index in range(len(assessment.passages)):
                redactions[Redaction(index, _whole(assessment, index, rule))] = None
            continue
        for index, verdict in found[rule.category]:
            if _counts(rule, verdict) and verdict.score is not None and verdict.score >= floor:
                for span in verdict.spans or (_whole(assessment, index, rule),):
                    redactions[Redaction(index, span)] = None
    return tuple(redactions)


def _whole(assessment: Assessment, index: int, rule: Rule) -> Span:
    return Span(0, len(assessment.passages[index].text), rule.category)


def _scores(
    found: Mapping[str, list[Found]], covered: Mapping[str, frozenset[str]]
) -> dict[str, float | None]:
    scores: dict[str, float | None] = dict.fromkeys(covered, 0.0)
    for category, pairs in found.items():
        answered = [verdict.score for _, verdict in pairs if verdict.score is not None]
        scores[category] = max(answered, default=None)
    return scores
