import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.document import MAX_BYTES, DocumentError, read_document


def read(text):
    return read_document(text.encode()).value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("- 1.5\n- 1e3\n- -2", [1.5, 1000.0, -2]),
        ("[true, false, null, ~]", [True, False, None, None]),
        ("a: 'true'", {"a": "true"}),
        ('a: "1"', {"a": "1"}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("\ufeffa: 1", {"a": 1}),
        ("1: x", {"1": "x"}),
    ],
)
def test_it_reads_the_core_schema(text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "0o7", "2026-12-01", "1:30", ".inf", "9" * 40]
)
def test_what_is_special_in_other_versions_of_yaml_is_text(word):
    assert read(f"a: {word}") == {"a": word}


def test_everything_has_a_place():
    document = read_document(b"a:\n  - b: 1\n")

    assert document.place(("a", 0, "b")) == (2, 8)
    assert document.place(("a", 0, "b"), of_key=True) == (2, 5)
    assert document.place(("a", 0, "c")) == (2, 5)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: &x 1", (1, 4), "anchors are not allowed"),
        ("a: *x", (1, 4), "aliases are not allowed"),
        ("a: !!python/name:os.system x", (1, 4), "tags are not allowed"),
        ("a: !own x", (1, 4), "tags are not allowed"),
        ("&k a: 1", (1, 1), "anchors"),
        ("%YAML 1.1\n---\na: 1", (2, 1), "directives"),
        ("a: 1\n---\nb: 2", (2, 1), "one document"),
        ("? [a]\n: b", (1, 3), "a key has to be plain text"),
        ("a: b: c", (1, 5), "mapping values are not allowed here"),
        ("", (1, 1), "the file is empty"),
        ("# only a comment", (1, 1), "the file is empty"),
        ("a: \x00", (1, 1), "a character that YAML does not allow"),
    ],
)
def test_what_is_not_in_the_subset_is_refused_where_it_stands(text, place, message):
    with pytest.raises(DocumentError, match=message) as caught:
        read(text)

    assert (caught.value.problem.line, caught.value.problem.column) == place


def test_a_key_given_twice_is_a_problem_and_reading_goes_on():
    document = read_document(b"a: 1\nb: 2\na: 3\n")

    assert [(at.line, at.message) for at in document.problems] == [(3, "key `a` is given twice")]


def test_the_merge_key_is_an_ordinary_key():
    assert read("<<: 1") == {"<<": 1}


@pytest.mark.parametrize("bomb", ["[" * 5000, "- " * 5000, "{a: " * 5000, "? " * 5000])
def test_deep_nesting_is_refused(bomb):
    with pytest.raises(DocumentError, match=r"nested deeper than 20 levels|plain text"):
        read(bomb)


def test_a_billion_laughs_end_at_the_first_anchor():
    with pytest.raises(DocumentError, match="anchors are not allowed"):
        read('a: &a ["lol"]\nb: &b [*a, *a]\nc: &c [*b, *b]\n')


def test_a_file_that_is_too_large_is_not_parsed():
    with pytest.raises(DocumentError, match="larger than"):
        read_document(b"#" * (MAX_BYTES + 1))


def test_a_file_of_too_many_values_is_not_read_to_the_end(monkeypatch):
    monkeypatch.setattr("policies.document.MAX_VALUES", 100)

    with pytest.raises(DocumentError, match="more than 100 values"):
        read("a: 1\n" * 101)


def test_bytes_that_are_not_utf8_are_refused_with_their_line():
    with pytest.raises(DocumentError) as caught:
        read_document(b"a: 1\nb: \xff\n")

    assert caught.value.problem.line == 2


MARKS = [*"ab:-[]{}?&*!|>'\"#%@,\n\t \\~0", "\u0301", "\x85"]
YAMLISH = st.lists(st.sampled_from(MARKS)).map("".join).map(str.encode)


@given(st.one_of(YAMLISH, st.binary(max_size=60)))
def test_any_bytes_are_read_or_refused(content):
    with contextlib.suppress(DocumentError):
        read_document(content)
