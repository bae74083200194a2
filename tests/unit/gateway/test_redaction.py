import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from classifiers.types import Span
from gateway.redaction import Redactor
from model_runner.types import Message, Prompt, Role, Tool
from policies.types import Redaction

PROMPT = Prompt("m", (Message(Role.USER, "hello"),))
SPANS = st.lists(st.tuples(st.integers(-5, 30), st.integers(0, 10)), max_size=6)
# `S` is what a span covers; no document below has one of its own.
ALPHABET = 'ab5 "\\\n\té😀/'
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(-1e9, 1e9)
    | st.text(ALPHABET, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(ALPHABET, max_size=8), inner)
    ),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict | list))
PLACES = st.lists(st.tuples(st.integers(0, 120), st.integers(1, 30)), max_size=4)
CUTS = st.lists(st.integers(0, 200), max_size=6)


def hide(*spans, kind="key"):
    return [Redaction(0, Span(start, end, kind)) for start, end in spans]


def redact(text, redactions, start=0, prompt=PROMPT):
    return Redactor(prompt).redact(0, text, redactions, start)


def hide_text(text, *hidden, prompt=PROMPT):
    """Redact every one of `hidden` where it first stands in `text`."""
    spans = [(text.index(each), text.index(each) + len(each)) for each in hidden]
    return redact(text, hide(*spans), prompt=prompt)


def shape(value):
    """What stays of a document whatever is hidden in it: which containers, how large."""
    if isinstance(value, list):
        return [shape(each) for each in value]
    if isinstance(value, dict):
        return [len(value), *(shape(each) for each in value.values())]
    return "scalar"


def test_a_span_is_replaced_by_its_kind():
    assert redact("my key is 123 ok", hide((10, 13))) == "my key is [key] ok"


def test_overlapping_spans_become_one():
    assert redact("abcdefgh", hide((1, 4), (3, 6))) == "a[key]gh"


def test_a_span_that_began_earlier_is_cut_to_the_text():
    assert redact("abcdef", hide((-3, 2))) == "[key]cdef"


def test_what_has_already_left_is_beyond_recall():
    assert redact("abcdefgh", hide((0, 2), (3, 5)), start=4) == "[key]fgh"


@given(st.text("xyz", min_size=30, max_size=30), SPANS, st.integers(0, 30))
def test_nothing_of_a_redacted_span_is_left_after_the_start(text, drawn, start):
    spans = [(first, first + length) for first, length in drawn]
    marked = "".join(
        "S" if any(first <= at < end for first, end in spans) else c for at, c in enumerate(text)
    )

    assert "S" not in redact(marked, hide(*spans), start)


@pytest.mark.parametrize(
    ("text", "hidden", "redacted"),
    [
        ('{"card": 4111111111111111}', "4111111111111111", '{"card": "[key]"}'),
        ('{"card": 4111111111111111}', "1111", '{"card": "[key]"}'),
        (
            '{"password": "Tr0ub4dor", "n": 1}',
            'password": "Tr0ub4dor"',
            '{"password": "[key]", "n": 1}',
        ),
        ('["ada@b.org", 2]', '"ada@b.org"', '["[key]", 2]'),
        ('{"a": "x", "b": "y"}', 'x", "b": "y', '{"a": "[key]", "b": "[key]"}'),
        ('{"ada@b.org": 1}', "ada@b.org", '{"[key]": 1}'),
        ('{"ada@b.org": 1}', '{"ada@b.org": 1}', '{"[key]": "[key]"}'),
        ('["a\\u0068b"]', "068", '["a[key]b"]'),
        ('["\\ud83d\\ude00!"]', "ude00", '["[key]!"]'),
        ('["C:\\\\dir\\n"]', "n", '["C:\\\\dir[key]"]'),
        ("[true, false]", "true", '["[key]", false]'),
        ('{"a": 1}\n{"a": 22}\n', "22", '{"a": 1}\n{"a": "[key]"}\n'),
        ("[1] see 22", "22", "[1] see [key]"),
        ("{'card': 4111}", "4111", "{'card': [key]}"),
    ],
)
def test_what_is_json_stays_json(text, hidden, redacted):
    assert hide_text(text, hidden) == redacted


def test_a_name_that_a_schema_declares_stays():
    schema = {"properties": {"trip": {"type": "object", "properties": {"Paris": {}}}}}
    text = '{"trip": {"Paris": "Paris", "London": 1}}'
    spans = hide((10, 17), (20, 25), (28, 36), kind="location")

    for prompt in (
        Prompt("m", (), json_schema=schema),
        Prompt("m", (), tools=(Tool("go", parameters={"anyOf": [schema]}),)),
    ):
        assert redact(text, spans, prompt=prompt) == (
            '{"trip": {"Paris": "[location]", "[location]": 1}}'
        )


def test_hidden_names_stay_apart():
    text = '{"a@b.org": 1, "c@d.org": 2}'

    assert json.loads(hide_text(text, "a@b.org", "c@d.org")) == {"[key]": 1, "[key] 2": 2}


def test_a_kind_is_escaped_where_it_has_to_be():
    assert redact('["abc"]', hide((2, 5), kind='a"b')) == '["[a\\"b]"]'


def test_a_whole_answer_keeps_its_names():
    text = '{"name": "Ada", "age": 36, "tags": ["x", null]}'

    assert json.loads(redact(text, hide((0, len(text))))) == {
        "name": "[key]",
        "age": "[key]",
        "tags": ["[key]", "[key]"],
    }


def test_a_number_of_which_a_part_has_left_is_ended_there():
    for text, start, redacted in (
        ("[4111]", 3, "]"),
        ("[-4111]", 2, "0]"),
        ("[1.5e9, 7]", 3, "0, 7]"),
        ("[true]", 3, "ue]"),
    ):
        assert redact(text, hide((0, 6)), start).startswith(redacted[:2])
        json.loads(text[:start] + redact(text, hide((0, 6)), start))


def in_passages(text, spans, cuts):
    """Redact `text` cut into passages, as a stream is; a span counts in each that it touches."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    redactor, shown = Redactor(PROMPT), []
    for low, high in pairwise(places):
        mine = [(first - low, end - low) for first, end in spans if low < end and first < high]
        passage = text[low:high]
        cut = [(first, min(end, len(passage))) for first, end in mine]
        shown.append(redactor.redact(3, passage, hide(*cut)))
    return "".join(shown)


@given(JSON, st.booleans(), st.sampled_from([None, 1]), PLACES, CUTS)
@example([{"a": "é😀"}], True, None, [(8, 30)], [9, 13, 17])
def test_json_is_valid_and_keeps_its_shape_whatever_is_hidden_and_wherever_it_is_cut(
    value, ascii_only, indent, drawn, cuts
):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    spans = [(first, min(first + length, len(text))) for first, length in drawn]

    assert shape(json.loads(in_passages(text, spans, cuts))) == shape(value)


@given(JSON, st.booleans(), PLACES, st.integers(0, 200))
def test_json_of_which_a_part_has_left_is_ended_as_json(value, ascii_only, drawn, start):
    text = json.dumps(value, ensure_ascii=ascii_only)
    start %= len(text) + 1
    spans = hide(*((first, min(first + length, len(text))) for first, length in drawn))

    assert shape(json.loads(text[:start] + redact(text, spans, start))) == shape(value)


@given(st.lists(st.text("ab5é😀", max_size=6)), CUTS)
def test_nothing_of_a_hidden_string_is_left_in_json(words, cuts):
    text = json.dumps([f"{word}SECRET{word}" for word in words], ensure_ascii=False)
    spans = [(at, at + 6) for at in range(len(text)) if text.startswith("SECRET", at)]

    shown = in_passages(text, spans, cuts)

    assert not set("SECRT") & set(shown)
    assert [each.replace("[key]", "") for each in json.loads(shown)] == [
        word + word for word in words
    ]


@given(st.text(max_size=60), SPANS, st.integers(0, 60), st.sampled_from(["", "[", '{"a": "']))
def test_any_text_is_redacted_without_an_error(text, drawn, start, head):
    spans = hide(*((first, first + length) for first, length in drawn if length))

    redact(head + text, spans, start)


def test_many_spans_in_a_long_document_take_bounded_time():
    text = json.dumps(["\\u00e9" * 20] * 5_000)
    spans = hide(*((at, at + 3) for at in range(0, len(text), 40)))

    assert len(json.loads(redact(text, spans))) == 5_000
