import pytest

from policies.footing import Footing, footings
from policies.types import Action, Band, Mode, Policy, Rule, Rung, Stage

COVERED = {"weapons": frozenset({"patterns@1", "encoder@1"})}
JUDGES = {"weapons": frozenset({"safeguard@1", "guard@2"})}
RUNGS = (Rung("safeguard", 0.4), Rung("guard", 0.4))


def footing(*down, covered=COVERED, judges=JUDGES, **changes):
    rule = Rule(
        **{
            "id": "r1",
            "category": "weapons",
            "stages": frozenset({Stage.INPUT, Stage.OUTPUT}),
            "bands": (Band(0.8, Action.BLOCK),),
            "on_unavailable": {Stage.INPUT: Action.FLAG, Stage.REASONING: Action.BLOCK},
            "classifiers": frozenset({"encoder"}),
            "rungs": RUNGS,
        }
        | changes
    )
    return footings(Policy("test", "1.0.0", "00", (rule,)), covered, judges, set(down))


def test_the_first_judge_decides_while_it_is_up():
    assert footing() == (Footing("r1", ("safeguard",), (), None, False),)
    assert not footing()[0].degraded


def test_the_next_judge_decides_when_the_first_is_down():
    assert footing("safeguard@1") == (Footing("r1", ("guard",), ("safeguard",), None, False),)
    assert footing("safeguard@1")[0].degraded


def test_without_judges_the_classifiers_are_all_there_is_and_the_policy_says_what_is_done():
    (found,) = footing("safeguard@1", "guard@2")

    assert (found.active, found.fallback) == (("encoder",), Action.BLOCK)
    assert found.missing == ("guard", "safeguard")


def test_a_judge_that_is_down_stops_only_what_is_in_doubt():
    (found,) = footing("safeguard@1", "guard@2")

    assert not found.stops


@pytest.mark.parametrize(
    "changes",
    [
        {"rungs": (Rung("safeguard", 0.0),)},
        {"rungs": (), "classifiers": frozenset({"safeguard"})},
    ],
    ids=["everything is in doubt", "it is always asked"],
)
def test_a_judge_that_is_down_and_is_asked_about_everything_stops_everything(changes):
    (found,) = footing("safeguard@1", **changes)

    assert found.stops


EVERYBODY = ("encoder@1", "safeguard@1", "guard@2")


def test_when_everybody_is_down_everything_stops():
    (found,) = footing(*EVERYBODY)

    assert (found.active, found.stops) == ((), True)


def test_a_policy_that_only_marks_what_nobody_judged_stops_nothing():
    lenient = {Stage.INPUT: Action.FLAG, Stage.OUTPUT: Action.WARN}

    (found,) = footing(*EVERYBODY, on_unavailable=lenient)

    assert (found.fallback, found.stops) == (Action.WARN, False)


def test_a_shadow_rule_stops_nothing():
    (found,) = footing(*EVERYBODY, mode=Mode.SHADOW)

    assert not found.stops


def test_a_judge_stands_in_for_a_classifier_that_is_down():
    (found,) = footing("encoder@1")

    assert (found.active, found.degraded, found.stops) == (("safeguard",), True, False)


@pytest.mark.parametrize("named", [frozenset({"encoder"}), frozenset()])
def test_a_rule_without_judges_stops_when_a_classifier_is_down(named):
    (found,) = footing("encoder@1", classifiers=named, rungs=())

    assert (found.degraded, found.stops) == (True, True)


def test_a_rule_that_misses_nobody_and_has_no_judges_is_not_listed():
    assert footing(classifiers=frozenset(), rungs=()) == ()


def test_what_is_not_installed_is_down():
    (found,) = footing(judges={})

    assert (found.active, found.missing) == (("encoder",), ("guard", "safeguard"))
    assert found.fallback is Action.BLOCK


def test_a_category_that_nobody_scores_stops():
    (found,) = footing(covered={}, classifiers=frozenset(), rungs=())

    assert (found.active, found.stops) == ((), True)


def test_a_judge_that_is_down_is_nothing_to_a_rule_that_does_not_name_it():
    assert footing("safeguard@1", classifiers=frozenset(), rungs=()) == ()
