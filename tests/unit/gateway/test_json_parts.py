import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.json_parts import JsonReader, Part

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict | list))


def parts(text):
    reader = JsonReader()
    runs = reader.read(text)
    return [(run.part, text[run.start : run.end]) for run in runs], reader.valid


def test_every_part_of_a_document_is_told():
    text = '{"a": "x\\"y", "b": [1.5, true, {"c": null}], "": ""}'

    assert parts(text) == (
        [
            (Part.KEY, "a"),
            (Part.STRING, 'x\\"y'),
            (Part.KEY, "b"),
            (Part.LITERAL, "1.5"),
            (Part.LITERAL, "true"),
            (Part.KEY, "c"),
            (Part.LITERAL, "null"),
            (Part.KEY, ""),
            (Part.STRING, ""),
        ],
        True,
    )


def test_one_document_after_another_is_json():
    assert parts('{"a": 1}\n[2]\n') == (
        [(Part.KEY, "a"), (Part.LITERAL, "1"), (Part.LITERAL, "2")],
        True,
    )


@pytest.mark.parametrize(
    "text",
    [
        *("hello", '"hello"', "42", "[1] is the source", "[link](x)", "{'a': 1}", "{a: 1}"),
        *('{"a" 1}', '{"a": 1,}x', "[1 2]", "[1}", "]", '["\\x"]', '["\\u12g"]', "{,}", "[tru3]"),
        *("[the]", '{"a": "b" "c"}', "[1:2]", '{"a": :', "{]", "[,"),
    ],
)
def test_what_is_no_json_is_told(text):
    assert parts(text) == ([], False)


@given(JSON, st.sampled_from([None, 1]), st.booleans(), st.integers(0, 200))
def test_every_document_is_valid_and_so_is_every_beginning_of_it(value, indent, ascii_only, end):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    assert parts(text)[1]
    assert parts(text[:end])[1]


@given(JSON, st.booleans(), st.lists(st.integers(0, 200), max_size=8))
def test_a_text_read_in_pieces_has_the_same_parts(value, ascii_only, cuts):
    text = json.dumps(value, ensure_ascii=ascii_only)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    reader, joined = JsonReader(), []
    for low, high in pairwise(places):
        for run in reader.read(text[low:high]):
            said = text[low + run.start : low + run.end]
            if run.opened:
                joined[-1] = (run.part, joined[-1][1] + said)
            else:
                joined.append((run.part, said))

    assert (joined, reader.valid) == parts(text)


@given(st.text(alphabet='{}[],:"\\u0123456789abcdef trulns-+.e\n', max_size=60))
def test_any_text_is_read(text):
    parts(text)
    parts("{" + text)
    parts('{"a": "' + text)


def test_a_hostile_text_is_read_in_linear_time():
    for piece in ("[", '{"a":', "\\", '"\\u00', "1", "[1,"):
        parts("[" + piece * 200_000)
        parts('["' + piece * 200_000)
