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


@pytest.mark.parametrize("holder", [{"*": "xa", "0": "ya"}, "xa"])
def test_of_what_is_no_list_there_are_no_members(holder):
    assert holds({"l": holder}, "/l/*", matches="x.") is False
    assert holds({"l": [["xa"], holder]}, "/l/*/*", matches="x.") is None


BREAKS = "\n\r\v\f\x1c\x85\u2028\u2029"


@pytest.mark.parametrize("mark", BREAKS)
def test_a_dot_is_for_no_line_break_and_what_says_so_is(mark):
    text = {"t": f"ls{mark}rm x"}

    assert holds(text, "/t", matches="ls.*") is None
    assert holds(text, "/t", matches=r"ls[^\n]*") is (False if mark == "\n" else None)
    assert holds(text, "/t", matches="cat.*") is False
    assert holds(text, "/t", matches="(?s)ls.*") is True
    assert holds(text, "/t", contains="rm") is True


@pytest.mark.parametrize("mark", [*BREAKS, "\0", "\t", "\x1b", "\x7f", "\x9f"])
def test_a_star_in_a_name_is_for_no_control_character(mark):
    text = {"t": f"eve@evil.example{mark}bob@acme.example"}

    assert holds(text, "/t", like=("*@acme.example",)) is None
    assert holds(text, "/t", like=("*@other.example",)) is False
    assert holds({"t": "Zoë O'Neil@acme.example"}, "/t", like=("*@acme.example",)) is True


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
