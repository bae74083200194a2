"""Says why something was decided: what each rule saw, and what came of it. Pure.

Every rule of the stage is told of, those that are not for this request too. A decision that
was recorded is told from its record, as far as that goes: it holds no circumstances that were
not written down, and of rules that called for nothing only that they did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from classifiers.types import UNSUPPORTED_LANGUAGE, Assessment, Receipt
from policies.apply import apply
from policies.cascade import by_category, read
from policies.circumstances import EVERYBODY, Circumstances
from policies.effects import CONDITION, effects_of
from policies.evaluate import evaluate
from policies.trail import NOTHING_YET, Trail
from policies.types import (
    Action,
    Band,
    Decision,
    Mode,
    Policy,
    Rule,
    RuleOutcome,
    Stage,
)


class Role(StrEnum):
    """What came of a rule."""

    DETERMINED = "determined the decision"
    OUTDONE = "a stricter rule won"
    SHADOW = "shadow: recorded, not enforced"
    CALLED_FOR_NOTHING = "called for nothing"
    NO_BAND = "reached no band"
    CONDITION = "its condition does not hold"
    OUT_OF_SCOPE = "not for this request"


@dataclass(frozen=True, slots=True)
class RuleAccount:
    """What one rule of the stage saw, and what came of it.

    Attributes:
        rule: Its id.
        category: Its category.
        bands: Its bands as they are written, highest first; empty where nobody knows.
        role: What came of it.
        score: The score that counted, or None if there was no answer or nobody knows.
        outcome: What it called for, or would have without its condition; None for nothing.
        remarks: What else there is to know, each a few words.
    """

    rule: str
    category: str
    bands: tuple[Band, ...]
    role: Role
    score: float | None
    outcome: RuleOutcome | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """Why something was decided.

    Attributes:
        decision: What was decided.
        rules: Those that called for something first, then the others, each in policy order.
        given: Who asked, through what and for whom, or None if nobody knows.
    """

    decision: Decision
    rules: tuple[RuleAccount, ...]
    given: Circumstances | None = None


def explain(
    policy: Policy,
    stage: Stage,
    assessment: Assessment,
    given: Circumstances,
    at: datetime,
    trail: Trail = NOTHING_YET,
) -> Account:
    """Decide, and return why.

    Args:
        policy: As it was loaded, before `policies.apply`.
        stage: Where.
        assessment: What classifiers answered.
        given: Who asks, through what and for whom.
        at: When; with time zone.
        trail: What happened before.
    """
    applied = apply(policy, given, at)
    decision = evaluate(applied, stage, assessment, given, trail)
    narrowed = {rule.id: rule for rule in applied.rules_at[stage]}
    outcomes = {outcome.rule: outcome for outcome in decision.outcomes}
    found = by_category(assessment)
    told = []
    for rule in policy.rules_at[stage]:
        own, outcome = narrowed.get(rule.id), outcomes.get(rule.id)
        role = _role(outcome, decision)
        if own is None:
            role = Role.OUT_OF_SCOPE
        elif outcome is None and own.when is not None:
            freed = replace(applied, rules=(replace(own, when=None),))
            without = evaluate(freed, stage, assessment, given, trail).outcomes
            outcome = without[0] if without else None
            role = Role.CONDITION if without else role
        score = outcome.score if outcome else read(rule, found, assessment).score
        remarks = (*_standing(rule, own, policy, given), *_remarks(outcome))
        told.append(RuleAccount(rule.id, rule.category, rule.bands, role, score, outcome, remarks))
    return Account(decision, _in_order(told), given)


def explain_recorded(
    decision: Decision, policy: Policy | None, given: Circumstances | None = None
) -> Account:
    """Return why a recorded decision was taken, as far as it is known.

    Args:
        decision: As it was recorded.
        policy: The policy that took it, or None; it adds bands, and the rules that saw nothing.
        given: Who asked, if that was recorded.

    Raises:
        ValueError: If `policy` is another policy.
    """
    if policy is not None and policy.digest != decision.policy_digest:
        raise ValueError(
            f"`{policy.id}` {policy.version} did not take this decision, but "
            f"`{decision.policy_id}` {decision.policy_version} "
            f"(sha256 {decision.policy_digest[:12]})"
        )
    rules = {rule.id: rule for rule in policy.rules_at[decision.stage]} if policy else {}
    told = [_recorded(outcome, rules, decision) for outcome in decision.outcomes]
    spoke = {each.rule for each in told}
    for rule in rules.values():
        if rule.id not in spoke:
            score = decision.scores.get(rule.category, 0.0)
            told.append(RuleAccount(rule.id, rule.category, rule.bands, Role.NO_BAND, score))
    return Account(decision, _in_order(told), given)


def _recorded(outcome: RuleOutcome, rules: Mapping[str, Rule], decision: Decision) -> RuleAccount:
    rule = rules.get(outcome.rule)
    role, bands = _role(outcome, decision), rule.bands if rule else ()
    remarks = (*_excepted(outcome), *_remarks(outcome))
    return RuleAccount(outcome.rule, outcome.category, bands, role, outcome.score, outcome, remarks)


def _in_order(told: Sequence[RuleAccount]) -> tuple[RuleAccount, ...]:
    return tuple(sorted(told, key=lambda each: each.role in _SILENT))


_SILENT = {Role.NO_BAND, Role.CONDITION, Role.OUT_OF_SCOPE}


def _role(outcome: RuleOutcome | None, decision: Decision) -> Role:
    if outcome is None:
        return Role.NO_BAND
    if outcome.shadow:
        return Role.SHADOW
    if outcome.rule in decision.determining_rules:
        return Role.DETERMINED
    return Role.CALLED_FOR_NOTHING if outcome.action is Action.ALLOW else Role.OUTDONE


def _standing(rule: Rule, own: Rule | None, policy: Policy, given: Circumstances) -> Iterator[str]:
    """Yield what scope, canary, condition and exceptions make of a rule."""
    if own is None:
        for name, value in _FIELDS.items():
            names = getattr(rule.scope, name)
            if names is not None and not replace(EVERYBODY, **{name: names}).covers(given):
                yield f"for {name.replace('_', ' ')} {', '.join(names)}, not {value(given)}"
        return
    if rule.mode is Mode.CANARY:
        chosen = "this one too" if own.mode is Mode.ENFORCE else "not on this one"
        yield f"tried on {rule.canary_percent} percent of the end users, {chosen}"
    if own.exception is not None:
        cap = next(each.action for each in policy.exceptions if each.id == own.exception)
        yield f"exception {own.exception} leaves at most {_name(cap)}"
    if rule.when is not None:
        yield f"if {rule.when.text}"


_FIELDS: Mapping[str, Callable[[Circumstances], str]] = {
    "projects": lambda given: given.project,
    "tiers": lambda given: given.tier,
    "age_groups": lambda given: given.age_group.value,
    "endpoints": lambda given: given.endpoint,
    "models": lambda given: given.model or "none",
    "locales": lambda given: given.locale or "none",
}


def _excepted(outcome: RuleOutcome) -> Iterator[str]:
    if outcome.exception is not None:
        yield f"under exception {outcome.exception}"


def _remarks(outcome: RuleOutcome | None) -> Iterator[str]:
    if outcome is None:
        return
    if CONDITION in outcome.missing:
        yield "its condition could not be told"
    reasons = [reason for reason in outcome.missing if reason != CONDITION]
    if reasons:
        yield f"no full answer: {', '.join(reasons)}"
    if outcome.unavailable:
        unread = outcome.missing == (UNSUPPORTED_LANGUAGE,)
        key = "on_unsupported_language" if unread else "on_unavailable"
        yield f"{key} is {_name(outcome.action)}"
    if outcome.suspicion is not None:
        yield f"{outcome.suspicion:g} was suspected, and {outcome.classifier} overruled it"
    yield from effects_of(outcome)
    if outcome.disclaimer:
        yield f"adds disclaimer {outcome.disclaimer}"


def headline(account: Account) -> list[str]:
    """Return what was decided, by which policy."""
    decision = account.decision
    because = ", ".join(f"`{rule}`" for rule in decision.determining_rules)
    reason = f"because of {because}" if because else "because no enforced rule called for more"
    return [
        f"{_name(decision.action)} at {decision.stage}, {reason}",
        f"policy {decision.policy_id} {decision.policy_version} "
        f"(sha256 {decision.policy_digest[:12] or 'unknown'})",
    ]


def lines(account: Account) -> list[str]:
    """Return the account in plain lines, for a reader without the code and without colors."""
    return [
        *headline(account),
        *(f"  {_line(rule)}" for rule in account.rules),
        *(f"  {coverage(receipt)}" for receipt in account.decision.receipts),
    ]


def _line(told: RuleAccount) -> str:
    remarks = f"; {'; '.join(told.remarks)}" if told.remarks else ""
    bands = f" [{bands_in_words(told.bands)}]" if told.bands else ""
    determined = told.role is Role.DETERMINED
    role = f" <- {told.role}" if determined else f" ({told.role})"
    return f"{told.rule}: {told.category} {saw(told)}{bands}{called_for(told)}{role}{remarks}"


def saw(told: RuleAccount) -> str:
    """Return what a rule saw: `scored 0.9 by encoder@1`."""
    if told.score is None:
        return "got no answer"
    by = told.outcome.classifier if told.outcome else None
    return f"scored {told.score:g}" + (f" by {by}" if by else "")


def called_for(told: RuleAccount) -> str:
    """Return what a rule called for, or would have; empty for nothing."""
    if told.outcome is None or told.outcome.action is Action.ALLOW:
        return ""
    word = "would call for" if told.role is Role.CONDITION else "calls for"
    return f", {word} {_name(told.outcome.action)}"


def bands_in_words(bands: Sequence[Band]) -> str:
    """Return bands, lowest first: `0.5 flag, 0.9 block`."""
    return ", ".join(f"{band.gte:g} {_name(band.action)}" for band in reversed(bands))


def coverage(receipt: Receipt) -> str:
    """Return what a classifier read, and what it did not."""
    read_chars = f"{receipt.classifier} read {receipt.scanned_chars} characters"
    took = f" in {receipt.duration_ms:.1f} ms"
    if not receipt.unscanned_chars and receipt.error is None:
        return read_chars + took
    reason = f" ({receipt.error})" if receipt.error else ""
    return f"{read_chars} and did not read {receipt.unscanned_chars}{reason}{took}"


def _name(action: Action) -> str:
    return action.name.lower()
