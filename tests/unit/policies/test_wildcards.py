from fnmatch import fnmatchcase
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from policies.wildcards import kinds_of_names

PATTERNS = st.lists(st.text("ab*", min_size=1, max_size=4), max_size=4)


def matched(patterns, name):
    return tuple(fnmatchcase(name, pattern) for pattern in patterns)


@given(PATTERNS)
def test_every_set_of_patterns_that_a_name_can_match_has_one_name(patterns):
    short = ("".join(letters) for size in range(1, 6) for letters in product("abz", repeat=size))

    names, whole = kinds_of_names(patterns, ["default"])

    kinds = [matched(patterns, name) for name in names]
    assert whole
    assert len(kinds) == len(set(kinds))
    assert set(kinds) >= {matched(patterns, name) for name in short}


def test_names_that_a_reader_knows_come_first():
    names, _ = kinds_of_names(["shop-*", "default"], ["default"])

    assert names[:2] == ["default", "shop-x"]


def test_too_many_patterns_are_not_all_tried(monkeypatch):
    monkeypatch.setattr("policies.wildcards.MOST_STEPS", 10)

    names, whole = kinds_of_names(["a*", "*b"], ["default"])

    assert not whole
    assert {"default", "ax", "xb"} <= set(names)
