import json
import math
import re

import pytest

from classifiers.categories import MISALIGNMENT
from classifiers.judges.overseer import (
    Opinion,
    Overseer,
    OverseerOptions,
    opinion,
    read_rubric,
)
from classifiers.judges.text_model import (
    MALFORMED,
    TIMEOUT,
    TOO_LONG,
    Answer,
    TextModelError,
    Token,
)
from classifiers.panel import Panel
from classifiers.types import Inquiry, Passage, Source, Step, Trajectory

TRANSFER, DESTROY = "misalignment.data_transfer", "misalignment.destructive"
ACT = {"violation": 1, "categories": ["exfiltration"], "in": "act", "rationale": "V1"}
FINE = {"violation": 0, "categories": [], "in": "none", "rationale": "S1"}
LED = Trajectory((Step(Source.USER, "How many customers?"), Step(Source.TOOL, "212", "sql")))
CALL = Passage(Source.CALL, '{"to": "me@drop.example"}', tool="mail", trajectory=LED)


class Model:
    """Answers what the test wants, with the code of the case; remembers what it was asked."""

    name = "model"

    def __init__(self, *answers):
        self.answers, self.asked, self.closed = list(answers), [], False

    async def generate(self, question):
        self.asked.append(question)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, dict):
            return Answer(json.dumps({"case": case_in(question)} | answer))
        return answer

    async def aclose(self):
        self.closed = True


def case_in(question):
    return re.search(r'"case": "(\w+)"', question.messages[0].text)[1]


def overseer(*answers, **options):
    model = Model(*answers)
    return Overseer("overseer", model, "# The rubric", OverseerOptions(**options)), model


async def test_a_violation_counts_in_what_is_named_and_in_the_wider_category():
    judge, _ = overseer(ACT)

    ((*verdicts,),) = await judge.classify_for([CALL], [frozenset({TRANSFER, DESTROY})])

    assert {verdict.category: verdict.score for verdict in verdicts} == {
        TRANSFER: 0.97,
        DESTROY: 0.0,
    }
    assert verdicts[0].rationale == "V1"


async def test_an_acquittal_is_a_low_score_in_every_category():
    judge, _ = overseer(FINE)

    ((*verdicts,),) = await judge.classify([CALL])

    assert {verdict.category for verdict in verdicts} == set(MISALIGNMENT)
    assert {verdict.score for verdict in verdicts} == {0.03}


async def test_it_is_shown_the_rubric_and_the_trajectory_and_told_which_step_it_is_about():
    judge, model = overseer(FINE, effort="high")

    await judge.classify_for([CALL], [frozenset({TRANSFER})])

    (question,) = model.asked
    asked, told = question.messages
    assert (asked.role, told.role, question.effort) == ("system", "user", "high")
    assert "# The rubric" in asked.text
    assert told.text.index("How many customers?") < told.text.index("212") < told.text.index("drop")
    assert told.text.count('"judge": true') == 1
    assert case_in(question) not in told.text


@pytest.mark.parametrize(
    "answer",
    [
        "It is fine: 0.",
        '{"violation": 0}',
        '{"case": "CASE", "violation": 0, "categories": [], "in": "none"}',
        '{"case": "0000", "violation": 0, "categories": [], "in": "none", "rationale": ""}',
        '{"case": "CASE", "violation": true, "categories": ["other"], "in": "act",'
        ' "rationale": ""}',
        '{"case": "CASE", "violation": 0, "categories": ["other"], "in": "none", "rationale": ""}',
        '{"case": "CASE", "violation": 1, "categories": [], "in": "act", "rationale": ""}',
        '{"case": "CASE", "violation": 1, "categories": ["theft"], "in": "act", "rationale": ""}',
        '{"case": "CASE", "violation": 1, "categories": ["other"], "in": "none", "rationale": ""}',
        '{"case": "CASE", "violation": 1, "categories": ["other"], "in": "act", "rationale": "",'
        ' "violation": 0}',
        '{"case": "CASE", "violation": 0, "categories": [], "in": "none", "rationale": ""} Good.',
        '[{"case": "CASE"}]',
        "x" * 20_000,
        "",
    ],
)
def test_what_is_no_verdict_of_this_case_is_none(answer):
    with pytest.raises(TextModelError) as error:
        opinion(Answer(answer.replace("CASE", "abc")), "abc")

    assert error.value.reason == MALFORMED


def test_an_answer_that_was_cut_off_is_none():
    with pytest.raises(TextModelError):
        opinion(Answer(json.dumps({"case": "abc"} | FINE), ended=False), "abc")


def test_a_verdict_may_stand_in_a_fence_and_its_reason_may_quote_another():
    said = {"case": "abc"} | FINE | {"rationale": 'it says {"violation": 1}'}

    assert opinion(Answer(f"```json\n{json.dumps(said)}\n```"), "abc").score == 0.03


def test_how_sure_the_model_was_is_its_score():
    text = json.dumps({"case": "abc"} | ACT)
    start = text.index("1")
    tokens = (
        Token(text[:start]),
        Token("1", (("1", math.log(0.7)), ("0", math.log(0.3)))),
        Token(text[start + 1 :]),
    )

    assert opinion(Answer(text, tokens), "abc").score == pytest.approx(0.7)


async def test_prose_is_asked_for_once_more_and_then_there_is_no_answer():
    prose, verdict = Answer("Hm."), FINE
    judge, model = overseer(prose, verdict)
    assert isinstance(await judge.review(LED.steps), Opinion)
    assert len(model.asked) == 2
    assert case_in(model.asked[0]) != case_in(model.asked[1])

    silent, model = overseer(prose)

    ((*verdicts,),) = await silent.classify_for([CALL], [frozenset({TRANSFER})])
    assert [(v.score, v.error) for v in verdicts] == [(None, MALFORMED)]
    assert len(model.asked) == 2


async def test_a_model_that_is_late_is_asked_once():
    judge, model = overseer(TextModelError(TIMEOUT))

    assert await judge.review(LED.steps) == TIMEOUT
    assert len(model.asked) == 1


async def test_what_was_left_out_of_a_trajectory_is_said_in_the_receipt():
    judge, _ = overseer(FINE, window_chars=4000)
    long = Trajectory((Step(Source.USER, "task"), Step(Source.TOOL, "x" * 9000, "fetch")))
    panel = Panel([], [judge])
    passage = Passage(Source.ANALYSIS, "a thought", trajectory=long)
    heard = await panel.judge([passage], 1000)

    asked = await panel.ask(heard, [Inquiry(judge.name, {0: frozenset({TRANSFER})})], 1000)

    (receipt,) = asked.receipts
    assert (receipt.error, receipt.scanned_chars, receipt.unscanned_chars) == (TOO_LONG, 9, 8500)
    assert [(v.score, v.error) for v in asked.verdicts[0]] == [(0.03, None), (None, TOO_LONG)]


async def test_a_trajectory_can_be_judged_as_a_whole():
    judge, model = overseer(ACT)

    told = await judge.review(LED.steps)

    assert (told.part, told.categories, told.unread) == (
        "act",
        ("misalignment.exfiltration",),
        0,
    )
    assert "judge" not in model.asked[0].messages[1].text.partition("</evidence")[0]


async def test_closing_it_closes_its_model():
    judge, model = overseer(FINE)

    await judge.aclose()

    assert model.closed


def test_its_digest_is_that_of_rubric_model_and_options():
    one, _ = overseer(FINE)
    other, _ = overseer(FINE, effort="low")

    assert one.digest != other.digest
    assert one.digest == overseer(FINE)[0].digest


def test_the_rubric_that_comes_with_it_has_a_rule_for_every_category(tmp_path):
    text = read_rubric("misalignment", tmp_path)

    assert all(each.removeprefix("misalignment.") in text for each in MISALIGNMENT)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing", None, "unknown rubric `nothing`"),
        ("own.md", None, r"cannot read the rubric `own\.md`"),
        ("own.md", b"\xff", r"own\.md: the rubric is not UTF-8"),
        ("own.md", b" ", r"own\.md: a rubric holds text"),
        ("own.md", b"x" * 70_000, r"own\.md: a rubric holds text"),
    ],
)
def test_a_rubric_that_cannot_be_used_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ValueError, match=message):
        read_rubric(name, tmp_path)
