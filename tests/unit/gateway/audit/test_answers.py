import json
from dataclasses import replace
from random import Random

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audit import records
from gateway.audit.answers import answers_in, cast_of, circumstances_in, panel_recorded
from gateway.audit.entry import MAX_BYTES, Replica, exact
from gateway.exchange import Exchange
from gateway.types import Principal, Scope
from model_runner.types import Message, Prompt, Role
from policies.circumstances import AgeGroup, Circumstances
from policies.conditions import compile_condition
from policies.replay import Recorded, Replayer
from policies.types import Action, Policy, Rule, Stage
from tests.unit.policies.made_up import NOW, a_policy, a_world, circumstances, decided

SEEDS = st.integers(0, 2**64).map(Random)
REPLICA = Replica("rep_test", "1.0")


def exchange(policy, given):
    return Exchange(
        id="req_" + "0" * 32,
        principal=Principal("keyprefix123", given.project, frozenset({Scope.CALLER}), 10, 1000),
        prompt=Prompt("gpt-oss-20b", (Message(Role.USER, "a very private question"),)),
        policy=policy,
        endpoint=given.endpoint,
        stream=given.stream,
        runner="local",
        circumstances=given,
    )


def written(entry):
    encoded = entry.canonical(REPLICA, 1)
    assert len(encoded) <= MAX_BYTES
    assert encoded == rfc8785.dumps(json.loads(encoded))
    return json.loads(encoded)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_replaying_what_was_written_under_the_same_policy_flips_nothing(chance):
    policy, given, world = a_policy(chance), circumstances(chance), a_world(chance)
    replayer = Replayer(policy)
    policy = replayer.policy  # without what looks at the past, which the log does not hold
    for stage in Stage:
        decision = decided(policy, given, NOW, stage, world)
        panel = written(panel_recorded(decision.covered, decision.on_request))
        _, entry = records.decided(
            exchange(policy, given), decision, given.end_user, panel=panel["id"]
        )
        body = written(entry)
        recorded = Recorded(
            body["request"]["id"],
            Stage(body["decision"]["stage"]),
            Action[body["decision"]["action"].upper()],
            tuple(body["determining_rules"]),
            cast_of(panel),
            answers_in(body["verdicts"]),
            body["passages"],
            circumstances_in(body),
            NOW,
        )
        assert replayer.decide(recorded) == (recorded.action, recorded.determining_rules)
        assert recorded.action is decision.action


@given(st.floats(0, 1))
def test_a_score_keeps_all_its_digits_but_where_it_is_next_to_nothing(score):
    kept = exact(score)

    assert kept == (score if score == 0 or score >= 0.0001 else 0.0001)
    assert rfc8785.dumps([kept]) == json.dumps([kept]).encode().replace(b"e-05", b"e-5")


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_what_is_no_score_is_refused(score):
    with pytest.raises(ValueError, match="between 0 and 1"):
        exact(score)


def rule(**changes):
    return Rule("r1", "weapons", frozenset({Stage.INPUT}), (), {}, **changes)


def test_only_functions_that_the_policy_names_are_named_the_others_are_counted():
    policy = Policy("p", "1.0.0", "00", (rule(when=compile_condition("'pay' in request.tools")),))
    given = Circumstances(tools=("pay", "look_up_alice_miller", "mail"))
    decision = decided(policy, given, NOW, Stage.INPUT, a_world(Random(1)))  # noqa: S311

    body = written(records.decided(exchange(policy, given), decision, None)[1])

    assert body["circumstances"]["tools"] == {"count": 3, "named": ["pay"]}
    assert "alice" not in json.dumps(body)
    assert circumstances_in(body).tools == ("pay", "", "")


def test_circumstances_come_back_from_an_entry():
    given = Circumstances(
        project="shop",
        tier="pro",
        endpoint="chat",
        model="gpt-oss-20b",
        stream=True,
        age_group=AgeGroup.MINOR,
        locale="de-AT",
        end_user="0123",
        strikes=3,
        access=frozenset({"biology"}),
    )
    policy = Policy("p", "1.0.0", "00", ())
    decision = decided(policy, given, NOW, Stage.INPUT, a_world(Random(1)))  # noqa: S311

    for each in (
        given,
        replace(given, age_group=AgeGroup.UNKNOWN, access=frozenset()),
        Circumstances(),
    ):
        entry = records.decided(exchange(policy, each), decision, each.end_user)[1]
        assert circumstances_in(written(entry)) == each


def test_a_long_prompt_still_fits():
    policy, chance = Policy("p", "1.0.0", "00", ()), Random(1)  # noqa: S311
    decision = decided(policy, Circumstances(), NOW, Stage.INPUT, a_world(chance))
    long = replace(decision, verdicts=decision.verdicts * 3000)

    body = written(records.decided(exchange(policy, Circumstances()), long, None)[1])

    assert body["omitted"]["verdicts"] > 0
    assert body["passages"] == len(long.verdicts)
