from dataclasses import replace
from datetime import UTC, datetime

import pytest

from classifiers.types import Assessment, Passage, Receipt, Source, Verdict
from policies.circumstances import ANYBODY, Scope
from policies.conditions import compile_condition
from policies.evaluate import evaluate
from policies.explain import Role, explain, explain_recorded, lines
from policies.types import (
    Action,
    Band,
    Decision,
    Mode,
    Policy,
    PolicyException,
    Rule,
    RuleOutcome,
    Stage,
)

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def rule(rule_id, category, action, **changes):
    return Rule(rule_id, category, frozenset(Stage), (Band(0.5, action),), {}, **changes)


POLICY = Policy(
    id="acme",
    version="1.2.3",
    digest="ab" * 32,
    rules=(
        rule("stop", "weapons", Action.BLOCK),
        rule("mark", "weapons", Action.FLAG),
        rule("trial", "weapons", Action.REVIEW, mode=Mode.SHADOW),
        rule("spam-mark", "spam", Action.FLAG),
        rule("blind", "secrets", Action.FLAG),
    ),
)
ASKED = frozenset({"fake@1"})
ASSESSMENT = Assessment(
    (Passage(Source.FINAL, "0123456789"),),
    (
        (
            Verdict("fake@1", "weapons", 0.9),
            Verdict("fake@1", "spam", 0.2),
            Verdict("fake@1", "secrets", None),
        ),
    ),
    (Receipt("fake@1", "00", 0, 10, 1.25, "too_long"),),
    {"weapons": ASKED, "spam": ASKED, "secrets": ASKED},
)


def explained(*rules, given=ANYBODY, at=NOW, **changes):
    policy = replace(POLICY, **({"rules": rules} if rules else {}), **changes)
    return explain(policy, Stage.OUTPUT, ASSESSMENT, given, at)


def test_it_says_what_was_decided_what_each_rule_saw_and_what_was_not_read():
    assert lines(explained()) == [
        "block at output, because of `stop`, `blind`",
        "policy acme 1.2.3 (sha256 abababababab)",
        "  stop: weapons scored 0.9 by fake@1 [0.5 block], calls for block "
        "<- determined the decision",
        "  mark: weapons scored 0.9 by fake@1 [0.5 flag], calls for flag (a stricter rule won)",
        "  trial: weapons scored 0.9 by fake@1 [0.5 review], calls for review "
        "(shadow: recorded, not enforced)",
        "  blind: secrets got no answer [0.5 flag], calls for block <- determined the decision; "
        "no full answer: failed; on_unavailable is block",
        "  spam-mark: spam scored 0.2 [0.5 flag] (reached no band)",
        "  fake@1 read 0 characters and did not read 10 (too_long) in 1.2 ms",
    ]


def test_the_decision_that_is_explained_is_the_one_that_is_taken():
    assert explained().decision == evaluate(POLICY, Stage.OUTPUT, ASSESSMENT)


def test_an_allowed_passage_is_explained_too():
    quiet = Assessment((), (), (), {"weapons": ASKED, "spam": ASKED, "secrets": ASKED})

    assert lines(explain(POLICY, Stage.INPUT, quiet, ANYBODY, NOW))[0] == (
        "allow at input, because no enforced rule called for more"
    )


def test_a_rule_that_is_for_others_says_for_whom():
    scope = Scope(projects=("shop-*", "lab"), tiers=("*",), age_groups=("minor",))

    [told] = explained(rule("stop", "weapons", Action.BLOCK, scope=scope)).rules

    assert told.role is Role.OUT_OF_SCOPE
    assert told.remarks == (
        "for projects shop-*, lab, not default",
        "for age groups minor, not unknown",
    )


def test_a_rule_whose_condition_does_not_hold_says_what_it_would_have_done():
    strict = rule("stop", "weapons", Action.BLOCK, when=compile_condition("user.strikes > 2"))

    [told] = explained(strict).rules
    [held] = explained(strict, given=replace(ANYBODY, strikes=3)).rules

    assert told.role is Role.CONDITION
    assert told.outcome.action is Action.BLOCK
    assert "would call for block (its condition does not hold)" in lines(explained(strict))[2]
    assert held.role is Role.DETERMINED
    assert held.remarks == ("if user.strikes > 2",)


def test_a_condition_is_not_blamed_where_the_score_reaches_no_band():
    mild = rule("stop", "spam", Action.BLOCK, when=compile_condition("user.strikes > 2"))

    assert explained(mild).rules[0].role is Role.NO_BAND


def test_a_condition_that_cannot_be_told_is_named():
    when = compile_condition("scores['nobody'] > 0.5")

    [told] = explained(rule("mark", "weapons", Action.FLAG, when=when)).rules

    assert told.role is Role.DETERMINED
    assert told.outcome.action is Action.BLOCK
    assert "its condition could not be told" in told.remarks


def test_an_exception_says_what_it_leaves_while_it_is_in_force():
    exception = PolicyException(
        "EX-1", "stop", Action.FLAG, NOW, NOW.replace(year=2027), reason="drill"
    )
    stop = rule("stop", "weapons", Action.BLOCK)

    [told] = explained(stop, exceptions=(exception,)).rules
    [before] = explained(stop, exceptions=(exception,), at=NOW.replace(year=2025)).rules

    assert told.outcome.action is Action.FLAG
    assert told.bands[0].action is Action.BLOCK
    assert told.remarks == ("exception EX-1 leaves at most flag",)
    assert (before.outcome.action, before.remarks) == (Action.BLOCK, ())


def test_a_canary_says_whether_it_is_tried_on_this_end_user():
    tried = rule("stop", "weapons", Action.BLOCK, mode=Mode.CANARY, canary_percent=50)
    whom = [replace(ANYBODY, end_user=f"user-{number}") for number in range(20)]

    told = {
        rule.remarks[0]: rule.role for who in whom for rule in explained(tried, given=who).rules
    }

    assert told == {
        "tried on 50 percent of the end users, this one too": Role.DETERMINED,
        "tried on 50 percent of the end users, not on this one": Role.SHADOW,
    }


def test_side_effects_are_named():
    bands = (Band(0.5, Action.BLOCK, strike=True, escalate="oncall", disclaimer="care"),)

    [told] = explained(replace(rule("stop", "weapons", Action.BLOCK), bands=bands)).rules

    assert told.remarks == ("counts a strike", "tells oncall", "adds disclaimer care")


# --- From the log --------------------------------------------------------------------------


def test_another_policy_cannot_explain_a_decision():
    decision = evaluate(POLICY, Stage.OUTPUT, ASSESSMENT)

    with pytest.raises(ValueError, match=r"`acme` 1\.2\.3 did not take this decision"):
        explain_recorded(decision, replace(POLICY, digest="cd" * 32))


def test_a_recorded_decision_is_told_as_it_was_and_with_its_policy_the_other_rules_too():
    decision = evaluate(POLICY, Stage.OUTPUT, ASSESSMENT)

    bare, full = explain_recorded(decision, None), explain_recorded(decision, POLICY)

    assert [told.rule for told in bare.rules] == ["stop", "mark", "trial", "blind"]
    assert [told.bands for told in bare.rules] == [()] * 4
    assert lines(full) == lines(explained())


def test_it_says_what_a_judge_made_of_a_suspicion_and_why_an_answer_is_missing():
    outcomes = (
        RuleOutcome("a", "weapons", 0.1, Action.ALLOW, classifier="judge@1", suspicion=0.9),
        RuleOutcome(
            "b",
            "spam",
            None,
            Action.FLAG,
            unavailable=True,
            missing=("unsupported_language",),
            exception="EX-1",
        ),
    )
    decision = Decision(Stage.INPUT, Action.FLAG, ("b",), outcomes, "acme", "1.2.3", "ab" * 32)

    assert lines(explain_recorded(decision, None))[2:] == [
        "  a: weapons scored 0.1 by judge@1 (called for nothing); "
        "0.9 was suspected, and judge@1 overruled it",
        "  b: spam got no answer, calls for flag <- determined the decision; "
        "under exception EX-1; no full answer: unsupported_language; "
        "on_unsupported_language is flag",
    ]
