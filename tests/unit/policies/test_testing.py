import pytest

from classifiers.panel import Panel
from classifiers.types import Assessment, Source, Verdict
from policies.load import PolicyError, failure, parse_policy, refuse_failures
from policies.testing import judge_of, run_score_tests, run_text_tests
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


CASCADE = "mode: enforce\n    escalate_at: 0.4\n    on_unsupported_language: flag"


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        pytest.param("scores: {weapons: 0.5}", "block", id="everybody answers alike"),
        pytest.param("scores: {weapons: 0.5}, rungs: {safeguard: 0.1}", "allow", id="acquitted"),
        pytest.param("scores: {weapons: 0.4}, rungs: {safeguard: 0.9}", "block", id="convicted"),
        pytest.param("scores: {weapons: 0.3}, rungs: {safeguard: 0.9}", "allow", id="no doubt"),
        pytest.param("scores: {weapons: 0.4}, rungs: {safeguard: null}", "block", id="judge down"),
        pytest.param("unsupported: [weapons]", "flag", id="a language nobody reads"),
        pytest.param("unsupported: [weapons], rungs: {safeguard: 0}", "allow", id="it reads it"),
        pytest.param("unsupported: [weapons], rungs: {safeguard: null}", "block", id="both silent"),
    ],
)
def test_a_cascade_can_be_tested_rung_by_rung(given, expect):
    text = POLICY.replace("[encoder]", "[encoder, safeguard]").replace("MODE", CASCADE)
    test = f"{{name: t, given: {{stage: input, {given}}}, expect: {expect}}}"
    file = parse_policy(text.replace("TEST", test).encode())

    (result,) = run_score_tests(file.policy, file.tests)

    assert result.passed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("scores: {weapons: 0.5}, rungs: {encoder: 0.1}", "`encoder` is not asked in doubt"),
        ("text: how, rungs: {safeguard: 0.1}", "a test gives either"),
        ("unsupported: [weapon]", "unknown category `weapon`; did you mean `weapons`?"),
    ],
)
def test_a_test_that_makes_no_sense_is_refused(given, message):
    text = POLICY.replace("[encoder]", "[encoder, safeguard]").replace("MODE", CASCADE)
    test = f"{{name: t, given: {{stage: input, {given}}}, expect: block}}"

    with pytest.raises(PolicyError) as refused:
        parse_policy(text.replace("TEST", test).encode())

    assert message in str(refused.value)


class Down:
    """A judge that always fails."""

    name, digest, categories = "safeguard@1", "00", frozenset({"weapons"})

    async def classify(self, passages):
        raise RuntimeError("no connection")


class Doubt:
    """An encoder that is never sure."""

    name, digest, categories = "encoder@1", "00", frozenset({"weapons"})

    async def classify(self, passages):
        return [[Verdict(self.name, "weapons", 0.45)] for _ in passages]


async def test_a_test_that_failed_for_want_of_a_judge_is_not_held_against_the_policy():
    text = POLICY.replace("[encoder]", "[encoder, safeguard]").replace("MODE", CASCADE)
    test = "{name: t, given: {stage: input, text: how}, expect: allow}"
    file = parse_policy(text.replace("TEST", test).encode())

    outcomes = await run_text_tests(file.policy, file.tests, judge_of(Panel([Doubt()], [Down()])))

    assert (outcomes[0].passed, outcomes[0].inconclusive) == (False, True)
    assert failure(outcomes[0]).message.endswith("; a judge gave no answer")
    refuse_failures(file, outcomes)


FOR_SOME = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: ts@acme.example}
categories: {weapons: {}}
rules:
  - id: no-weapons
    category: weapons
    stages: [input]
    scope: {projects: [shop]}
    when: "'biology' in request.access || user.strikes > 2"
    bands: [{gte: 0.5, actions: [block]}]
    tests: [TEST]
exceptions:
  - {id: EX-1, rule: no-weapons, action: flag, from: 2026-01-01, until: 2026-02-01, reason: why,
     approved_by: [a, b]}
"""


@pytest.mark.parametrize(
    ("circumstances", "at", "expect"),
    [
        ("{project: shop, strikes: 3}", "null", "block"),
        ("{project: shop, access: [biology]}", "null", "block"),
        ("{project: shop, strikes: 2}", "null", "allow"),
        ("{strikes: 3}", "null", "allow"),
        ("{project: shop, strikes: 3}", "2026-01-01", "flag"),
        ("{project: shop, strikes: 3}", "2026-01-31T23:59:59Z", "flag"),
        ("{project: shop, strikes: 3}", "2026-02-01", "block"),
        ("{project: shop, strikes: 3}", "2025-12-31", "block"),
    ],
)
def test_a_test_says_who_asks_and_when_and_without_a_moment_no_exception_holds(
    circumstances, at, expect
):
    given = f"{{stage: input, circumstances: {circumstances}, at: {at}, scores: {{weapons: 0.6}}}}"
    test = f"{{name: t, given: {given}, expect: {expect}}}"
    file = parse_policy(FOR_SOME.replace("TEST", test).encode())

    (result,) = run_score_tests(file.policy, file.tests)

    assert result.passed


def test_a_canary_is_tested_as_if_it_acted():
    result = outcome(
        "{name: t, given: {stage: input, scores: {weapons: 0.5}}, expect: block}",
        "mode: {canary: 5}",
    )

    assert result.passed
    assert result.decision.action is Action.ALLOW
