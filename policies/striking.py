"""Which rules of a decision count against the end user, and which raise an alert. Pure.

A conversation is judged whole each time it is sent, and what stands in its history was
judged when it was new. It is blocked again for as long as it is sent, but it counts once.

What fails closed for a request does not for a person: where a rule's own condition could not
be told it blocks as it says, nobody is struck, and nobody is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from policies.effects import effective
from policies.types import Band, Decision, Policy, RuleOutcome


def striking(
    policy: Policy, decision: Decision, new: Collection[int] | None = None
) -> tuple[str, ...]:
    """Return the ids of the enforced rules that count, in policy order.

    Args:
        policy: The policy that decided.
        decision: What it decided.
        new: Which of the judged passages are new, by index; None if all are.
    """
    counting = [each for each in decision.outcomes if each.strike and effective(each)]
    return _new(counting, policy, decision, new, lambda band: band.strike)


def alerting(
    policy: Policy, decision: Decision, new: Collection[int] | None = None
) -> tuple[str, ...]:
    """Return the ids of the enforced rules that raise an alert; arguments as `striking`."""
    counting = [each for each in decision.outcomes if each.alert and effective(each)]
    return _new(counting, policy, decision, new, lambda band: band.alert)


def _new(
    counting: list[RuleOutcome],
    policy: Policy,
    decision: Decision,
    new: Collection[int] | None,
    is_for: Callable[[Band], bool],
) -> tuple[str, ...]:
    """Return the ids of those that were found in what is new."""
    if not counting or new is None:
        return tuple(each.rule for each in counting)
    lowest = {
        rule.id: min((band.gte for band in rule.bands if is_for(band)), default=0.0)
        for rule in policy.rules_at[decision.stage]
    }
    return tuple(
        each.rule for each in counting if _found(each, decision, lowest.get(each.rule, 0.0), new)
    )


def _found(outcome: RuleOutcome, decision: Decision, lowest: float, new: Collection[int]) -> bool:
    """Return whether anybody saw in a new passage what the rule counts.

    Anybody: where classifiers do not agree, the new passage is taken to have it.
    """
    return lowest <= 0 or any(
        verdict.category == outcome.category and (verdict.score or 0.0) >= lowest
        for index in new
        for verdict in decision.verdicts[index]
    )
