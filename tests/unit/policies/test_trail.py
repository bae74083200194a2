import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.types import UNSUPPORTED_LANGUAGE, Assessment, Passage, Source, Verdict
from policies.trail import MalformedArguments, digest_of, heard_of, read_arguments

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text("abcdef", max_size=4), VALUES, max_size=4)


@given(OBJECTS)
def test_arguments_are_read_as_json_has_them(value):
    assert read_arguments(json.dumps(value)) == value
    assert read_arguments(json.dumps(value, ensure_ascii=False, indent=2)) == value


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    with suppress(MalformedArguments):
        assert isinstance(read_arguments(text), dict)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '"x"',
        "{",
        '{"a": 1} {"a": 1}',
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "\\u0062": 2}}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        '{"a": 1e400}',
        '{"a": [-1.5E+999]}',
        '{"a": "\\udc00"}',
        '{"a": ' + "[" * 20_000 + "]" * 20_000 + "}",
        '{"a": ' + "9" * 5000 + "}",
        "{'a': 1}",
        '{"a": 1,}',
    ],
)
def test_what_two_readers_may_read_in_two_ways_is_refused(text):
    with pytest.raises(MalformedArguments):
        read_arguments(text)


def test_calls_are_the_same_however_their_json_is_laid_out():
    one = digest_of("f", '{"a": 1, "b": [1, 2]}')

    assert digest_of("f", '{"b":[1,2],"a":1}') == one
    assert digest_of("g", '{"a": 1, "b": [1, 2]}') != one
    assert digest_of("f", '{"a": 1, "b": [2, 1]}') != one
    assert digest_of("f", "no json") == digest_of("f", "no json") != digest_of("f", "no  json")


COVERED = {"a": frozenset({"r@1", "s@1"}), "b": frozenset({"r@1"}), "c": frozenset()}


def heard(*verdicts, asked=()):
    places = {judge: frozenset({(0, "a")}) for judge in asked}
    passage = Passage(Source.TOOL, "")
    return heard_of(Assessment((passage,), (verdicts,), (), COVERED, {}, places), 0)


def test_a_score_is_known_only_if_everybody_answered():
    said = heard(Verdict("r@1", "a", 0.3), Verdict("s@1", "a", 0.7))
    half = heard(Verdict("r@1", "a", 0.9), Verdict("s@1", "a", None, error="timeout"))

    assert said.scores == {"a": 0.7, "b": 0.0}
    assert half.scores == {"b": 0.0}
    assert half.unread == {}


def test_what_only_a_language_hides_is_told_apart_with_what_came():
    missing = Verdict("s@1", "a", None, error=UNSUPPORTED_LANGUAGE)
    late = Verdict("r@1", "a", None, error="timeout")

    assert heard(Verdict("r@1", "a", 0.4), missing).unread == {"a": 0.4}
    assert heard(late, missing).unread == {}


def test_judges_are_left_out_since_another_rule_may_have_asked_them():
    said = heard(Verdict("judge@1", "a", 0.9), asked=["judge@1"])

    assert said.scores["a"] == 0.0
