import math

import numpy as np
import pytest

from classifiers.training.measure import measure, reliability, share_at_least

LABELS = np.array([1.0, 0.0, 1.0, 0.0])
SCORES = np.array([0.9, 0.8, 0.7, 0.1])


def test_a_hand_computed_case():
    found = measure(LABELS, SCORES, 0.75)
    assert (found.positives, found.negatives) == (2, 2)
    assert found.auprc == pytest.approx((1 + 2 / 3) / 2)
    assert found.auroc == pytest.approx(3 / 4)
    assert (found.precision, found.recall) == (0.5, 0.5)


def test_what_one_label_alone_cannot_say_is_not_said():
    found = measure(np.ones(3), np.array([0.1, 0.5, 0.9]), 0.5)
    assert found.auprc is None
    assert found.auroc is None
    assert found.recall == pytest.approx(2 / 3)


def test_no_scores_have_no_share():
    assert math.isnan(share_at_least(np.array([]), 0.5))


def test_reliability_of_perfect_probabilities_is_the_diagonal():
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(size=50_000)
    labels = (rng.uniform(size=50_000) < probabilities).astype(float)
    means, shares = reliability(labels, probabilities)
    np.testing.assert_allclose(means, shares, atol=0.02)
