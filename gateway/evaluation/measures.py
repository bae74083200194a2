"""How good scores are: curves, thresholds, intervals, calibration. Pure numpy.

Everywhere `scores: (n,), float64 in [0, 1]` and `labels: (n,), bool`, rows that were
answered only: a missing answer is counted by the caller and never put in as a number. A
text matches where its score is `>=` the threshold. What cannot be said, such as a recall
without positives, is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]
Interval = tuple[float, float]

Z_95 = 1.959963984540054  # of the normal distribution, two-sided
MAX_DRAWS = 20_000_000  # rows times rounds of one bootstrap


@dataclass(frozen=True, slots=True)
class Curve:
    """What every threshold does, strictest first; each array: (distinct scores,).

    Attributes:
        thresholds: The distinct scores, falling.
        caught: Positives that match.
        flagged: Negatives that match.
        positives: How many there are.
        negatives: Likewise.
    """

    thresholds: Scores
    caught: NDArray[np.int64]
    flagged: NDArray[np.int64]
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What one threshold does, with 95 % Wilson intervals.

    Attributes:
        threshold: A text matches from this score on.
        caught: Positives that match.
        missed: Positives that do not.
        flagged: Negatives that match.
        passed: Negatives that do not.
        recall: caught / positives.
        false_positive_rate: flagged / negatives.
        precision: caught / (caught + flagged).
    """

    threshold: float
    caught: int
    missed: int
    flagged: int
    passed: int
    recall: float | None
    recall_interval: Interval | None
    false_positive_rate: float | None
    false_positive_interval: Interval | None
    precision: float | None
    precision_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Bin:
    """One step of a reliability diagram: `mean_score` said, `share` found."""

    low: float
    high: float
    count: int
    mean_score: float
    share: float


def curve(scores: Scores, labels: Labels) -> Curve:
    """Return what each distinct score does as a threshold; equal scores go together."""
    order = np.argsort(-scores, kind="stable")
    ordered, found = scores[order], labels[order]
    last = np.flatnonzero(np.diff(ordered, append=-np.inf))  # where a run of equals ends
    caught = np.cumsum(found)[last]
    return Curve(
        ordered[last],
        caught.astype(np.int64),
        (last + 1 - caught).astype(np.int64),
        int(labels.sum()),
        int((~labels).sum()),
    )


def average_precision(of: Curve) -> float | None:
    """Return the area under precision and recall, as steps; None without both classes."""
    if not of.positives or not of.negatives:
        return None
    precision = of.caught / (of.caught + of.flagged)
    gained = np.diff(of.caught, prepend=0) / of.positives
    return float(precision @ gained)


def area_under_roc(of: Curve) -> float | None:
    """Return the chance that a positive scores above a negative; a tie is half of one."""
    if not of.positives or not of.negatives:
        return None
    caught = np.concatenate(([0], of.caught)) / of.positives
    flagged = np.concatenate(([0], of.flagged)) / of.negatives
    return float(np.diff(flagged) @ (caught[1:] + caught[:-1]) / 2)


def wilson(matched: int, count: int) -> Interval | None:
    """Return the 95 % score interval of a share (Wilson 1927); None of nothing."""
    if count == 0:
        return None
    share, square = matched / count, Z_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = sqrt(share * (1 - share) / count + square / (4 * count**2)) * Z_95
    half /= 1 + square / count
    low = 0.0 if matched == 0 else max(0.0, middle - half)
    high = 1.0 if matched == count else min(1.0, middle + half)
    return low, high


def at_threshold(scores: Scores, labels: Labels, threshold: float) -> AtThreshold:
    """Return what `threshold` does."""
    matched = scores >= threshold
    caught, flagged = int((matched & labels).sum()), int((matched & ~labels).sum())
    positives, negatives = int(labels.sum()), int((~labels).sum())
    return AtThreshold(
        threshold,
        caught,
        positives - caught,
        flagged,
        negatives - flagged,
        _share(caught, positives),
        wilson(caught, positives),
        _share(flagged, negatives),
        wilson(flagged, negatives),
        _share(caught, caught + flagged),
        wilson(caught, caught + flagged),
    )


def threshold_for(scores: Scores, labels: Labels, false_positive_rate: float) -> float | None:
    """Return a threshold that flags at most this share of the negatives and catches the most.

    Of all that catch as much it is the highest, cut to four decimals, so that it can be
    written down. None without negatives, or if even 1 flags too many.
    """
    negatives = np.sort(scores[~labels])[::-1]
    allowed = int(np.floor(false_positive_rate * len(negatives) + 1e-9))
    if not len(negatives):
        return None
    if allowed >= len(negatives):
        return 0.0
    barred = negatives[allowed]  # the first negative that may not match any more
    above = scores[scores > barred]
    lowest = (np.floor(barred * 10_000) + 1) / 10_000
    highest = np.floor(above.min() * 10_000) / 10_000 if len(above) else lowest
    threshold = float(max(lowest, highest))
    return threshold if threshold <= 1 else None


def bootstrap_average_precision(
    scores: Scores, labels: Labels, *, rounds: int = 1000, seed: int = 0
) -> Interval | None:
    """Return the 95 % interval of the average precision, by drawing rows with replacement.

    Fewer rounds for large sets, whose interval is narrow; the same seed, the same answer.
    None without both classes, or if too few draws have both.
    """
    count = len(scores)
    if not labels.any() or labels.all():
        return None
    draw = np.random.default_rng(seed)
    order = np.argsort(-scores, kind="stable")
    ordered, found = scores[order], labels[order]
    last = np.flatnonzero(np.diff(ordered, append=-np.inf))
    drawn = []
    for _ in range(max(100, min(rounds, MAX_DRAWS // count))):
        weights = np.bincount(draw.integers(0, count, count), minlength=count)
        caught = np.cumsum(weights * found)[last]
        matched = np.cumsum(weights)[last]
        if caught[-1]:
            precision = caught / np.maximum(matched, 1)
            drawn.append(float(precision @ np.diff(caught, prepend=0) / caught[-1]))
    if len(drawn) < 50:
        return None
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def reliability(scores: Scores, labels: Labels, steps: int = 10) -> tuple[Bin, ...]:
    """Return what was said and what was found, in steps of equal width; empty ones left out."""
    places = np.minimum((scores * steps).astype(int), steps - 1)
    return tuple(
        Bin(
            step / steps,
            (step + 1) / steps,
            int(inside.sum()),
            float(scores[inside].mean()),
            float(labels[inside].mean()),
        )
        for step in range(steps)
        if (inside := places == step).any()
    )


def calibration_error(bins: tuple[Bin, ...]) -> float | None:
    """Return the expected calibration error: by how much scores miss, on average."""
    count = sum(each.count for each in bins)
    if not count:
        return None
    return sum(abs(each.mean_score - each.share) * each.count for each in bins) / count


def kappa(both: int, first: int, second: int, neither: int) -> float | None:
    """Return Cohen's agreement beyond chance of two that each say yes or no.

    Args:
        both: Rows both matched.
        first: Rows the first alone matched.
        second: Rows the second alone matched.
        neither: Rows neither matched.
    """
    count = both + first + second + neither
    if not count:
        return None
    agreed = (both + neither) / count
    yes = (both + first) / count * (both + second) / count
    no = (neither + second) / count * (neither + first) / count
    by_chance = yes + no
    return None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
