"""What follows from a rule beside its action, for a person, a conversation or a project. Pure.

What fails closed for a request does not for a person: a rule whose own condition could not be
told blocks as it says, and nothing else follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator

from policies.types import Band, Decision, RuleOutcome

CONDITION = "condition"  # what is missing where the rule's own condition could not be told
STOPPED = "misalignment_policy_violation"  # the code of what stops a conversation


def effective(outcome: RuleOutcome) -> bool:
    """Return whether what a rule says is enforced, and known to be for this request."""
    return not outcome.shadow and CONDITION not in outcome.missing


def stopping(decision: Decision) -> tuple[str, ...]:
    """Return the ids of the rules that stop the whole conversation, in policy order."""
    return tuple(each.rule for each in decision.outcomes if each.stop and effective(each))


def effects_of(caused: Band | RuleOutcome) -> Iterator[str]:
    """Yield what a band, or an outcome, does beside its action, in words."""
    if caused.strike:
        yield "counts a strike"
    if caused.escalate:
        yield f"tells {caused.escalate}"
    if caused.stop:
        yield "stops the conversation"
    if caused.alert:
        yield "raises an alert"
