"""Turns logits into probabilities, and says where thresholds come from.

Platt scaling: two numbers a head, fitted where the model was not trained. Harmful texts
are weighed as one in ten, whatever their share in the sets, so that a score of .5 means
the same for a frequent harm and a rare one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from classifiers.encoder_model import Model, coherent
from classifiers.encoder_text import Shown
from classifiers.training.example import HEADS, Example

PREVALENCE = 0.1
FEWEST = 30  # harmful texts to fit two numbers to; of fewer, chance makes them
RATES = (0.001, 0.003, 0.01, 0.03)  # false positives on benign validation texts
BENIGN_SETS = ("arena-hard", "fuzzyai benign", "xsafety commonsense")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """Examples and their logits.

    Attributes:
        examples: As read.
        logits: (examples, heads), float64: the highest of each example's windows.
    """

    examples: Sequence[Example]
    logits: Floats

    def of(self, head: str) -> tuple[Floats, Floats]:
        """Return labels and logits of the examples whose label for `head` is known."""
        known = [i for i, e in enumerate(self.examples) if head in e.labels]
        labels = np.array([self.examples[i].labels[head] >= 0.5 for i in known], dtype=float)
        return labels, self.logits[known, HEADS.index(head)]


def score(model: Model, examples: Sequence[Example], most: int = 16) -> Scored:
    """Read the first `most` windows of each example, as serving does."""
    jobs = [
        (index, shown)
        for index, example in enumerate(examples)
        for shown in model.windows(example.kind, example.text[:100_000], example.prompt, most)
    ]
    logits = np.full((len(examples), len(HEADS)), -math.inf)
    batches = list(_batches(jobs))
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # a run has one thread of its own
        rows = threads.map(lambda batch: model.run([shown for _, shown in batch]), batches)
        for batch, found in zip(batches, rows, strict=True):
            for (index, _), row in zip(batch, found, strict=True):
                logits[index] = np.maximum(logits[index], row)
    return Scored(examples, logits)


def _batches(jobs: list[tuple[int, Shown]]) -> Iterator[list[tuple[int, Shown]]]:
    jobs.sort(key=lambda job: len(job[1].ids))
    for begin in range(0, len(jobs), 32):
        yield jobs[begin : begin + 32]


def calibrate(sets: Mapping[str, Scored], aside: Scored) -> dict[str, dict[str, float]]:
    """Return slope and offset for each head: probability = sigmoid(slope * logit + offset).

    Args:
        sets: The validation sets by name, none of them trained on.
        aside: Rows of the training sources that were not trained on. Where no validation
            set labels a head they are all there is, which flatters it.

    Returns:
        A head with fewer than `FEWEST` harmful texts takes the medians of the others.
    """
    pairs = {head: _pooled([*sets.values(), aside], head) for head in HEADS}
    fitted = {head: _platt(*pair) for head, pair in pairs.items() if pair[0].sum() >= FEWEST}
    usual = {
        name: round(median(one[name] for one in fitted.values()), 4) for name in ("slope", "offset")
    }
    return {head: fitted.get(head, usual) for head in HEADS}


def _pooled(parts: Sequence[Scored], head: str) -> tuple[Floats, Floats]:
    pairs = [part.of(head) for part in parts]
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _platt(labels: Floats, logits: Floats) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression

    share = labels.mean()
    weights = np.where(labels > 0, PREVALENCE / share, (1 - PREVALENCE) / (1 - share))
    fitted = LogisticRegression(C=100.0).fit(logits[:, None], labels, sample_weight=weights)
    return {
        "slope": round(float(fitted.coef_[0, 0]), 4),
        "offset": round(float(fitted.intercept_[0]), 4),
    }


def scores(part: Scored, head: str, calibration: Mapping[str, Mapping[str, float]]) -> Floats:
    """Return the scores that serving would give, (examples,): calibrated and coherent."""
    log_odds = [
        calibration[each]["slope"] * part.logits[:, index] + calibration[each]["offset"]
        for index, each in enumerate(HEADS)
    ]
    found = coherent(HEADS, np.stack(log_odds, axis=1))[:, HEADS.index(head)]
    return np.asarray(1 / (1 + np.exp(-found)))


def thresholds(
    sets: Mapping[str, Scored], calibration: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Return, for each head and rate, the score that this share of benign texts reaches."""
    found: dict[str, dict[str, float]] = {}
    for head in HEADS:
        benign = np.concatenate([scores(sets[name], head, calibration) for name in BENIGN_SETS])
        found[head] = {
            f"{100 * rate:g} %": round(float(np.quantile(benign, 1 - rate)), 4) for rate in RATES
        }
    return found
