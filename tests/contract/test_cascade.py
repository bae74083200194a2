"""Judges behind the classifiers: asked in doubt, missed when down, named in the record."""

from dataclasses import replace

import openai
import pytest

from classifiers.panel import Panel
from classifiers.types import Verdict
from gateway.api.moderation_result import CATEGORIES
from tests.contract.live import DONE, final
from tests.contract.surfaces import SURFACES, ask
from tests.contract.test_moderation import moderation, sides
from tests.contract.test_operations import counted

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: a@acme.example}
defaults:
  on_unsupported_language: flag
  judge_deadline_ms: 300
categories: {violence: {severity: high, rationale: "harm", clause: "1"}}
rules:
  - id: no-violence
    category: violence
    classifiers: [reader, judge]
    escalate_at: 0.4
    stages: [input, reasoning, output]
    on_unavailable: ACTION
    bands: [{gte: 0.8, actions: [block]}, {gte: 0.5, actions: [flag]}]
    message: {user: "no"}
"""


class Reader:
    """Suspects what says `maybe`, is sure of `surely`, and reads ASCII only."""

    name, digest, categories = "reader@1", "00", frozenset(CATEGORIES)

    async def classify(self, passages):
        return [self.verdicts(passage.text) for passage in passages]

    def verdicts(self, text):
        if not text.isascii():
            error = "unsupported_language"
            return [Verdict(self.name, each, None, error=error) for each in sorted(self.categories)]
        score = 0.9 if "surely" in text else 0.45 if "maybe" in text else 0.0
        return [Verdict(self.name, "violence", score)]


class Judge:
    """Answers what the test wants, or fails as it wants; knows one category."""

    digest, categories = "01", frozenset({"violence"})

    def __init__(self, answer, name="judge@2"):
        self.answer, self.name, self.read = answer, name, []

    async def classify(self, passages):
        self.read += [passage.text for passage in passages]
        if isinstance(self.answer, Exception):
            raise self.answer
        return [[Verdict(self.name, "violence", self.answer)] for _ in passages]


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def start(new_gateway, tmp_path):
    def started(answer, on_unavailable="block", judges=True, next_answer=None, escalate_at=0.4):
        path = tmp_path / "acme.yaml"
        text = POLICY.replace("ACTION", on_unavailable)
        text = text.replace("escalate_at: 0.4", f"escalate_at: {escalate_at}")
        if next_answer is not None:
            text = text.replace("judge]", "judge, next]")
            text = text.replace("escalate_at: 0.4", "escalate_at: {judge: 0.4, next: 1.0}")
        path.write_text(text)
        gateway = new_gateway(policy=str(path))
        gateway.script(final("Hello there."), DONE)
        judge, clock = Judge(answer), Clock()
        following = [] if next_answer is None else [Judge(next_answer, "next@1")]
        panel = Panel([Reader()], [judge, *following] if judges else [], clock)
        gateway.services.panel = panel
        gateway.services.pipeline = replace(gateway.services.pipeline, panel=panel)
        gateway.judge, gateway.clock = judge, clock
        return gateway

    return started


DOWN = RuntimeError("no connection")


def rules(answer):
    return [rule for entry in answer.log if "rules" in entry for rule in entry["rules"]]


def test_a_judge_is_asked_in_doubt_and_acquits_on_every_surface(start):
    gateway = start(0.1)
    for surface in SURFACES:
        answer = ask(gateway, surface, "maybe")

        [rule] = rules(answer)
        assert answer.refusal is None
        assert answer.text
        assert (rule["action"], rule["classifier"]) == ("allow", "judge@2")
        assert (rule["score"], rule["suspicion"]) == (0.1, 0.45)
    assert gateway.judge.read == ["maybe"] * len(SURFACES)
    assert counted(gateway)[
        "ostiary_suspicions_total", (("classifier", "judge@2"), ("result", "lowered"))
    ] == len(SURFACES)


def test_a_judge_convicts_and_the_record_names_it(start):
    answer = ask(start(0.9), "chat", "maybe")

    [rule] = rules(answer)
    [entry] = [entry for entry in answer.log if "classifiers" in entry]
    assert answer.status == 400
    assert (rule["classifier"], rule["action"]) == ("judge@2", "block")
    assert [each["id"] for each in entry["classifiers"]] == ["reader@1", "judge@2"]


def test_without_a_doubt_no_judge_is_asked(start):
    gateway = start(DOWN)

    assert ask(gateway, "responses", "Hello!").text
    assert gateway.judge.read == []


def test_a_judge_that_is_down_takes_what_the_policy_says_and_the_record_says_so(start):
    stopped = ask(start(DOWN), "chat", "maybe")
    passed = ask(start(DOWN, "flag"), "chat", "maybe")

    for answer, action in ((stopped, "block"), (passed, "flag")):
        [rule] = rules(answer)
        assert (rule["action"], rule["unavailable"], rule["missing"]) == (action, True, ["failed"])
        assert (rule["classifier"], rule["score"]) == ("reader@1", 0.45)
    assert (stopped.status, passed.status) == (400, 200)


@pytest.mark.parametrize(("next_answer", "status"), [(0.1, 200), (0.9, 400)])
def test_the_next_judge_decides_while_the_first_is_down(start, next_answer, status):
    gateway = start(DOWN, next_answer=next_answer)

    answers = [ask(gateway, "chat", "maybe") for _ in range(4)]

    assert {answer.status for answer in answers} == {status}
    assert {rule["classifier"] for answer in answers for rule in rules(answer)} == {"next@1"}
    assert len(gateway.judge.read) == 3
    ready = gateway.http.get("/readyz")
    [rung] = ready.json()["rungs"]
    assert (ready.status_code, rung["active"], rung["missing"]) == (200, ["next"], ["judge"])
    assert (rung["degraded"], rung["fallback"]) == (True, None)
    rung = ("ostiary_rung_active", (("classifier", "next"), ("rule", "no-violence")))
    assert counted(gateway)[rung] == 1


def test_when_every_judge_is_down_the_policy_decides(start):
    gateway = start(DOWN, next_answer=DOWN)

    answer = ask(gateway, "chat", "maybe")

    [rule] = rules(answer)
    assert (answer.status, rule["action"], rule["unavailable"]) == (400, "block", True)


def test_a_judge_that_is_down_does_not_make_what_the_reader_saw_forgotten(start):
    answer = ask(start(DOWN, "allow"), "chat", "surely")

    [rule] = rules(answer)
    assert (answer.status, rule["action"], rule["score"]) == (400, "block", 0.9)


@pytest.mark.parametrize(
    ("on_unavailable", "escalate_at", "status"),
    [("block", 0.4, 200), ("flag", 0.4, 200), ("block", 0.0, 503), ("flag", 0.0, 200)],
)
def test_readiness_says_who_is_down_and_who_decides(start, on_unavailable, escalate_at, status):
    gateway = start(DOWN, on_unavailable, escalate_at=escalate_at)
    for _ in range(4):  # the last time it is not asked
        ask(gateway, "chat", "maybe")

    answer = gateway.http.get("/readyz")

    ready = answer.json()
    reader, judge = ready["classifiers"]
    assert answer.status_code == status
    assert ready["checks"]["classifiers"] is (status == 200)
    assert ready["degraded"] == ["judge@2"]
    assert (reader["state"], reader["asked"]) == ("ok", "always")
    assert judge == {
        "id": "judge@2",
        "asked": "in doubt",
        "state": "down",
        "since": "2027-01-15T08:00:00+00:00",
        "error": "failed",
    }
    assert ready["rungs"] == [
        {
            "rule": "no-violence",
            "active": ["reader"],
            "degraded": True,
            "missing": ["judge"],
            "fallback": on_unavailable,
        }
    ]
    metrics = counted(gateway)
    assert metrics["ostiary_classifier_up", (("classifier", "judge@2"),)] == 0
    assert metrics["ostiary_classifier_asked_total", (("classifier", "judge@2"),)] == 3
    assert metrics["ostiary_classifier_duration_seconds_count", (("classifier", "judge@2"),)] == 3
    assert metrics["ostiary_rung_active", (("classifier", "reader"), ("rule", "no-violence"))] == 1


def test_a_judge_that_is_down_is_tried_again_and_comes_back(start):
    gateway = start(DOWN, "flag")
    for _ in range(4):
        ask(gateway, "chat", "maybe")
    assert len(gateway.judge.read) == 3  # and not asked the fourth time
    gateway.judge.answer = 0.1

    gateway.clock.now += 10
    answer = ask(gateway, "chat", "maybe")

    assert rules(answer)[0]["classifier"] == "judge@2"
    ready = gateway.http.get("/readyz").json()
    assert ready["rungs"][0]["active"] == ["judge"]
    assert ready["degraded"] == []


FOREIGN = "你好"


def test_a_language_nobody_reads_takes_what_the_policy_says(start):
    answer = ask(start(0.1, judges=False), "chat", FOREIGN)
    [rule] = rules(answer)
    assert (answer.status, rule["action"]) == (400, "block")  # the judge is missing, too
    assert rule["missing"] == ["not_asked", "unsupported_language"]


def test_a_language_the_classifiers_do_not_read_goes_to_the_judge(start):
    gateway = start(0.1)

    answer = ask(gateway, "chat", FOREIGN)

    assert gateway.judge.read == [FOREIGN]
    assert answer.status == 200
    [entry] = [e for e in answer.log if e.get("decision", {}).get("stage") == "input"]
    assert [each["error"] for each in entry["classifiers"]] == ["unsupported_language", None]


# --- Moderation -----------------------------------------------------------------------------


def test_the_moderation_score_is_the_judge_s_where_it_was_asked(start):
    made = start(0.9).client.moderations.create(input=["maybe", "Hello!"])

    assert [result.category_scores.violence for result in made.results] == [0.9, 0.0]
    assert [result.flagged for result in made.results] == [True, False]


def test_a_language_that_nobody_reads_has_no_score_and_the_text_is_named(start):
    gateway = start(0.1)

    with pytest.raises(openai.BadRequestError) as raised:
        gateway.client.with_options(max_retries=2).moderations.create(input=["Hello!", FOREIGN])

    assert (raised.value.code, raised.value.param) == ("unsupported_language", "input[1]")
    assert "`harassment`" in raised.value.message
    assert gateway.show(raised.value.response.headers["x-ostiary-decision-id"])


@pytest.mark.parametrize("surface", SURFACES)
def test_the_moderation_parameter_says_that_a_language_was_not_scored(start, surface):
    answer = ask(start(0.1), surface, FOREIGN, moderation=moderation(input="score"))

    asked, said = sides(answer)
    assert (asked["type"], asked["code"]) == ("error", "unsupported_language")
    assert (said["type"], said["flagged"]) == ("moderation_result", False)


def test_a_caller_who_asks_to_block_gets_the_policy_s_word_on_languages(start):
    answer = ask(start(0.1), "chat", FOREIGN, moderation=moderation(input="block"))

    assert answer.status == 200
    assert {rule["action"] for rule in rules(answer)} == {"flag"}


def test_a_category_without_a_classifier_is_not_zero(start):
    gateway = start(0.1)
    small = Reader()
    small.categories = small.categories - {"sexual/minors"}
    gateway.services.pipeline = replace(gateway.services.pipeline, panel=Panel([small]))

    with pytest.raises(openai.InternalServerError) as raised:
        gateway.client.with_options(max_retries=2).moderations.create(input="Hello!")

    assert (raised.value.status_code, raised.value.code) == (503, "classifier_unavailable")
    assert "`sexual/minors`" in raised.value.message
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_a_flag_stands_though_an_answer_is_missing(start):
    class Half(Reader):
        def verdicts(self, text):
            return [Verdict(self.name, "violence", 0.9), Verdict(self.name, "violence", None)]

    gateway = start(0.1)
    gateway.services.pipeline = replace(gateway.services.pipeline, panel=Panel([Half()]))

    [result] = gateway.client.moderations.create(input="Hello!").results

    assert result.flagged
    assert result.category_scores.violence == 0.9
