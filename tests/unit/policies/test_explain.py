from dataclasses import replace

import pytest

from classifiers.types import Assessment, Passage, Receipt, Source, Verdict
from policies.evaluate import evaluate
from policies.explain import explain
from policies.types import Action, Band, Decision, Mode, Policy, Rule, RuleOutcome, Stage


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


def test_it_says_what_was_decided_what_each_rule_saw_and_what_was_not_read():
    decision = evaluate(POLICY, Stage.OUTPUT, ASSESSMENT)

    assert explain(decision, POLICY) == [
        "block at output, because of `stop`, `blind`",
        "policy acme 1.2.3 (sha256 abababababab)",
        "  stop: weapons scored 0.9, calls for block <- determined the decision",
        "  mark: weapons scored 0.9, calls for flag (a stricter rule won)",
        "  trial: weapons scored 0.9, calls for review (shadow: recorded, not enforced)",
        "  blind: secrets got no full answer (failed), on_unavailable is block "
        "<- determined the decision",
        "  spam-mark: spam scored 0.2, below 0.5",
        "  fake@1 read 0 characters and did not read 10 (too_long) in 1.2 ms",
    ]


def test_an_allowed_passage_is_explained_too():
    quiet = Assessment((), (), (), {"weapons": ASKED, "spam": ASKED, "secrets": ASKED})

    assert explain(evaluate(POLICY, Stage.INPUT, quiet))[0] == (
        "allow at input, because no enforced rule called for more"
    )


def test_side_effects_are_named():
    strict = replace(
        POLICY, rules=(replace(POLICY.rules[0], bands=(Band(0.5, Action.BLOCK, True, "oncall"),)),)
    )

    assert (
        "calls for block and a strike and tells oncall <-"
        in explain(evaluate(strict, Stage.OUTPUT, ASSESSMENT))[2]
    )


def test_another_policy_cannot_explain_a_decision():
    decision = evaluate(POLICY, Stage.OUTPUT, ASSESSMENT)

    with pytest.raises(ValueError, match="another policy"):
        explain(decision, replace(POLICY, digest="cd" * 32))


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
        ),
    )
    decision = Decision(Stage.INPUT, Action.FLAG, ("b",), outcomes, "acme", "1.2.3", "ab" * 32)

    assert explain(decision)[2:] == [
        "  a: weapons scored 0.1 by judge@1 (where 0.9 was suspected), calls for allow",
        "  b: spam got no full answer (unsupported_language), on_unsupported_language is flag "
        "<- determined the decision",
    ]
