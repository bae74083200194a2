from dataclasses import replace

import pytest

from policies.circumstances import Scope
from policies.conditions import compile_condition
from policies.locks import loosened
from policies.types import Action, Band, Mode, Rule, Rung, Stage

MINORS = compile_condition("user.age_group == 'minor'")

LOCKED = Rule(
    id="r1",
    category="weapons",
    stages=frozenset({Stage.INPUT, Stage.OUTPUT}),
    bands=(
        Band(0.9, Action.BLOCK, strike=True, escalate="oncall", stop=True),
        Band(0.7, Action.REDACT, redactor="pii"),
        Band(0.5, Action.FLAG, disclaimer="careful", alert=True),
    ),
    on_unavailable={Stage.INPUT: Action.REVIEW},
    on_unsupported_language={Stage.INPUT: Action.FLAG},
    classifiers=frozenset({"encoder"}),
    rungs=(Rung("judge", 0.5),),
    mode=Mode.CANARY,
    canary_percent=50,
    scope=Scope(projects=("shop", "red")),
    when=MINORS,
    locked=True,
    exemptible=False,
)
HIGH, MIDDLE, LOW = LOCKED.bands


def banded(*bands):
    return {"bands": bands}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the same"),
        pytest.param({"stages": frozenset(Stage)}, id="more stages"),
        pytest.param({"mode": Mode.ENFORCE}, id="for all instead of a share"),
        pytest.param({"canary_percent": 100}, id="for a larger share"),
        pytest.param({"scope": Scope(projects=("shop", "red", "more"))}, id="more projects"),
        pytest.param({"scope": Scope()}, id="for everybody"),
        pytest.param(banded(HIGH, MIDDLE, replace(LOW, gte=0.4)), id="from a lower score"),
        pytest.param(banded(HIGH, replace(MIDDLE, redactor=None), LOW), id="hides all"),
        pytest.param({"on_unavailable": {}}, id="blocks without an answer"),
        pytest.param(
            {
                "on_unsupported_language": {
                    Stage.INPUT: Action.BLOCK,
                    Stage.OUTPUT: Action.BLOCK,
                }
            },
            id="blocks what nobody reads",
        ),
        pytest.param({"user_message": "no", "code": "weapons"}, id="other words"),
        pytest.param({"locked": False}, id="unlocked: the lock stays, see join"),
    ],
)
def test_what_asks_for_at_least_as_much_passes(changes):
    assert loosened(LOCKED, replace(LOCKED, **changes)) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"category": "spam"}, "watches `spam`"),
        ({"stages": frozenset({Stage.INPUT})}, "leaves out stage `output`"),
        ({"mode": Mode.SHADOW}, "fewer end users"),
        ({"canary_percent": 49}, "fewer end users"),
        ({"scope": Scope(projects=("shop",))}, "fewer requests"),
        ({"scope": Scope(projects=("shop", "red"), tiers=("free",))}, "fewer requests"),
        ({"when": compile_condition("user.strikes > 0")}, "has a condition"),
        ({"classifiers": frozenset({"other"})}, "other classifiers"),
        ({"classifiers": frozenset()}, "other classifiers"),
        ({"rungs": ()}, "other classifiers"),
        ({"rungs": (Rung("judge", 0.4),)}, "other classifiers"),
        ({"exemptible": True}, "exceptions may touch it"),
        ({"on_unavailable": {Stage.INPUT: Action.FLAG}}, "without an answer at `input`"),
        (
            {"on_unavailable": {Stage.OUTPUT: Action.REVIEW, Stage.INPUT: Action.REVIEW}},
            "without an answer at `output`",
        ),
        ({"on_unsupported_language": {Stage.INPUT: Action.ALLOW}}, "nobody reads at `input`"),
        (
            {"on_unsupported_language": {Stage.OUTPUT: Action.FLAG, Stage.INPUT: Action.FLAG}},
            "nobody reads at `output`",
        ),
        (banded(replace(HIGH, gte=0.91), MIDDLE, LOW), "at 0.9 it does `redact`"),
        (banded(HIGH, MIDDLE), "at 0.5 it does `allow`"),
        (banded(replace(HIGH, action=Action.REVIEW), MIDDLE, LOW), "at 0.9 it does `review`"),
        (banded(replace(HIGH, strike=False), MIDDLE, LOW), "counts no strike"),
        (banded(replace(HIGH, escalate="nobody"), MIDDLE, LOW), "does not tell `oncall`"),
        (banded(replace(HIGH, stop=False), MIDDLE, LOW), "does not stop the conversation"),
        (banded(HIGH, replace(MIDDLE, redactor="emails"), LOW), "redacts by `emails`"),
        (banded(HIGH, MIDDLE, replace(LOW, alert=False)), "raises no alert"),
        (banded(HIGH, MIDDLE, replace(LOW, disclaimer=None)), "does not put `careful`"),
    ],
)
def test_what_may_ask_for_less_is_told(changes, reason):
    assert reason in loosened(LOCKED, replace(LOCKED, **changes))


def test_a_rule_for_everybody_may_not_become_one_for_some():
    free = replace(LOCKED, scope=Scope(), when=None)

    assert loosened(free, replace(free, scope=Scope(projects=("*",)))) is not None
    assert loosened(free, replace(free, when=MINORS)) is not None


def test_a_condition_may_go_if_what_is_left_does_as_much_as_not_knowing_did():
    stop = replace(
        LOCKED, bands=(HIGH,), on_unavailable={}, on_unsupported_language={}, canary_percent=50
    )

    assert loosened(stop, replace(stop, when=None)) is None


def test_a_condition_may_not_go_if_not_knowing_it_did_more():
    assert "cannot be told" in loosened(LOCKED, replace(LOCKED, when=None))


def test_a_canary_of_100_is_as_good_as_enforced_and_one_of_0_is_a_shadow():
    enforced = replace(LOCKED, mode=Mode.ENFORCE, canary_percent=100)
    shadow = replace(LOCKED, mode=Mode.SHADOW)

    assert loosened(enforced, replace(LOCKED, canary_percent=100)) is None
    assert loosened(enforced, replace(LOCKED, canary_percent=99)) is not None
    assert loosened(shadow, replace(LOCKED, canary_percent=0)) is None
