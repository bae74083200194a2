import pytest

from classifiers.types import Assessment, Passage, Source, Verdict
from policies.conditions import compile_condition
from policies.effects import STOPPED, effects_of, stopping
from policies.evaluate import evaluate
from policies.load import parse_policy
from policies.types import Action, Band, Mode, Policy, Rule, Stage

STOPS = (Band(0.9, Action.BLOCK, stop=True),)
BLOCKS = (Band(0.5, Action.BLOCK),)
POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: a@acme.example}
categories: {misalignment.other: {severity: high, rationale: r, clause: "1"}}
rules:
  - id: stop
    category: misalignment.other
    stages: [reasoning]
    bands: [{gte: 0.9, actions: [ACTIONS]}]
"""


def decided(*rules, score=0.95):
    assessment = Assessment(
        (Passage(Source.ANALYSIS, "text"),), ((Verdict("word@1", "harm", score),),), ()
    )
    return evaluate(Policy("acme", "1.0.0", "00", rules), Stage.REASONING, assessment)


def rule(name, bands, **changes):
    return Rule(name, "harm", frozenset(Stage), bands, {}, **changes)


@pytest.mark.parametrize("written", ["stop_conversation", "block, stop_conversation"])
def test_a_stop_of_the_conversation_blocks_whether_that_is_written_or_not(written):
    [band] = parse_policy(POLICY.replace("ACTIONS", written).encode()).policy.rules[0].bands

    assert band == Band(0.9, Action.BLOCK, stop=True)


def test_an_alert_alone_flags():
    [band] = parse_policy(POLICY.replace("ACTIONS", "alert").encode()).policy.rules[0].bands

    assert band == Band(0.9, Action.FLAG, alert=True)


def test_who_stops_the_conversation_has_the_word_before_who_blocks():
    found = decided(
        rule("first", BLOCKS, code="cyber_policy", user_message="no"),
        rule("second", STOPS, user_message="It ends here."),
    )

    assert (found.code, found.user_message) == (STOPPED, "It ends here.")
    assert found.determining_rules == ("first", "second")
    assert stopping(found) == ("second",)


def test_below_its_band_nothing_stops_the_conversation():
    found = decided(rule("first", BLOCKS), rule("second", STOPS), score=0.8)

    assert (found.code, stopping(found)) == ("content_filter", ())


def test_a_rule_in_shadow_stops_no_conversation():
    found = decided(rule("watched", STOPS, mode=Mode.SHADOW))

    assert (found.action, found.code, stopping(found)) == (Action.ALLOW, "content_filter", ())


def test_where_a_condition_cannot_be_told_its_rule_blocks_and_stops_no_conversation():
    when = compile_condition("user.strikes / 0 == 1")

    found = decided(rule("doubtful", STOPS, when=when))

    assert (found.action, found.code, stopping(found)) == (Action.BLOCK, "content_filter", ())


def test_effects_are_told_in_words():
    band = Band(0.9, Action.BLOCK, strike=True, escalate="oncall", stop=True, alert=True)

    assert list(effects_of(band)) == [
        "counts a strike",
        "tells oncall",
        "stops the conversation",
        "raises an alert",
    ]
