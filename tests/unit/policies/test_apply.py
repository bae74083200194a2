from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.apply import apply, in_canary
from policies.circumstances import ANYBODY, Circumstances, Scope
from policies.types import Action, Band, Mode, Policy, PolicyException, Rule, Stage

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


def rule(name="r1", **changes):
    return Rule(
        **{
            "id": name,
            "category": "weapons",
            "stages": frozenset(Stage),
            "bands": (
                Band(0.8, Action.BLOCK, strike=True, stop=True),
                Band(0.5, Action.FLAG, strike=True, alert=True),
            ),
            "on_unavailable": dict.fromkeys(Stage, Action.BLOCK),
        }
        | changes
    )


def policy(*rules, **more):
    return Policy("test", "1.0.0", "00", rules, **more)


def excepted(action=Action.FLAG, rule="r1", name="EX-1", **changes):
    return PolicyException(
        **{"id": name, "rule": rule, "action": action, "since": NOW, "until": NOW + HOUR} | changes
    )


def only(applied):
    (found,) = applied.rules
    return found


def test_what_is_for_everybody_stays_as_it_is():
    whole = policy(rule())

    assert apply(whole, ANYBODY, NOW) is whole


def test_a_rule_out_of_scope_is_gone_at_every_stage():
    whole = policy(rule(scope=Scope(projects=("shop",))), rule("r2"))

    applied = apply(whole, ANYBODY, NOW)

    assert [each.id for each in applied.rules] == ["r2"]
    assert all([each.id for each in applied.rules_at[stage]] == ["r2"] for stage in Stage)
    assert apply(whole, Circumstances(project="shop"), NOW).rules == whole.rules


def test_what_is_narrowed_keeps_its_identity():
    applied = apply(policy(rule(scope=Scope(projects=("shop",)))), ANYBODY, NOW)

    assert (applied.id, applied.version, applied.digest) == ("test", "1.0.0", "00")


@pytest.mark.parametrize(
    ("moment", "held"),
    [(NOW - TICK, False), (NOW, True), (NOW + HOUR - TICK, True), (NOW + HOUR, False)],
)
def test_an_exception_holds_from_its_beginning_until_before_its_end(moment, held):
    applied = apply(policy(rule(), exceptions=(excepted(),)), ANYBODY, moment)

    assert (only(applied).exception == "EX-1") is held
    assert only(applied).bands[0].action is (Action.FLAG if held else Action.BLOCK)


def test_an_exception_caps_what_its_rule_does_and_nothing_follows_from_it():
    capped = only(apply(policy(rule(), exceptions=(excepted(),)), ANYBODY, NOW))

    assert capped.bands == (Band(0.8, Action.FLAG), Band(0.5, Action.FLAG))


def test_an_exception_caps_what_is_done_without_an_answer_too():
    blind = rule(
        on_unavailable={Stage.INPUT: Action.BLOCK, Stage.OUTPUT: Action.ALLOW},
        on_unsupported_language={Stage.INPUT: Action.REVIEW},
    )

    capped = only(apply(policy(blind, exceptions=(excepted(),)), ANYBODY, NOW))

    assert capped.on_unavailable == {
        **dict.fromkeys(Stage, Action.FLAG),  # stages that are not listed block
        Stage.OUTPUT: Action.ALLOW,
    }
    assert capped.on_unsupported_language == {Stage.INPUT: Action.FLAG}


def test_an_exception_never_makes_a_rule_stricter():
    mild = rule(bands=(Band(0.5, Action.ALLOW, escalate="oncall"),), on_unavailable={})
    capped = only(apply(policy(mild, exceptions=(excepted(Action.WARN),)), ANYBODY, NOW))

    assert capped.bands == mild.bands


def test_a_capped_redaction_hides_nothing_and_still_tells():
    redacts = rule(bands=(Band(0.5, Action.REDACT, escalate="oncall", redactor="pii"),))
    capped = only(apply(policy(redacts, exceptions=(excepted(),)), ANYBODY, NOW))

    assert capped.bands == (Band(0.5, Action.FLAG, escalate="oncall"),)


@pytest.mark.parametrize(
    ("whole", "given"),
    [
        pytest.param(policy(rule(exemptible=False), exceptions=(excepted(),)), ANYBODY, id="lock"),
        pytest.param(policy(rule(), exceptions=(excepted(rule="r2"),)), ANYBODY, id="other rule"),
        pytest.param(
            policy(rule(), exceptions=(excepted(scope=Scope(projects=("red",))),)),
            ANYBODY,
            id="out of scope",
        ),
    ],
)
def test_an_exception_touches_only_its_rule_and_only_for_its_scope(whole, given):
    assert apply(whole, given, NOW) is whole


def test_of_several_exceptions_the_mildest_holds_and_among_equals_the_first_by_name():
    several = (
        excepted(Action.FLAG, name="EX-3"),
        excepted(Action.FLAG, name="EX-2"),
        excepted(Action.WARN, name="EX-1"),
    )

    assert only(apply(policy(rule(), exceptions=several), ANYBODY, NOW)).exception == "EX-2"


def test_a_canary_is_sticky_for_an_end_user():
    tried = policy(rule(mode=Mode.CANARY, canary_percent=50))
    modes = {
        user: only(apply(tried, Circumstances(end_user=user), NOW)).mode
        for user in map(str, range(200))
    }

    assert set(modes.values()) == {Mode.ENFORCE, Mode.SHADOW}
    for user, mode in modes.items():
        later = Circumstances(project="other", end_user=user, strikes=9)
        assert only(apply(tried, later, NOW + HOUR)).mode is mode


def test_a_canary_takes_about_the_share_that_it_names():
    chosen = sum(in_canary("r1", str(user), 20) for user in range(5000))

    assert 900 < chosen < 1100


@given(st.text(max_size=5), st.text(max_size=20), st.integers(0, 100), st.integers(0, 100))
def test_who_is_in_a_canary_stays_in_it_when_it_grows(name, user, one, other):
    smaller, larger = sorted((one, other))

    assert in_canary(name, user, smaller) <= in_canary(name, user, larger)


@given(st.text(max_size=5), st.none() | st.text(max_size=20))
def test_a_canary_of_0_takes_nobody_and_one_of_100_everybody(name, user):
    assert not in_canary(name, user, 0)
    assert in_canary(name, user, 100)


def test_who_is_not_known_is_not_tried_on():
    assert not in_canary("r1", None, 99)


def test_two_rules_try_on_different_people():
    users = [str(user) for user in range(200)]

    assert [in_canary("a", user, 50) for user in users] != [
        in_canary("b", user, 50) for user in users
    ]


SPOKEN = rule(
    user_message="no",
    developer_message="matched",
    user_messages={"": "no", "de": "nein", "de-at": "na"},
    developer_messages={"": "matched"},
)


@pytest.mark.parametrize(
    ("locale", "message"),
    [("de-AT", "na"), ("de_CH", "nein"), ("DE", "nein"), ("fr", "no"), ("", "no")],
)
def test_messages_and_disclaimers_are_in_the_nearest_language(locale, message):
    whole = policy(SPOKEN, disclaimers={"d": SPOKEN.user_messages})

    applied = apply(whole, Circumstances(locale=locale), NOW)

    assert only(applied).user_message == message
    assert only(applied).developer_message == "matched"
    assert applied.disclaimers["d"][""] == message


def test_a_canary_under_an_exception_is_both():
    tried = rule(mode=Mode.CANARY, canary_percent=100)
    applied = only(apply(policy(tried, exceptions=(excepted(),)), ANYBODY, NOW))

    assert (applied.mode, applied.exception) == (Mode.ENFORCE, "EX-1")
    assert replace(applied, exception=None).bands[0].action is Action.FLAG
