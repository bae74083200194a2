import pytest

from gateway.evaluation.run import Asked, Evaluated
from gateway.evaluation.summary import POOLED, Wanted, summarise
from gateway.evaluation.types import Answer, Fact
from tests.unit.gateway.evaluation.answers import ROWS, evaluated

ONE_THIRD = Wanted(false_positive_rate=1 / 3)


def test_missing_answers_are_counted_and_are_in_no_rate():
    [found] = summarise([evaluated(ROWS)], ONE_THIRD).measured

    assert (found.positives, found.negatives) == (3, 4)
    assert (found.missing_positives, found.missing_negatives) == (1, 1)
    at = found.proposed
    assert (at.caught, at.missed, at.flagged, at.passed) == (2, 0, 1, 2)


def test_a_row_without_a_label_does_not_count():
    with_it = summarise([evaluated(ROWS)], ONE_THIRD).measured[0]
    without = summarise([evaluated(ROWS[:-1])], ONE_THIRD).measured[0]

    assert with_it.table == without.table


def test_the_proposed_threshold_keeps_the_wanted_rate():
    [found] = summarise([evaluated(ROWS)], ONE_THIRD).measured

    assert found.proposed.threshold == 0.3
    assert found.proposed.false_positive_rate == pytest.approx(1 / 3)


def test_a_stricter_rate_catches_less():
    [found] = summarise([evaluated(ROWS)], Wanted(0.0)).measured

    assert found.proposed.threshold == 0.9
    assert (found.proposed.caught, found.proposed.flagged) == (1, 0)


def test_a_set_of_harm_alone_is_measured_at_the_threshold_that_the_others_give():
    harm = evaluated([(True, "", 0.25), (True, "", 0.85)], name="harm")

    mine, alone, pooled = summarise([evaluated(ROWS), harm], ONE_THIRD).measured

    assert [each.set for each in (mine, alone, pooled)] == ["mine", "harm", POOLED]
    assert alone.auprc is None
    assert alone.proposed.threshold == mine.proposed.threshold == pooled.proposed.threshold == 0.25
    assert (alone.proposed.caught, alone.proposed.false_positive_rate) == (2, None)
    assert pooled.proposed.caught == 4


def test_without_safe_texts_no_threshold_is_made_up():
    [found] = summarise([evaluated([(True, "", 0.5)])], ONE_THIRD).measured

    assert found.proposed is None
    assert found.kinds == found.missed == ()


def test_mistakes_are_counted_by_kind():
    [found] = summarise([evaluated(ROWS)], ONE_THIRD).measured

    assert [(k.kind, k.safe, k.flagged, k.harmful, k.missed) for k in found.kinds] == [
        ("poem", 1, 1, 2, 0),
        ("song", 2, 0, 0, 0),
    ]


def test_the_worst_mistakes_come_first():
    rows = [(False, "", 0.1 * n) for n in range(10)] + [(True, "", 0.05 * n) for n in range(4)]

    [found] = summarise([evaluated(rows)], Wanted(0.3)).measured

    assert [mistake.fact.line for mistake in found.flagged] == [11, 10, 9]
    assert [mistake.fact.line for mistake in found.missed] == [12, 13, 14, 15]


def test_latency_is_told_with_what_was_missing():
    [latency] = summarise([evaluated(ROWS)], ONE_THIRD).latencies

    assert (latency.p50, latency.answers, latency.missing) == (2.0, 8, 2)
    assert latency.errors == (("timeout", 2),)


def test_disagreement_is_counted_by_label():
    rows = [
        (True, "", 0.9, 0.9),
        (True, "", 0.9, 0.1),
        (False, "", 0.1, 0.9),
        (False, "", 0.1, 0.1),
        (None, "", 0.9, 0.1),
        (True, "", 0.9, None),
    ]
    [found] = summarise(
        [evaluated(rows, subjects=("a@1", "b@1"))], Wanted(threshold=0.5)
    ).disagreements

    assert found.cells == {
        (True, True, True): 1,
        (True, False, True): 1,
        (False, True, False): 1,
        (False, False, False): 1,
        (True, False, None): 1,
    }
    assert found.missing == 1
    assert found.thresholds == (0.5, 0.5)


def test_a_decision_is_held_against_any():
    facts = tuple(Fact(line, "0", 1, "", {"any": line < 4}) for line in range(2, 6))
    answers = (Answer({"decision": 1.0}), Answer({}), Answer({}), Answer({"decision": None}))
    asked = Asked("policy", frozenset({"decision"}), answers)

    [found] = summarise(
        [Evaluated("mine", "mine.csv", "f" * 64, facts, (asked,))], ONE_THIRD
    ).measured

    assert (found.proposed.caught, found.proposed.missed, found.proposed.passed) == (1, 1, 1)
    assert found.missing_negatives == 1
    assert found.table == ()


def test_only_what_was_asked_for_is_measured():
    assert summarise([evaluated(ROWS)], Wanted(categories=frozenset({"violence"}))).measured == ()


def test_a_category_that_was_left_out_scored_0():
    facts = (Fact(2, "0", 1, "", {"any": True}), Fact(3, "1", 1, "", {"any": False}))
    asked = Asked("a@1", frozenset({"any"}), (Answer({"any": 0.5}), Answer({})))

    [found] = summarise(
        [Evaluated("mine", "mine.csv", "f" * 64, facts, (asked,))], ONE_THIRD
    ).measured

    assert found.missing_negatives == 0
    assert found.auroc == 1.0
