import asyncio
import json

import pytest

from classifiers.panel import Panel
from classifiers.types import Verdict
from policies.circumstances import ANYBODY, AgeGroup, Circumstances
from policies.labelled import (
    Example,
    ExampleOutcome,
    ExamplesError,
    Floor,
    Tally,
    judge_examples,
    missed_floors,
    read_examples,
    read_floors,
    tallies,
)
from policies.load import parse_policy
from policies.testing import judge_of
from policies.types import Action, Stage

CSV = b"id,text,stage,category,label,note\na,bad one,output,x,1,\nb,fine,output,x,0,a note\n"
POLICY = b"""
apiVersion: ostiary/v1
kind: Policy
metadata: {id: small, version: 1.0.0, owner: me}
categories: {x: {}, y: {}}
rules:
  - {id: stops, category: x, stages: [input, output],
     bands: [{gte: 0.9, actions: [block]}, {gte: 0.5, actions: [flag]}]}
  - {id: marks, category: y, stages: [output], scope: {age_groups: [minor]},
     bands: [{gte: 0.5, actions: [flag]}]}
  - {id: asks, category: y, stages: [input], classifiers: [words, judge], escalate_at: 0.2,
     bands: [{gte: 0.9, actions: [block]}]}
"""


class Words:
    """Scores a text by the number that it ends with, in the category that it begins with."""

    name = "words@1"
    digest = "0" * 64
    categories = frozenset({"x", "y"})

    async def classify(self, passages):
        said = [passage.text.split() for passage in passages]
        return [[Verdict(self.name, words[0], float(words[-1]))] for words in said]


def judged(*examples, given=ANYBODY):
    policy = parse_policy(POLICY).policy
    judge = judge_of(Panel([Words()]))
    return asyncio.run(judge_examples(policy, examples, given, judge, "small.csv"))


def example(text, label=True, stage=Stage.OUTPUT, **more):
    return Example("1", text, label, stage, **{"category": text.split()[0], **more})


def test_columns_are_found_by_their_names_in_any_order():
    (first, second) = read_examples(b"Violation,id,Content\n1,a,bad\nno,b,good\n", "s.csv", "spam")

    assert first == Example("a", "bad", True, Stage.INPUT, "spam", line=2)
    assert (second.text, second.label, second.line) == ("good", False, 3)


def test_what_a_row_says_of_stage_category_and_rule_is_kept():
    (row,) = read_examples(b"text,label,stage,category,rule\nt,1,reasoning,x,stops\n", "s.csv")

    assert (row.stage, row.category, row.rule) == (Stage.REASONING, "x", "stops")


def test_a_text_of_several_lines_keeps_the_line_numbers_right():
    content = b'text,label\n"one\ntwo",1\n\nthree,maybe\n'

    with pytest.raises(ExamplesError, match=r"s\.csv:5: a label is 1 or 0, not `maybe`"):
        read_examples(content, "s.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"s\.csv:1: there is no column `text`, `content`, `prompt`"),
        (b"text,category\n", r"s\.csv:1: there is no column `label`, `violation`"),
        (b"text,label\n", r"s\.csv:1: there are no examples"),
        (b"text,label\na,1,2\n", r"s\.csv:2: the header has 2 columns, this row 3"),
        (b"text,label\n  ,1\n", r"s\.csv:2: a text has 1 to 20000 characters"),
        (b"text,label,stage\na,1,outptu\n", r"s\.csv:2: unknown stage `outptu`; did you mean `out"),
        (b'text,label\n"a,1\n', r"s\.csv:\d: "),
        (b"text,label\na,1\n\xff,1\n", r"s\.csv:3: the file is not UTF-8"),
    ],
)
def test_a_broken_set_is_named_with_its_line(content, message):
    with pytest.raises(ExamplesError, match=message):
        read_examples(content, "s.csv")


def test_floors_say_who_asks():
    floors = read_floors(
        b'[minors]\nrecall = 0.9\ncircumstances = {age_group = "minor"}\n[x]\n', "floors.toml"
    )

    assert floors == {
        "minors": Floor(0.9, 1.0, Circumstances(age_group=AgeGroup.MINOR)),
        "x": Floor(),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[x]\nrecal = 1.0\n", r"floors\.toml: x\.recal: extra inputs"),
        (b"[x]\nrecall = 2.0\n", r"floors\.toml: x\.recall: "),
        (b"x = 1\n", r"floors\.toml: x: "),
        (b"[x\n", r"floors\.toml: this is not TOML"),
    ],
)
def test_broken_floors_are_named(content, message):
    with pytest.raises(ExamplesError, match=message):
        read_floors(content, "floors.toml")


def test_a_rule_that_can_stop_finds_what_it_stops_and_not_what_it_only_marks():
    stopped, marked = judged(example("x 0.9"), example("x 0.6"))

    assert (stopped.action, stopped.found) == (Action.BLOCK, {"stops": True})
    assert (marked.action, marked.found) == (Action.FLAG, {"stops": False})


def test_a_rule_that_only_marks_finds_what_it_marks():
    (outcome,) = judged(example("y 0.6"), given=Circumstances(age_group=AgeGroup.MINOR))

    assert outcome.found == {"marks": True}


def test_an_example_that_no_rule_is_for_is_a_mistake_in_the_set():
    with pytest.raises(ExamplesError, match=r"small\.csv:1: no rule is for `y` at `output`"):
        judged(example("y 0.6"))


def test_an_example_may_be_for_one_rule_only():
    with pytest.raises(ExamplesError, match=r"no rule is for `stop` .*; did you mean `stops`"):
        judged(example("x 0.6", rule="stop"))


def test_what_was_decided_for_want_of_a_judge_is_said():
    in_doubt, clear = judged(
        example("y 0.3", stage=Stage.INPUT), example("y 0.1", stage=Stage.INPUT)
    )

    assert (in_doubt.found, in_doubt.undecided) == ({"asks": True}, {"asks"})
    assert (clear.found, clear.undecided) == ({"asks": False}, frozenset())


def test_an_example_is_found_if_any_rule_found_it_and_each_rule_is_counted_for_itself():
    hit = ExampleOutcome(example("x 1"), Action.BLOCK, {"a": True, "b": False}, frozenset({"a"}))
    wrong = ExampleOutcome(example("x 1", label=False), Action.BLOCK, {"b": True})

    counted = tallies([hit, wrong])

    assert counted.whole == Tally(caught=1, flagged=1, undecided=1)
    assert counted.rules == {"a": Tally(caught=1, undecided=1), "b": Tally(missed=1, flagged=1)}


def test_a_floor_that_is_kept_to_the_last_example_is_no_miss():
    tally = Tally(caught=9, missed=1, flagged=1, passed=9)

    assert list(missed_floors(tally, Floor(0.9, 0.1))) == []
    assert list(missed_floors(tally, Floor(0.91, 0.09))) == [
        "recall is 0.900, below its floor 0.91",
        "false positives are 0.100, above their ceiling 0.09",
    ]


def test_a_set_without_positives_has_no_recall_to_miss():
    assert list(missed_floors(Tally(passed=3), Floor(1.0, 0.0))) == []


def test_the_rows_of_a_set_are_read_in_order():
    assert [row.id for row in read_examples(CSV, "s.csv")] == ["a", "b"]


def read(text):
    return read_examples(text.encode(), "small.csv")


def test_a_row_may_say_what_happened_before_and_what_the_model_was_told():
    given = {
        "call": {"tool": "mail"},
        "trajectory": [{"result_of": "web", "text": "A page."}],
        "secrets": {"tool:web": ["k3Jx9QpLm2Vt7RzW"]},
    }
    quoted = json.dumps(given).replace('"', '""')

    (found,) = read(f'text,label,stage,rule,given\n{{}},1,tool_call,r,"{quoted}"\n')

    assert (found.past.called, found.past.arguments) == ("mail", "{}")
    assert [(step.tool, step.text) for step in found.past.steps] == [("web", "A page.")]
    assert [secret.origin for secret in found.secrets.known] == ["tool:web"]


@pytest.mark.parametrize("given", ["[1]", "no", '{"steps": 1}', '{"call": {"tool": "a b"}}'])
def test_what_an_inline_test_may_not_give_is_an_error_with_its_line(given):
    quoted = given.replace('"', '""')

    with pytest.raises(ExamplesError, match=r":2: `given`"):
        read(f'text,label,stage,rule,given\nx,1,tool_call,r,"{quoted}"\n')
