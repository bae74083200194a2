"""Holds `policies.evaluate` against a second, obvious evaluator on made-up policies.

    python -m benchmarks.policy_agreement [--count 100000] [--seed 1]

Each policy meets one request, at each of the five stages: scopes, conditions, exceptions,
canaries, bands, rungs, answers missing or in a language that nobody reads, redactors,
shadows, calls and what happened before them all come up. Prints what came up how often; exit
status 1 at the first disagreement.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from random import Random
from time import perf_counter

from policies.circumstances import EVERYBODY
from policies.types import Action, Decision, Mode, Policy, Stage
from tests.unit.policies import obvious
from tests.unit.policies.made_up import (
    NOW,
    a_policy,
    a_trail,
    a_world,
    circumstances,
    comparable,
    decided,
)


def main() -> int:
    """Compare, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="policies")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    started = perf_counter()
    for seed in range(options.seed, options.seed + options.count):
        chance = Random(seed)  # noqa: S311 - made up, not secret
        policy, given, world = a_policy(chance), circumstances(chance), a_world(chance)
        seen["policies"] += 1
        _count_policy(policy, seen)
        for stage in Stage:
            trail = a_trail(chance, stage)
            decision = decided(policy, given, NOW, stage, world, trail)
            expected = obvious.decide(policy, given, NOW, stage, world, trail)
            if comparable(decision) != expected:
                print(f"seed {seed}, {stage}: {comparable(decision)} and not {expected}")
                return 1
            _count_decision(decision, seen)
    for name, count in sorted(seen.items()):
        print(f"{count:>10,}  {name}")
    print(f"{perf_counter() - started:.0f} s; no disagreement")
    return 0


def _count_policy(policy: Policy, seen: Counter[str]) -> None:
    seen["rules"] += len(policy.rules)
    seen["rules with a scope"] += sum(rule.scope != EVERYBODY for rule in policy.rules)
    seen["rules with a condition"] += sum(rule.when is not None for rule in policy.rules)
    of_trail = [rule for rule in policy.rules if rule.when and rule.when.of_trail]
    seen["rules on what happened before"] += len(of_trail)
    seen["rules that ask nobody"] += sum(rule.factual for rule in policy.rules)
    seen["rules with judges"] += sum(bool(rule.rungs) for rule in policy.rules)
    seen["rules in a canary"] += sum(rule.mode is Mode.CANARY for rule in policy.rules)
    seen["exceptions"] += len(policy.exceptions)


def _count_decision(decision: Decision, seen: Counter[str]) -> None:
    seen[f"decided {Action(decision.action).name.lower()}"] += 1
    seen["decisions with a redaction"] += bool(decision.redactions)
    seen["decisions with a disclaimer"] += bool(decision.disclaimers)
    for outcome in decision.outcomes:
        seen["outcomes of a shadow"] += outcome.shadow
        seen["outcomes with a strike"] += outcome.strike
        seen["outcomes under an exception"] += outcome.exception is not None
        seen["outcomes for want of an answer"] += outcome.unavailable
        seen["outcomes whose condition could not be told"] += "condition" in outcome.missing
        seen["outcomes where a judge overruled"] += outcome.suspicion is not None


if __name__ == "__main__":
    sys.exit(main())
