import pytest

from classifiers.types import Verdict
from policies.striking import alerting, striking
from policies.types import Action, Band, Decision, Policy, Rule, RuleOutcome, Stage

BANDS = (Band(0.9, Action.BLOCK), Band(0.6, Action.FLAG, strike=True))


def rule(name, bands=BANDS):
    return Rule(name, "bomb", frozenset(Stage), bands, {})


def decided(*outcomes, scores=()):
    """A decision about passages whose scores these are; None is a passage that nobody heeded."""
    verdicts = tuple(
        () if score is None else (Verdict("word@1", "bomb", score),) for score in scores
    )
    return Decision(
        Stage.INPUT, Action.BLOCK, (), outcomes, "acme", "1.0.0", "00", verdicts=verdicts
    )


def outcome(name="no-bombs", **changes):
    return RuleOutcome(name, "bomb", 0.9, Action.BLOCK, **({"strike": True} | changes))


POLICY = Policy("acme", "1.0.0", "00", (rule("no-bombs"), rule("no-poison")))


def test_enforced_rules_with_a_strike_count_in_policy_order():
    found = decided(outcome("no-bombs"), outcome("no-poison"))

    assert striking(POLICY, found) == ("no-bombs", "no-poison")


@pytest.mark.parametrize(
    "changes", [{"strike": False}, {"shadow": True}, {"missing": ("condition",)}]
)
def test_a_rule_in_shadow_without_a_strike_or_of_unknown_condition_does_not_count(changes):
    assert striking(POLICY, decided(outcome(**changes))) == ()


def test_a_rule_that_one_of_its_classifiers_could_not_answer_counts_for_what_another_saw():
    assert striking(POLICY, decided(outcome(missing=("timeout",)))) == ("no-bombs",)


@pytest.mark.parametrize(
    ("scores", "new", "counts"),
    [
        pytest.param([0.9, None], {0}, True, id="the new passage has it"),
        pytest.param([0.9, None], {1}, False, id="only an old one has it"),
        pytest.param([0.9, 0.6], {1}, True, id="the new one has less, and enough"),
        pytest.param([0.9, 0.5], {1}, False, id="the new one has too little"),
        pytest.param([0.9, 0.9], set(), False, id="nothing is new"),
    ],
)
def test_only_what_is_new_counts(scores, new, counts):
    found = striking(POLICY, decided(outcome(), scores=scores), new)

    assert found == (("no-bombs",) if counts else ())


def test_a_rule_that_everything_matches_counts_whatever_is_new():
    always = Policy("acme", "1.0.0", "00", (rule("no-bombs", (Band(0.0, Action.FLAG, True),)),))

    assert striking(always, decided(outcome(), scores=[None]), {0}) == ("no-bombs",)


def test_an_alert_is_raised_where_its_band_is_reached_in_what_is_new():
    bands = (Band(0.9, Action.BLOCK, stop=True, alert=True), Band(0.6, Action.FLAG))
    policy = Policy("acme", "1.0.0", "00", (rule("no-bombs", bands),))
    found = decided(outcome(strike=False, alert=True), scores=[0.95, 0.7])

    assert alerting(policy, found) == ("no-bombs",)
    assert alerting(policy, found, {0}) == ("no-bombs",)
    assert alerting(policy, found, {1}) == ()
    assert striking(policy, found) == ()
