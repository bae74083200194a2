"""Says in words why something was decided."""

from __future__ import annotations

from collections.abc import Iterator

from classifiers.types import UNSUPPORTED_LANGUAGE, Receipt
from policies.types import Action, Decision, Policy, RuleOutcome


def explain(decision: Decision, policy: Policy | None = None) -> list[str]:
    """Return lines that a reader without the code can follow.

    Args:
        decision: What was decided.
        policy: The policy that decided it; adds the rules that saw nothing. Give it only
            if its digest is the decision's, or None.

    Raises:
        ValueError: If `policy` is another policy.
    """
    if policy is not None and policy.digest != decision.policy_digest:
        raise ValueError("the decision was taken by another policy")
    return [
        *_verdict(decision),
        *(f"  {line}" for outcome in decision.outcomes for line in _rule(outcome, decision)),
        *_silent(decision, policy),
        *(f"  {_coverage(receipt)}" for receipt in decision.receipts),
    ]


def _verdict(decision: Decision) -> Iterator[str]:
    because = ", ".join(f"`{rule}`" for rule in decision.determining_rules)
    reason = f"because of {because}" if because else "because no enforced rule called for more"
    yield f"{decision.action.name.lower()} at {decision.stage}, {reason}"
    yield (
        f"policy {decision.policy_id} {decision.policy_version} "
        f"(sha256 {decision.policy_digest[:12] or 'unknown'})"
    )


def _rule(outcome: RuleOutcome, decision: Decision) -> Iterator[str]:
    called_for = outcome.action.name.lower()
    why = f" ({', '.join(outcome.missing)})" if outcome.missing else ""
    if outcome.unavailable or outcome.score is None:
        saw = f"{outcome.category} got no full answer{why}"
        called_for = f"on_unavailable is {called_for}"
        if outcome.missing == (UNSUPPORTED_LANGUAGE,):
            called_for = called_for.replace("on_unavailable", "on_unsupported_language")
    else:
        saw = f"{outcome.category} scored {outcome.score:g}{_by(outcome)}"
        called_for = f"calls for {called_for}"
    yield f"{outcome.rule}: {saw}, {called_for}{_effect(outcome, decision)}"


def _by(outcome: RuleOutcome) -> str:
    """Name the rung that decided, where there was more than one."""
    if outcome.suspicion is None:
        return ""
    return f" by {outcome.classifier} (where {outcome.suspicion:g} was suspected)"


def _effect(outcome: RuleOutcome, decision: Decision) -> str:
    beside = [" and a strike"] if outcome.strike else []
    beside += [f" and tells {outcome.escalate}"] if outcome.escalate else []
    if outcome.shadow:
        role = " (shadow: recorded, not enforced)"
    elif outcome.rule in decision.determining_rules:
        role = " <- determined the decision"
    elif outcome.action is Action.ALLOW:
        role = ""
    else:
        role = " (a stricter rule won)"
    return "".join(beside) + role


def _silent(decision: Decision, policy: Policy | None) -> Iterator[str]:
    if policy is None:
        return
    spoke = {outcome.rule for outcome in decision.outcomes}
    for rule in policy.rules_at[decision.stage]:
        if rule.id not in spoke:
            score = decision.scores.get(rule.category) or 0.0
            lowest = min(band.gte for band in rule.bands)
            yield f"  {rule.id}: {rule.category} scored {score:g}, below {lowest:g}"


def _coverage(receipt: Receipt) -> str:
    read = f"{receipt.classifier} read {receipt.scanned_chars} characters"
    took = f" in {receipt.duration_ms:.1f} ms"
    if not receipt.unscanned_chars and receipt.error is None:
        return read + took
    reason = f" ({receipt.error})" if receipt.error else ""
    return f"{read} and did not read {receipt.unscanned_chars}{reason}{took}"
