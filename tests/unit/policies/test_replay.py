from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.types import Verdict
from policies.apply import in_canary
from policies.circumstances import ANYBODY, AgeGroup, Circumstances, Scope
from policies.conditions import compile_condition
from policies.replay import Answers, Cast, Recorded, Replayer, answers_of
from policies.types import Action, Band, Mode, Policy, PolicyException, Rule, Rung, Stage
from tests.unit.policies import made_up
from tests.unit.policies.made_up import NOW, a_world, circumstances, decided

SEEDS = st.integers(0, 2**64).map(Random)
EVERYBODY = frozenset({"encoder@1"})
CAST = Cast({"weapons": EVERYBODY, "spam": EVERYBODY}, {"weapons": frozenset({"judge@1"})})


def of_trail(rule):
    return rule.when is not None and rule.when.of_trail


def a_policy(chance):
    """One that looks at nothing that the log does not hold."""
    whole = made_up.a_policy(chance)
    return replace(whole, rules=tuple(rule for rule in whole.rules if not of_trail(rule)))


def recorded_of(decision, given, now, casts):
    """The decision as the log would have it."""
    cast = casts.setdefault(id(decision.covered), Cast(decision.covered, decision.on_request))
    return Recorded(
        "req_1",
        decision.stage,
        decision.action,
        decision.determining_rules,
        cast,
        answers_of(decision.verdicts, decision.asked),
        len(decision.verdicts),
        given,
        now,
    )


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_replaying_under_the_same_policy_flips_nothing(chance):
    policy, casts, kept = a_policy(chance), {}, []
    replayer = Replayer(policy)
    for _ in range(4):
        given, world = circumstances(chance), a_world(chance)
        now = NOW + timedelta(hours=chance.choice([-2, -1, 0, 1, 2]))
        for stage in Stage:
            decision = decided(policy, given, now, stage, world)
            kept.append(decision)  # so that no cast goes while its id is in use
            found = replayer.decide(recorded_of(decision, given, now, casts))
            assert found == (decision.action, decision.determining_rules)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_what_is_remembered_is_what_would_be_decided_anew(chance):
    recording, trying = a_policy(chance), a_policy(chance)
    # No judges: which of them the other policy would have asked is not in the log.
    trying = replace(
        trying,
        rules=tuple(replace(each, rungs=(), classifiers=frozenset()) for each in trying.rules),
    )
    replayer, casts, kept = Replayer(trying), {}, []
    for _ in range(6):
        given, world = circumstances(chance), a_world(chance)
        for stage in Stage:
            decision = decided(recording, given, NOW, stage, world)
            kept.append(decision)
            expected = decided(trying, given, NOW, stage, world)
            found = replayer.decide(recorded_of(decision, given, NOW, casts))
            assert found == (expected.action, expected.determining_rules)


def rule(name="r1", **changes):
    return Rule(
        **{
            "id": name,
            "category": "weapons",
            "stages": frozenset(Stage),
            "bands": (Band(0.9, Action.BLOCK), Band(0.5, Action.FLAG)),
            "on_unavailable": dict.fromkeys(Stage, Action.BLOCK),
        }
        | changes
    )


def replaying(*rules, **more):
    return Replayer(Policy("other", "2.0.0", "00", rules, **more))


def recorded(*rows, given=ANYBODY, at=NOW, categories=("spam", "weapons"), more=()):
    answers = [Answers("encoder@1", categories, rows), *more]
    return Recorded("req_1", Stage.INPUT, Action.ALLOW, (), CAST, answers, len(rows), given, at)


def test_scores_that_reach_the_same_thresholds_are_decided_once():
    replayer = replaying(rule())

    found = [replayer.decide(recorded([0, score])) for score in (0.5, 0.77, 0.89, 0.1, 0, 0.9, 1)]

    assert [action for action, _ in found] == [Action.FLAG] * 3 + [Action.ALLOW] * 2 + [
        Action.BLOCK
    ] * 2
    assert replayer.remembered == 4


def test_a_score_that_a_condition_looks_at_is_taken_as_it_is():
    replayer = replaying(rule(when=compile_condition("score < 0.7")))

    found = [replayer.decide(recorded([0, score]))[0] for score in (0.6, 0.75, 0.65)]

    assert found == [Action.FLAG, Action.ALLOW, Action.FLAG]


def test_a_score_of_another_category_that_a_condition_looks_at_is_too():
    replayer = replaying(rule(when=compile_condition("scores['spam'] > 0.3")))

    found = [replayer.decide(recorded([spam, 0.6]))[0] for spam in (0.2, 0.4, 0)]

    assert found == [Action.ALLOW, Action.FLAG, Action.ALLOW]


def test_a_missing_answer_is_missing_in_the_replay():
    replayer = replaying(rule(on_unsupported_language={Stage.INPUT: Action.WARN}))

    found = [
        replayer.decide(recorded([0, reason]))[0] for reason in ("timeout", "unsupported_language")
    ]

    assert found == [Action.BLOCK, Action.WARN]


def test_a_judge_that_was_not_asked_cannot_acquit_in_the_replay():
    judged = replaying(rule(classifiers=frozenset({"encoder"}), rungs=(Rung("judge", 0.5),)))
    acquitted = Answers("judge@1", ["weapons"], [[0]], asked=True)

    assert judged.decide(recorded([0, 0.95]))[0] is Action.BLOCK
    assert judged.decide(recorded([0, 0.95], more=[acquitted]))[0] is Action.ALLOW


@pytest.mark.parametrize(
    ("changes", "one", "other"),
    [
        ({"scope": Scope(projects=("shop",))}, Circumstances(project="shop"), ANYBODY),
        ({"scope": Scope(locales=("de",))}, Circumstances(locale="de-AT"), ANYBODY),
        (
            {"when": compile_condition("user.age_group == 'minor'")},
            Circumstances(age_group=AgeGroup.MINOR),
            ANYBODY,
        ),
        (
            {"when": compile_condition("'pay' in request . tools")},
            Circumstances(tools=("pay",)),
            Circumstances(tools=("",)),
        ),
        (
            {"mode": Mode.CANARY, "canary_percent": 50},
            Circumstances(end_user=next(user for user in "abcdefgh" if in_canary("r1", user, 50))),
            Circumstances(end_user=None),
        ),
    ],
)
def test_who_asks_counts_where_the_policy_looks_at_it(changes, one, other):
    replayer = replaying(rule(**changes))

    found = [replayer.decide(recorded([0, 0.6], given=each))[0] for each in (one, other, one)]

    assert sorted(found[:2]) == [Action.ALLOW, Action.FLAG]
    assert found[2] is found[0]


def test_who_asks_does_not_count_where_the_policy_does_not_look_at_it():
    replayer = replaying(rule())
    for number in range(5):
        replayer.decide(
            recorded([0, 0.6], given=Circumstances(project=str(number), strikes=number))
        )

    assert replayer.remembered == 4


def test_an_exception_holds_in_its_time():
    hour = timedelta(hours=1)
    replayer = replaying(
        rule(), exceptions=(PolicyException("EX-1", "r1", Action.ALLOW, NOW, NOW + hour),)
    )

    found = [
        replayer.decide(recorded([0, 0.6], at=NOW + each))[0] for each in (-hour, 0 * hour, hour)
    ]

    assert found == [Action.FLAG, Action.ALLOW, Action.FLAG]


def test_answers_keep_who_said_what_twice_and_who_was_asked():
    verdicts = (
        (Verdict("encoder@1", "spam", 0.25), Verdict("encoder@1", "spam", 0.5)),
        (Verdict("judge@1", "weapons", None, error="timeout"),),
    )
    asked = {"judge@1": frozenset({(0, "weapons"), (1, "weapons")})}

    assert answers_of(verdicts, asked) == [
        Answers("judge@1", ["weapons"], [[0], ["timeout"]], asked=True),
        Answers("encoder@1", ["spam"], [[0.25], [0]]),
        Answers("encoder@1", ["spam"], [[0.5], [0]]),
    ]


def test_rules_on_what_happened_before_are_left_out_and_named():
    looks = compile_condition("size(trajectory.calls) > 3")
    band = Band(0.5, Action.BLOCK)
    rules = [Rule(name, "spam", frozenset({Stage.TOOL_CALL}), (band,), {}) for name in "ab"]
    policy = Policy("p", "1.0.0", "00", (rules[0], replace(rules[1], when=looks)))

    replayer = Replayer(policy)

    assert replayer.untold == {"b"}
    assert [rule.id for rule in replayer.policy.rules] == ["a"]
