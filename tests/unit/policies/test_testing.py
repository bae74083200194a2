import pytest

from classifiers.types import Assessment, Source, Verdict
from policies.load import failure, parse_policy
from policies.testing import run_score_tests, run_text_tests
from policies.types import Action

POLICY = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: ts@acme.example}
categories:
  weapons: {}
  spam: {}
rules:
  - id: no-weapons
    category: weapons
    classifiers: [encoder]
    stages: [input, output]
    bands: [{gte: 0.5, actions: [block]}]
    MODE
    tests: [TEST]
"""


def outcome(test, mode="mode: enforce"):
    file = parse_policy(POLICY.replace("TEST", test).replace("MODE", mode).encode())
    (result,) = run_score_tests(file.policy, file.tests)
    return result


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ("stage: input, scores: {weapons: 0.5}", "block"),
        ("stage: input, scores: {weapons: 0.4}", "allow"),
        ("stage: input, scores: {spam: 1.0}", "allow"),
        ("stage: output, missing: [weapons]", "block"),
        ("stage: output, missing: [spam]", "allow"),
    ],
)
def test_scores_are_what_every_classifier_of_the_rule_answers(given, expect):
    assert outcome(f"{{name: t, given: {{{given}}}, expect: {expect}}}").passed


def test_a_shadow_rule_is_tested_as_if_it_acted():
    result = outcome(
        "{name: t, given: {stage: input, scores: {weapons: 0.5}}, expect: block}", "mode: shadow"
    )

    assert result.passed
    assert result.decision.action is Action.ALLOW


def test_a_failed_test_says_what_came_instead():
    result = outcome(
        "{name: too bold, given: {stage: input, scores: {weapons: 0.4}}, expect: block}"
    )

    assert not result.passed
    assert failure(result).message == (
        "test `too bold` of rule `no-weapons` expects `block` and got `allow` from no rule"
    )


async def test_a_text_is_judged_by_the_classifiers_as_its_stage_would_send_it():
    asked = []

    async def judge(policy, stage, passage):
        asked.append(passage)
        verdict = Verdict("encoder@1", "weapons", 0.9)
        return Assessment((passage,), ((verdict,),), (), {"weapons": frozenset({"encoder@1"})})

    tests = (
        "{name: a, given: {stage: output, text: how}, expect: block}, "
        "{name: b, given: {stage: input, scores: {}}, expect: allow}"
    )
    file = parse_policy(POLICY.replace("TEST", tests).replace("    MODE\n", "").encode())

    (result,) = await run_text_tests(file.policy, file.tests, judge)

    assert result.passed
    assert [(passage.source, passage.text) for passage in asked] == [(Source.FINAL, "how")]
