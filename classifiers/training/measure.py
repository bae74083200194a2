"""How good scores are, in numbers: ranking, recall at few false alarms, and reliability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """One head on one set.

    Attributes:
        positives, negatives: How many there were.
        auprc, auroc: Areas under the precision-recall and the ROC curve; None without
            both labels.
        precision, recall: At the threshold that was asked for; None where undefined.
    """

    positives: int
    negatives: int
    auprc: float | None
    auroc: float | None
    precision: float | None
    recall: float | None


def measure(labels: Floats, scores: Floats, threshold: float) -> Measured:
    """Measure `scores` (higher is worse) against `labels`, 1 or 0."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    positives = int(labels.sum())
    negatives = len(labels) - positives
    both = positives > 0 and negatives > 0
    flagged = scores >= threshold
    caught = int(labels[flagged].sum())
    return Measured(
        positives,
        negatives,
        float(average_precision_score(labels, scores)) if both else None,
        float(roc_auc_score(labels, scores)) if both else None,
        caught / int(flagged.sum()) if both and flagged.any() else None,
        caught / positives if positives else None,
    )


def share_at_least(scores: Floats, threshold: float) -> float:
    """Return the share of scores that reach the threshold; NaN of none."""
    return float((scores >= threshold).mean()) if len(scores) else math.nan


def reliability(labels: Floats, probabilities: Floats, bins: int = 10) -> tuple[Floats, Floats]:
    """Return, for equal bins that are not empty, the mean probability and the share of ones."""
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    filled = [one for one in range(bins) if (index == one).any()]
    means = [probabilities[index == one].mean() for one in filled]
    return np.array(means), np.array([labels[index == one].mean() for one in filled])
