import numpy as np
import pytest

from classifiers.training.calibrate import (
    BENIGN_SETS,
    PREVALENCE,
    Scored,
    calibrate,
    probabilities,
    thresholds,
)  # fmt: skip
from classifiers.training.example import HEADS, Example

RNG = np.random.default_rng(0)


def scored(label: float, centre: float, count: int = 400) -> Scored:
    examples = [Example("text", labels=dict.fromkeys(HEADS, label)) for _ in range(count)]
    return Scored(examples, RNG.normal(centre, 1.0, size=(count, len(HEADS))))


@pytest.fixture
def sets():
    return {name: scored(0.0, -2.0) for name in BENIGN_SETS} | {"harmful": scored(1.0, 2.0)}


def test_calibrated_scores_are_probabilities_at_the_stated_prevalence(sets):
    aside = scored(1.0, 2.0, 10)
    calibration = calibrate(sets, aside)
    # Two normal distributions of variance 1 at -2 and 2: the log odds are 4 x + log(1 / 9).
    assert calibration["any"]["slope"] == pytest.approx(4, rel=0.15)
    expected = np.log(PREVALENCE / (1 - PREVALENCE))
    assert calibration["any"]["offset"] == pytest.approx(expected, abs=0.5)


def test_a_threshold_is_reached_by_the_share_of_benign_texts_it_names(sets):
    calibration = calibrate(sets, scored(1.0, 2.0, 10))
    found = thresholds(sets, calibration)["hate"]
    benign = np.concatenate([sets[name].logits[:, HEADS.index("hate")] for name in BENIGN_SETS])
    scores = probabilities(benign, calibration["hate"])
    assert (scores >= found["1 %"]).mean() == pytest.approx(0.01, abs=0.003)
    assert found["0.1 %"] >= found["0.3 %"] >= found["1 %"] >= found["3 %"]


def test_unknown_labels_do_not_count():
    part = Scored([Example("a", labels={"any": 1.0}), Example("b")], np.zeros((2, len(HEADS))))
    labels, logits = part.of("any")
    assert labels.tolist() == [1.0]
    assert len(logits) == 1
    assert len(part.of("hate")[0]) == 0
