"""Turn an assessment into one decision.

Pure and total: no I/O, no clock, no configuration, and an answer for every input. The
strictest matching rule wins, whatever the order of the rules. A rule that somebody could
not answer takes its own `on_unavailable` (`on_unsupported_language`, where that is the only
reason), unless an answer that did come calls for more. Which answer counts is
`policies.cascade`'s business.

A rule's own condition is asked only where the rule would do something, and decides whether
it does. If it cannot be told, that is a missing answer too. One that looks at the call that
is being made is about nothing else: elsewhere its rule is not there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from classifiers.types import UNSUPPORTED_LANGUAGE, Assessment, Span, Verdict
from policies.cascade import (
    FAILED,
    NOT_ASKED,
    Reading,
    asked_everywhere,
    base,
    by_category,
    counts,
    read,
    read_each,
)
from policies.circumstances import ANYBODY, Circumstances
from policies.conditions import Condition, facts_of
from policies.effects import CONDITION, STOPPED, effective
from policies.trail import NOTHING_YET, Trail, facts_of_trail
from policies.types import (
    Action,
    Band,
    Decision,
    Mode,
    Policy,
    Redaction,
    Redactor,
    Rule,
    RuleOutcome,
    Stage,
)

Found = Mapping[str, list[tuple[int, Verdict]]]  # by category: passage and verdict
Outcome = tuple[Rule, RuleOutcome]


def evaluate(
    policy: Policy,
    stage: Stage,
    assessment: Assessment,
    given: Circumstances = ANYBODY,
    trail: Trail = NOTHING_YET,
) -> Decision:
    """Decide what `policy` says at `stage` about what the classifiers answered.

    Args:
        policy: A policy as `policies.apply` leaves it; scopes and exceptions that are
            still in it are not looked at, and a canary is enforced.
        stage: Where the passages stand; rules of other stages are ignored.
        assessment: Verdicts in any order; a category that no rule mentions is ignored.
        given: What conditions may look at.
        trail: What happened so far, for conditions too.

    Returns:
        The strictest action among enforced rules, and who called for it in policy order.
    """
    found = by_category(assessment)
    scores, unscored = _scores(found, assessment)
    asking = _Asking(given, trail, stage, found, assessment)
    outcomes = list(_outcomes(policy, stage, asking))
    enforced = [pair for pair in outcomes if not pair[1].shadow]
    action = max((outcome.action for _, outcome in enforced), default=Action.ALLOW)
    called = [pair for pair in enforced if pair[1].action is action and action > Action.ALLOW]
    determining = [rule for rule, _ in called]
    # Who stops the conversation has the word before who stops this much of it.
    stopping = [rule for rule, outcome in called if outcome.stop and effective(outcome)]
    first = next(iter((*stopping, *determining)), None)
    return Decision(
        stage=stage,
        action=action,
        determining_rules=tuple(rule.id for rule in determining),
        outcomes=tuple(outcome for _, outcome in outcomes),
        policy_id=policy.id,
        policy_version=policy.version,
        policy_digest=policy.digest,
        receipts=assessment.receipts,
        redactions=_redactions(policy, enforced, found, assessment),
        code=STOPPED if stopping else first.code if first else "content_filter",
        user_message=first.user_message if first else "",
        developer_message=first.developer_message if first else "",
        scores=scores,
        unscored=unscored,
        verdicts=assessment.verdicts,
        covered=assessment.covered,
        on_request=assessment.on_request,
        asked=assessment.asked,
        disclaimers=_disclaimers(policy, enforced),
    )


def _outcomes(policy: Policy, stage: Stage, asking: _Asking) -> Iterator[Outcome]:
    """Yield what each rule of the stage calls for, if it calls for anything."""
    found, assessment = asking.found, asking.assessment
    highest = {category: _highest(pairs) for category, pairs in found.items()}
    readings: dict[object, Reading] = {}  # rules that listen to the same answers read them once
    for rule in policy.rules_at[stage]:
        # The usual case: everyone was asked, and nobody said enough for this rule.
        if highest.get(rule.category, 0.0) < rule.least and asked_everywhere(rule, assessment):
            continue
        if rule.when is not None and rule.when.of_call and asking.trail.call is None:
            continue
        heard = (rule.category, rule.classifiers, rule.rungs, rule.factual)
        reading = readings.get(heard)
        if reading is None:
            reading = readings[heard] = read(rule, found, assessment)
        outcome = _apply(rule, stage, reading)
        if outcome is not None and rule.when is not None:
            outcome = _on_condition(rule, outcome, stage, asking.of(rule.when, outcome))
        if outcome is not None:
            yield rule, outcome


def _highest(pairs: list[tuple[int, Verdict]]) -> float:
    """Return the highest score that anybody gave; whatever a missing one is, it may be higher."""
    highest = 0.0
    for _, verdict in pairs:
        if verdict.score is None:
            return math.inf
        if verdict.score > highest:
            highest = verdict.score
    return highest


def _apply(rule: Rule, stage: Stage, reading: Reading) -> RuleOutcome | None:
    """Return what the rule calls for, or None if it was answered and did not match."""
    band = _band(rule, reading.score or 0.0)  # whatever a missing answer is, it is not below 0
    if band is None and not reading.missing and reading.suspicion is None:
        return None
    matched = band.action if band else Action.ALLOW
    # A missing answer is not a low score: an attacker who can crash or time out one
    # classifier must not thereby pass it. Nor may it hide what another one saw.
    fallback = Action.ALLOW
    for reason in reading.missing:
        fallback = max(fallback, _fallback(rule, stage, reason))
    blind = band is None or fallback > matched or fallback == matched == Action.REDACT
    return RuleOutcome(
        rule=rule.id,
        category=rule.category,
        score=reading.score,
        action=max(matched, fallback),
        shadow=rule.mode is Mode.SHADOW,
        unavailable=bool(reading.missing) and blind,
        strike=band.strike if band else False,
        escalate=band.escalate if band else None,
        classifier=reading.classifier,
        suspicion=reading.suspicion,
        missing=tuple(sorted(reading.missing)),
        exception=rule.exception,
        disclaimer=band.disclaimer if band else None,
        stop=band.stop if band else False,
        alert=band.alert if band else False,
    )


class _Asking:
    """Asks the conditions of the rules at one stage; each once, if it is the same for all."""

    def __init__(
        self,
        given: Circumstances,
        trail: Trail,
        stage: Stage,
        found: Found,
        assessment: Assessment,
    ) -> None:
        self.trail, self.found, self.assessment = trail, found, assessment
        self._given, self._stage = given, stage
        self._facts: dict[str, object] = {}
        self._answers: dict[str, bool | None] = {}

    def of(self, when: Condition, outcome: RuleOutcome) -> bool | None:
        """Return whether a condition holds for a rule, None if that cannot be told."""
        if not self._facts:
            self._facts = {**facts_of(self._given), "stage": self._stage.value}
            self._facts["scores"] = _read_by_all(self.found, self.assessment)
        if when.of_trail and "trajectory" not in self._facts:
            self._facts.update(facts_of_trail(self.trail))
        if "score" in when.uses:  # its own, so another one for each rule
            own = {} if outcome.missing else {"score": outcome.score}
            return when.holds({**self._facts, **own})
        if when.text not in self._answers:
            self._answers[when.text] = when.holds(self._facts)
        return self._answers[when.text]


def _read_by_all(found: Found, assessment: Assessment) -> dict[str, float]:
    """Return the highest score of each category, by those who are asked about everything.

    Judges are left out: whether one is asked is another rule's business, and adding a rule
    must not change what a condition sees. So is a category with an answer missing: a lower
    bound is no score, or failing one of two classifiers would pass a condition.
    """
    known: dict[str, float] = {}
    for category in assessment.covered:
        scores = [
            verdict.score
            for _, verdict in found.get(category, ())
            if verdict.classifier not in assessment.asked
        ]
        answered = [score for score in scores if score is not None]
        if len(answered) == len(scores):
            known[category] = max(answered, default=0.0)
    return known


def _on_condition(
    rule: Rule, outcome: RuleOutcome, stage: Stage, holds: bool | None
) -> RuleOutcome | None:
    """Return what is left of an outcome once the rule's condition was asked."""
    if holds is not None:
        return outcome if holds else None
    if not outcome.missing and _band(rule, outcome.score or 0.0) is None:
        return outcome  # acquitted: it calls for nothing, whatever the condition is
    fallback = rule.on_unavailable.get(stage, Action.BLOCK)
    return replace(
        outcome,
        action=max(outcome.action, fallback),
        unavailable=outcome.unavailable or fallback > outcome.action,
        missing=(*outcome.missing, CONDITION),
    )


def _fallback(rule: Rule, stage: Stage, reason: str) -> Action:
    unavailable = rule.on_unavailable.get(stage, Action.BLOCK)
    if reason == UNSUPPORTED_LANGUAGE:
        return rule.on_unsupported_language.get(stage, unavailable)
    return unavailable


def _band(rule: Rule, score: float) -> Band | None:
    """Return the strictest band that the score reaches; the higher one among equals."""
    best: Band | None = None
    for band in rule.bands:  # the highest first
        if score >= band.gte and (best is None or band.action > best.action):
            best = band
    return best


def _disclaimers(policy: Policy, enforced: list[Outcome]) -> tuple[str, ...]:
    """Return the texts that enforced rules put behind the reply, each once."""
    if not policy.disclaimers:
        return ()
    named = dict.fromkeys(outcome.disclaimer for _, outcome in enforced if outcome.disclaimer)
    texts = (policy.disclaimers.get(name, {}).get("", "") for name in named)
    return tuple(dict.fromkeys(text for text in texts if text))


def _redactions(
    policy: Policy, enforced: list[Outcome], found: Found, assessment: Assessment
) -> tuple[Redaction, ...]:
    redactions: dict[Redaction, None] = {}  # a set that keeps its order
    for rule, outcome in enforced:
        if outcome.action is Action.REDACT:
            for index, span, score in _hidden(rule, outcome, found, assessment):
                redactor = _redactor(policy, rule, score)
                # The category stands for a passage that is hidden as a whole.
                if redactor is None or span.kind in {*redactor.types, rule.category}:
                    redactions[_redaction(index, span, redactor)] = None
    return tuple(redactions)


def _hidden(
    rule: Rule, outcome: RuleOutcome, found: Found, assessment: Assessment
) -> Iterator[tuple[int, Span, float]]:
    """Yield what a rule that redacts hides, each with its passage's index and score."""
    floor = min((band.gte for band in rule.bands if band.action is Action.REDACT), default=0.0)
    if outcome.unavailable or floor <= 0:
        # Nobody could say what to hide, or everything matches: all of it is hidden.
        own = {} if outcome.unavailable else dict(read_each(rule, found, assessment))
        for index in range(len(assessment.passages)):
            score = own[index].score if index in own else 0.0
            yield index, _whole(assessment, index, rule), score or 0.0
        return
    for index, reading in read_each(rule, found, assessment):
        if reading.score is not None and reading.score >= floor:
            for span in _spans(rule, index, floor, found, assessment):
                yield index, span, reading.score


def _redactor(policy: Policy, rule: Rule, score: float) -> Redactor | None:
    band = _band(rule, score)
    return policy.redactors.get(band.redactor) if band and band.redactor else None


def _redaction(index: int, span: Span, redactor: Redactor | None) -> Redaction:
    return Redaction(index, span, redactor.replacement) if redactor else Redaction(index, span)


def _spans(
    rule: Rule, index: int, floor: float, found: Found, assessment: Assessment
) -> list[Span]:
    """Return where a passage that is to be redacted has it: a judge that agrees need not say."""
    whole = _whole(assessment, index, rule)
    judges = {rung.classifier for rung in rule.rungs}
    spans: list[Span] = []
    for place, verdict in found.get(rule.category, ()):
        if place != index or verdict.score is None or verdict.score < floor:
            continue
        if counts(rule, verdict, assessment):
            spans += verdict.spans or (whole,)
        elif base(verdict.classifier) in judges:
            spans += verdict.spans
    return spans or [whole]


def _whole(assessment: Assessment, index: int, rule: Rule) -> Span:
    return Span(0, len(assessment.passages[index].text), rule.category)


def _scores(found: Found, assessment: Assessment) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return the highest score per category, and the categories with an answer missing."""
    scores: dict[str, float | None] = dict.fromkeys(assessment.covered, 0.0)
    unscored: dict[str, str] = {}
    for category, pairs in found.items():
        heard = _after_judges(category, pairs, assessment) if assessment.asked else pairs
        answered = [verdict.score for _, verdict in heard if verdict.score is not None]
        missing = {verdict.error or FAILED for _, verdict in heard if verdict.score is None}
        if category not in assessment.covered:
            missing.add(NOT_ASKED)  # by anyone who reads everything
        scores[category] = max(answered, default=None if missing else 0.0)
        if missing:  # a fault of ours is told before one that lies in the text
            unscored[category] = min(missing, key=lambda why: (why == UNSUPPORTED_LANGUAGE, why))
    return scores, unscored


def _after_judges(
    category: str, pairs: list[tuple[int, Verdict]], assessment: Assessment
) -> list[tuple[int, Verdict]]:
    """Leave out what a judge's answer stands for, and that a judge gave none."""
    silent = {(index, verdict.classifier) for index, verdict in pairs if verdict.score is None}
    settled = {
        index
        for judge, places in assessment.asked.items()
        for index, asked_category in places
        if asked_category == category and (index, judge) not in silent
    }
    return [
        (index, verdict)
        for index, verdict in pairs
        if (
            verdict.score is not None
            if verdict.classifier in assessment.asked
            else index not in settled
        )
    ]
