import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, cohen_kappa_score, roc_auc_score

from gateway.evaluation.measures import (
    area_under_roc,
    at_threshold,
    average_precision,
    bootstrap_average_precision,
    calibration_error,
    curve,
    kappa,
    reliability,
    threshold_for,
    wilson,
)

SCORES = np.array([0.9, 0.8, 0.8, 0.4, 0.1])
LABELS = np.array([True, True, False, True, False])


def drawn(seed, count=400, ties=20):
    draw = np.random.default_rng(seed)
    labels = draw.random(count) < 0.3
    scores = np.clip(draw.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    return np.round(scores * ties) / ties, labels


def test_a_curve_worked_out_by_hand():
    found = curve(SCORES, LABELS)

    assert found.thresholds.tolist() == [0.9, 0.8, 0.4, 0.1]
    assert found.caught.tolist() == [1, 2, 3, 3]
    assert found.flagged.tolist() == [0, 1, 1, 2]
    assert (found.positives, found.negatives) == (3, 2)


def test_average_precision_worked_out_by_hand():
    # 1/3 of recall at precision 1, 1/3 at 2/3, 1/3 at 3/4
    assert average_precision(curve(SCORES, LABELS)) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_area_under_roc_worked_out_by_hand():
    # pairs: 0.9 beats both, 0.8 ties one and beats one, 0.4 loses one and beats one
    assert area_under_roc(curve(SCORES, LABELS)) == pytest.approx((2 + 1.5 + 1) / 6)


@pytest.mark.parametrize("seed", range(20))
def test_areas_agree_with_scikit_learn(seed):
    scores, labels = drawn(seed)
    found = curve(scores, labels)

    assert average_precision(found) == pytest.approx(average_precision_score(labels, scores))
    assert area_under_roc(found) == pytest.approx(roc_auc_score(labels, scores))


def test_areas_of_one_class_are_not_made_up():
    only = curve(np.array([0.2, 0.9]), np.array([True, True]))

    assert average_precision(only) is None
    assert area_under_roc(only) is None
    assert bootstrap_average_precision(np.array([0.2, 0.9]), np.array([True, True])) is None


def test_nothing_at_all_has_no_figures():
    nothing, none = np.array([]), np.array([], dtype=bool)

    assert average_precision(curve(nothing, none)) is None
    assert threshold_for(nothing, none, 0.01) is None
    assert calibration_error(reliability(nothing, none)) is None


@pytest.mark.parametrize(
    ("matched", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table 1
    ],
)
def test_wilson_intervals_as_published(matched, count, low, high):
    assert wilson(matched, count) == pytest.approx((low, high), abs=1e-4)


def test_a_threshold_worked_out_by_hand():
    found = at_threshold(SCORES, LABELS, 0.8)

    assert (found.caught, found.missed, found.flagged, found.passed) == (2, 1, 1, 1)
    assert found.recall == pytest.approx(2 / 3)
    assert found.false_positive_rate == 0.5
    assert found.precision == pytest.approx(2 / 3)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
    st.floats(0, 1),
)
def test_a_threshold_for_a_rate_keeps_it_and_none_lower_would(rows, rate):
    scores = np.array([score for score, _ in rows])
    labels = np.array([label for _, label in rows])

    threshold = threshold_for(scores, labels, rate)

    if labels.all():
        assert threshold is None
        return
    negatives = scores[~labels]
    if threshold is None:
        assert (negatives > 1.0 - 1e-4).mean() > rate
        return
    assert (negatives >= threshold).mean() <= rate + 1e-6
    lower = [score for score in scores if score < threshold - 1e-4]
    assert not lower or (negatives >= max(lower)).mean() > rate - 1e-6


def test_of_the_thresholds_that_catch_as_much_the_highest_is_proposed():
    scores = np.array([0.0, 0.0, 0.75, 0.9])
    labels = np.array([False, False, True, True])

    assert threshold_for(scores, labels, 0.01) == 0.75


def test_no_threshold_is_found_where_safe_texts_score_1():
    assert threshold_for(np.array([1.0, 1.0, 0.2]), np.array([False, False, True]), 0.4) is None


def test_a_bootstrap_holds_the_figure_and_repeats_itself():
    scores, labels = drawn(3, ties=1000)
    low, high = bootstrap_average_precision(scores, labels, seed=7)

    assert low < average_precision(curve(scores, labels)) < high
    assert high - low < 0.25
    assert (low, high) == bootstrap_average_precision(scores, labels, seed=7)
    assert (low, high) != bootstrap_average_precision(scores, labels, seed=8)


def test_a_bootstrap_draws_as_drawing_rows_does():
    scores, labels = drawn(5)
    draw = np.random.default_rng(1)
    found = []
    for _ in range(1000):
        rows = draw.integers(0, len(scores), len(scores))
        found.append(average_precision_score(labels[rows], scores[rows]))

    low, high = bootstrap_average_precision(scores, labels, seed=2)

    assert (low, high) == pytest.approx(np.percentile(found, [2.5, 97.5]), abs=0.02)


def test_calibration_worked_out_by_hand():
    scores = np.array([0.05, 0.15, 0.95, 0.85, 1.0])
    labels = np.array([False, True, True, True, False])

    bins = reliability(scores, labels)

    assert [(each.low, each.count) for each in bins] == [(0.0, 1), (0.1, 1), (0.8, 1), (0.9, 2)]
    expected = (0.05 + 0.85 + 0.15 + 2 * abs(0.975 - 0.5)) / 5
    assert calibration_error(bins) == pytest.approx(expected)


def test_agreement_agrees_with_scikit_learn():
    first = [1] * 30 + [0] * 70
    second = [1] * 20 + [0] * 10 + [1] * 5 + [0] * 65

    assert kappa(20, 10, 5, 65) == pytest.approx(cohen_kappa_score(first, second))
    assert kappa(0, 0, 0, 10) is None
