import numpy as np
import pytest

from classifiers.encoder_model import MARGIN
from classifiers.training.calibrate import (
    BENIGN_SETS,
    PREVALENCE,
    Scored,
    calibrate,
    scores,
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
    benign = np.concatenate([scores(sets[name], "hate", calibration) for name in BENIGN_SETS])
    assert (benign >= found["1 %"]).mean() == pytest.approx(0.01, abs=0.003)
    assert found["0.1 %"] >= found["0.3 %"] >= found["1 %"] >= found["3 %"]


def test_unknown_labels_do_not_count():
    part = Scored([Example("a", labels={"any": 1.0}), Example("b")], np.zeros((2, len(HEADS))))
    labels, logits = part.of("any")
    assert labels.tolist() == [1.0]
    assert len(logits) == 1
    assert len(part.of("hate")[0]) == 0


def test_a_head_without_a_positive_example_takes_what_is_usual(sets):
    def without(part):
        examples = [
            Example("text", labels={**e.labels, "sexual/minors": 0.0}) for e in part.examples
        ]
        return Scored(examples, part.logits)

    calibration = calibrate({name: without(part) for name, part in sets.items()}, scored(0, -2, 9))
    usual = np.median(
        [one["slope"] for head, one in calibration.items() if head != "sexual/minors"]
    )
    assert calibration["sexual/minors"]["slope"] == pytest.approx(usual, abs=1e-3)


def test_no_harm_is_much_likelier_than_any_harm_at_all(sets):
    calibration = {head: {"slope": 1.0, "offset": 0.0} for head in HEADS}
    logits = np.full((1, len(HEADS)), 5.0)
    logits[0, HEADS.index("any")] = 0.0
    part = Scored([Example("text")], logits)
    assert scores(part, "hate", calibration)[0] == pytest.approx(1 / (1 + np.exp(-MARGIN)))
    assert scores(part, "prompt_injection", calibration)[0] > 0.99
