"""The evaluator against the obvious one; `benchmarks/policy_agreement.py` does many more."""

from random import Random

import pytest

from policies.types import Stage
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


@pytest.mark.parametrize("seed", range(600))
def test_it_agrees_with_the_obvious_evaluator(seed):
    chance = Random(seed)  # noqa: S311 - made up, not secret
    policy, given, world = a_policy(chance), circumstances(chance), a_world(chance)

    for stage in Stage:
        trail = a_trail(chance, stage)
        found = comparable(decided(policy, given, NOW, stage, world, trail))
        assert found == obvious.decide(policy, given, NOW, stage, world, trail)
