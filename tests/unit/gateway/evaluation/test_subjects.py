import pytest

from classifiers.panel import Panel
from classifiers.types import Source, Verdict
from gateway.evaluation.subjects import PanelSubject, PolicySubject
from gateway.evaluation.types import Row
from policies.load import parse_policy

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: small, version: 1.0.0, owner: a@b.example}
defaults: {on_unavailable: block, deadline_ms: 50, max_unscreened_chars: 0}
categories:
  violence: {severity: high, rationale: "It hurts."}
rules:
  - id: no-violence
    category: violence
    stages: [input]
    bands: [{gte: 0.8, actions: [block]}, {gte: 0.5, actions: [flag]}]
    tests:
      - {name: at it, given: {stage: input, scores: {violence: 0.8}}, expect: block}
      - {name: below, given: {stage: input, scores: {violence: 0.4}}, expect: allow}
"""


class Says:
    """Gives every text the same scores."""

    def __init__(self, name, **scores):
        self.name, self.digest = name, name[0] * 64
        self.scores = {key.replace("_or_", "/"): score for key, score in scores.items()}
        self.categories = frozenset(self.scores)
        self.read = []

    async def classify(self, passages):
        self.read.extend(passages)
        return [
            [
                Verdict(self.name, category, score, error="timeout" if score is None else None)
                for category, score in self.scores.items()
                if score != 0
            ]
            for _ in passages
        ]


def policy_over(*classifiers):
    return PolicySubject(parse_policy(POLICY.encode()).policy, Panel(classifiers))


async def test_a_classifier_answers_for_itself():
    subject = PanelSubject([Says("a@1", any=0.7, violence=0.0)], 1000)

    answer = await subject.ask(Row("text", {}))

    assert subject.name == "a@1"
    assert subject.parts == (("a@1", "a" * 64),)
    assert answer.scores == {"any": 0.7}
    assert answer.errors == ()


async def test_on_a_panel_the_highest_score_counts():
    subject = PanelSubject([Says("a@1", violence=0.2), Says("b@1", violence=0.7)], 1000)

    assert subject.name == "a@1 + b@1"
    assert (await subject.ask(Row("text", {}))).scores["violence"] == 0.7


def test_the_digest_changes_with_what_is_asked():
    one, two = Says("a@1", any=0.1), Says("b@1", any=0.1)
    digests = {PanelSubject(panel, 1000).digest for panel in ([one], [two], [one, two])}

    assert len(digests) == 3


async def test_silence_is_no_score():
    subject = PanelSubject([Says("a@1", any=None)], 1000)

    answer = await subject.ask(Row("text", {}))

    assert answer.scores == {"any": None}
    assert answer.errors == ("timeout",)


async def test_without_a_head_for_any_it_is_the_highest_harm():
    subject = PanelSubject([Says("a@1", violence=0.3, hate=0.6, prompt_injection=0.9)], 1000)

    assert "any" in subject.categories
    assert (await subject.ask(Row("text", {}))).scores["any"] == 0.6


async def test_any_is_unknown_if_one_harm_is():
    subject = PanelSubject([Says("a@1", violence=0.3, hate=None)], 1000)

    assert (await subject.ask(Row("text", {}))).scores["any"] is None


async def test_one_that_knows_no_harm_does_not_answer_for_any():
    subject = PanelSubject([Says("a@1", prompt_injection=0.9)], 1000)

    assert "any" not in subject.categories
    assert "any" not in (await subject.ask(Row("text", {}))).scores


async def test_a_reply_is_judged_with_its_prompt():
    classifier = Says("a@1", any=0.1)

    await PanelSubject([classifier], 1000).ask(Row("said", {}, Source.FINAL, "asked"))

    [passage] = classifier.read
    assert (passage.source, passage.text, passage.prompt) == (Source.FINAL, "said", "asked")


@pytest.mark.parametrize(("score", "held"), [(0.9, 1.0), (0.6, None), (0.0, None)])
async def test_a_policy_answers_for_its_decision(score, held):
    answer = await policy_over(Says("a@1", violence=score)).ask(Row("text", {}))

    assert answer.scores.get("decision") == held
    assert ("decision" in answer.scores) == (held is not None)
    assert answer.scores.get("violence", 0.0) == score


async def test_a_block_for_want_of_an_answer_is_no_decision():
    answer = await policy_over(Says("a@1", violence=None)).ask(Row("text", {}))

    assert answer.scores["decision"] is None
    assert answer.scores["violence"] is None


async def test_a_policy_judges_at_the_stage_of_the_row():
    answer = await policy_over(Says("a@1", violence=0.9)).ask(Row("text", {}, Source.FINAL))

    assert "decision" not in answer.scores  # the rule is about input


def with_judge(policy, *, violence):
    panel = Panel([Says("a@1", violence=violence)], [Says("judge@1", hate=0.7, sexual=0.7)])
    return PolicySubject(parse_policy(policy.encode()).policy, panel)


JUDGED = POLICY.replace(
    "rules:",
    """  hate: {severity: high}
rules:
  - id: no-hate
    category: hate
    classifiers: [judge]
    stages: [input]
    bands: [{gte: 0.8, actions: [block]}]
    tests:
      - {name: at it, given: {stage: input, scores: {hate: 0.8}}, expect: block}""",
)


async def test_a_policy_answers_for_what_its_rules_ask_judges():
    subject = with_judge(JUDGED, violence=0.1)

    answer = await subject.ask(Row("text", {}))

    assert subject.categories == {"violence", "hate", "any", "decision"}
    assert answer.scores == {"violence": 0.1, "hate": 0.7, "any": 0.7}


async def test_what_no_rule_asks_at_a_stage_has_no_score_there():
    answer = await with_judge(JUDGED, violence=0.1).ask(Row("text", {}, Source.FINAL))

    assert answer.scores["hate"] is None
    assert answer.scores["any"] == 0.1


def test_a_judge_that_no_rule_names_is_not_answered_for():
    assert with_judge(POLICY, violence=0.1).categories == {"violence", "any", "decision"}


def test_a_policy_is_known_by_its_digest_and_its_classifiers():
    subject = policy_over(Says("a@1", violence=0.1))

    assert [name for name, _ in subject.parts] == ["policy small 1.0.0", "a@1"]
    assert subject.digest != policy_over(Says("b@1", violence=0.1)).digest
