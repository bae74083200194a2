"""What each rule stands on while some classifiers are down. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from policies.cascade import base
from policies.types import Action, Mode, Policy, Rule

Names = Mapping[str, frozenset[str]]  # category -> names with versions


@dataclass(frozen=True, slots=True)
class Footing:
    """What decides for a rule about a text that is in doubt.

    Attributes:
        rule: The rule's id.
        active: The classifiers, without version, whose answer counts: the first judge that
            is up, or else what is asked about everything; empty if nobody is up.
        missing: Whom the rule relies on and who is down or not installed, in order.
        fallback: What is done for want of an answer, at the strictest of its stages; None
            while there is one.
        stops: Whether that holds back every text, and not only those in doubt.
    """

    rule: str
    active: tuple[str, ...]
    missing: tuple[str, ...]
    fallback: Action | None
    stops: bool

    @property
    def degraded(self) -> bool:
        """Whether somebody is missing."""
        return bool(self.missing) or self.fallback is not None


def footings(
    policy: Policy, covered: Names, on_request: Names, down: Set[str]
) -> tuple[Footing, ...]:
    """Return the footing of every rule that has judges, or misses somebody.

    Args:
        policy: The policy in force.
        covered: Who is asked about everything, by category.
        on_request: The judges, by category.
        down: Names, with versions, of those that give no answers now.
    """
    found = []
    for rule in policy.rules:
        if rule.factual:
            continue
        readers = covered.get(rule.category, frozenset())
        judges = on_request.get(rule.category, frozenset())
        footing = _footing(rule, readers, (readers | judges) - down)
        if footing.degraded or rule.rungs:
            found.append(footing)
    return tuple(found)


def _footing(rule: Rule, readers: Set[str], working: Set[str]) -> Footing:
    always = rule.classifiers or {base(name) for name in readers}
    up = {base(name) for name in working}
    standing = [rung.classifier for rung in rule.rungs if rung.classifier in up]
    whole = bool(always) and always <= up
    # From 0 on, everything is in doubt.
    settled = whole and all(rung.escalate_at > 0 for rung in rule.rungs[:1])
    answered = bool(standing) or (whole and not rule.rungs)
    fallback = None if answered else max(_fallbacks(rule), default=Action.BLOCK)
    return Footing(
        rule=rule.id,
        active=tuple(standing[:1]) or tuple(sorted(always & up)),
        missing=tuple(sorted((always | {rung.classifier for rung in rule.rungs}) - up)),
        fallback=fallback,
        stops=(
            rule.mode is not Mode.SHADOW
            and not settled
            and fallback is not None
            and fallback >= Action.REVIEW
        ),
    )


def _fallbacks(rule: Rule) -> Iterator[Action]:
    for stage in rule.stages:
        yield rule.on_unavailable.get(stage, Action.BLOCK)
