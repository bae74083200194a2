import pytest

from gateway.evaluation.disagreement import APART, disagreements, label_of
from gateway.evaluation.types import Fact
from tests.unit.gateway.evaluation.answers import evaluated

ROWS = [
    (True, "", 0.9, 0.9),
    (True, "", 0.9, 0.4),
    (False, "", 0.6, 0.1),
    (False, "", 0.1, 0.8),
    (None, "", 0.1, 0.1),
    (True, "", None, 0.9),
]


def compared(rows=ROWS, threshold=0.5, categories=frozenset()):
    sets = [evaluated(rows, subjects=("a@1", "b@1"))]
    return list(disagreements(sets, lambda _subject, _category: threshold, categories))


def test_rows_are_counted_by_who_matches_and_label():
    [found] = compared()

    assert found.cells == {
        (True, True, True): 1,
        (True, False, True): 1,
        (True, False, False): 1,
        (False, True, False): 1,
        (False, False, None): 1,
    }
    assert found.missing == 1


def test_rows_on_which_they_disagree_are_listed_furthest_apart_first():
    [found] = compared()

    assert [(row.first, row.second) for row in found.only_first] == [(0.9, 0.4), (0.6, 0.1)]
    assert [(row.first, row.second, row.label) for row in found.only_second] == [(0.1, 0.8, False)]


def test_only_so_many_are_listed():
    [found] = compared([(True, "", 0.6 + number / 100, 0.1) for number in range(APART + 5)])

    assert len(found.only_first) == APART
    assert found.only_first[0].first == pytest.approx(0.6 + (APART + 4) / 100)


def test_a_category_that_nobody_matched_or_labelled_is_left_out():
    assert compared([(None, "", 0.1, 0.2)]) == []
    assert len(compared([(None, "", 0.1, 0.7)])) == 1
    assert len(compared([(False, "", 0.1, 0.2)])) == 1


def test_without_a_threshold_there_is_nothing_to_compare():
    assert compared(threshold=None) == []


def test_only_wanted_categories_are_compared():
    assert compared(categories=frozenset({"violence"})) == []


@pytest.mark.parametrize(
    ("labels", "held"),
    [
        ({"any": True}, True),
        ({"any": False}, False),
        ({"any": False, "prompt_injection": True}, True),
        ({"prompt_injection": False}, False),
        ({"prompt_injection": False, "violence": True}, True),
        ({"violence": False}, None),
        ({"pii.email": True}, None),
        ({"any": False, "secrets.credential": True}, False),
        ({}, None),
    ],
)
def test_harm_and_attacks_are_to_be_held_back(labels, held):
    assert label_of(Fact(1, "0" * 16, 4, "", labels), "decision") is held
