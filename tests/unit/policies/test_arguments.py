import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.arguments import ArgumentTest, BadExpression, all_hold, compiled, well_formed

NESTED = {"a": {"b/c": [{"d": "x"}, {"d": "y"}], "": 1, "e~": "t"}, "n": 2.5, "0": "zero"}


def holds(arguments, pointer, **test):
    return all_hold((ArgumentTest(pointer, **test),), json.dumps(arguments))


@pytest.mark.parametrize(
    ("pointer", "text"),
    [("/a/b~1c/0/d", "x"), ("/a/b~1c/1/d", "y"), ("/a/e~0", "t"), ("/0", "zero")],
)
def test_a_pointer_leads_to_one_value(pointer, text):
    assert holds(NESTED, pointer, matches=text)
    assert not holds(NESTED, pointer, matches="other")


@pytest.mark.parametrize("pointer", ["/none", "/a/b~1c/2/d", "/a/b~1c/-/d", "/n/x", "/a/*/d"])
def test_where_there_is_nothing_nothing_fits(pointer):
    assert holds(NESTED, pointer, contains="") is False


@pytest.mark.parametrize(
    ("texts", "told"),
    [(["xa", "xb"], True), (["ya", "yb"], False), (["xa", "yb"], None), ([], False), ([1], None)],
)
def test_of_a_list_all_have_to_agree(texts, told):
    assert holds({"l": texts}, "/l/*", matches="x.") is told


@pytest.mark.parametrize(
    ("number", "told"), [(1, True), (3, True), (3.01, False), (0, False), (True, None), ("2", None)]
)
def test_numbers_are_between_their_bounds(number, told):
    assert holds({"n": number}, "/n", at_least=1, at_most=3) is told


def test_what_is_false_is_not_made_doubtful_by_what_cannot_be_told():
    tests = (ArgumentTest("/a", matches="x"), ArgumentTest("/b", matches="x"))

    assert all_hold(tests, '{"a": 1, "b": "y"}') is False
    assert all_hold(tests, '{"a": 1, "b": "x"}') is None


@given(st.text(max_size=60))
def test_any_arguments_are_told_about(text):
    told = all_hold((ArgumentTest("/a/*", contains="x"),), text)

    assert told in (True, False) or told is None
    assert well_formed(text) or told is None


def test_without_tests_everything_fits_and_is_not_even_read():
    assert all_hold((), "no json")


@pytest.mark.parametrize("expression", ["(", "(?=x)", r"(a)\1"])
def test_what_is_not_re2_is_refused(expression):
    with pytest.raises(BadExpression):
        compiled(expression)
