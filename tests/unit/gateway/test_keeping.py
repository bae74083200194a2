import json

import pytest

from classifiers.types import Passage, Source, Span
from gateway.keeping import fields, said
from policies.types import Redaction, Stage


def passage(text, source=Source.USER, tool=None):
    return Passage(source, text, tool=tool)


def kept(waiting):
    return {name: json.loads(text) for name, (_, text) in fields(waiting).items()}


def test_each_stage_is_a_field_and_says_who_said_what():
    waiting = [
        *said(Stage.INPUT, [passage("Be kind.", Source.SYSTEM), passage("Hello!")], ()),
        *said(Stage.TOOL_RESULT, [passage("42", Source.TOOL, "add")], ()),
    ]

    assert kept(waiting) == {
        "input": [{"source": "system", "text": "Be kind."}, {"source": "user", "text": "Hello!"}],
        "tool_result": [{"source": "tool", "text": "42", "tool": "add"}],
    }


def test_what_was_decided_to_be_hidden_is_not_kept():
    text = "My number is 123-45-6789, thanks."
    cut = Redaction(1, Span(13, 24, "us_ssn"))

    [first, second] = said(Stage.INPUT, [passage(text), passage(text)], [cut])

    assert first.text == text
    assert second.text == "My number is [us_ssn], thanks."


def test_pieces_of_one_message_are_one_text():
    pieces = [
        *said(Stage.OUTPUT, [passage("Well, ", Source.FINAL)], (), 1),
        *said(Stage.OUTPUT, [passage("no.", Source.FINAL)], (), 1),
        *said(Stage.OUTPUT, [passage("Or yes.", Source.FINAL)], (), 2),
    ]

    assert kept(pieces) == {
        "output": [{"source": "final", "text": "Well, no."}, {"source": "final", "text": "Or yes."}]
    }


def test_messages_of_a_prompt_stay_apart():
    waiting = said(Stage.INPUT, [passage("one"), passage("two")], ())

    assert len(kept(waiting)["input"]) == 2


def test_the_length_counts_text_alone():
    [(chars, _)] = fields(said(Stage.INPUT, [passage("añb"), passage("c")], ())).values()

    assert chars == 4


@pytest.mark.parametrize("text", ["half a \ud800 character", "\x00", "日本"])
def test_any_text_can_be_kept(text):
    [(_, document)] = fields(said(Stage.INPUT, [passage(text)], ())).values()

    assert json.loads(document)[0]["text"] == text.encode("utf-8", "replace").decode()
