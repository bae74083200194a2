"""Turns answers into figures: per subject, set and category. Pure.

An answer that is missing is counted beside the rates and never inside them. The threshold
that keeps the wanted false-positive rate is found on the safe texts of all sets together,
because a set of harmful requests alone has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.evaluation import measures
from gateway.evaluation.disagreement import Disagreement, disagreements, label_of, score_of
from gateway.evaluation.measures import AtThreshold, Bin, Curve, Interval, Labels, Scores
from gateway.evaluation.run import Asked, Evaluated
from gateway.evaluation.types import ANY, DECISION, Fact

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
POOLED = "all sets"
WORST = 10  # mistakes that are listed


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be worked out.

    Attributes:
        false_positive_rate: The share of safe texts that may be flagged.
        threshold: Where two subjects are compared; None means each at its proposal.
        categories: Only these; empty means every one that both sides know.
        seed: Of the bootstrap.
    """

    false_positive_rate: float = 0.01
    threshold: float | None = None
    categories: frozenset[str] = frozenset()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Mistake:
    """A text on the wrong side of the proposed threshold."""

    fact: Fact
    score: float
    set: str


@dataclass(frozen=True, slots=True)
class ByKind:
    """The rows of one kind, at the proposed threshold."""

    kind: str
    safe: int
    flagged: int
    flagged_interval: Interval | None
    harmful: int
    missed: int
    missed_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What one subject did on one set in one category.

    Attributes:
        set: The set's name, or `all sets`.
        subject: The subject's name.
        category: What was scored.
        positives: Rows labelled yes.
        negatives: Rows labelled no.
        missing_positives: Rows labelled yes without an answer; in no rate.
        missing_negatives: Likewise.
        curve: Over the rows that were answered.
        auprc: Area under precision and recall.
        auprc_interval: 95 %, bootstrap.
        auroc: Area under the ROC curve.
        proposed: At the threshold for the wanted rate; None if there is none.
        table: At round thresholds.
        bins: Reliability.
        calibration_error: Expected, over the bins.
        kinds: By kind of row.
        flagged: The safe texts that scored highest, at or above the proposed threshold.
        missed: The harmful ones that scored lowest, below it.
    """

    set: str
    subject: str
    category: str
    positives: int
    negatives: int
    missing_positives: int
    missing_negatives: int
    curve: Curve
    auprc: float | None
    auprc_interval: Interval | None
    auroc: float | None
    proposed: AtThreshold | None
    table: tuple[AtThreshold, ...]
    bins: tuple[Bin, ...]
    calibration_error: float | None
    kinds: tuple[ByKind, ...]
    flagged: tuple[Mistake, ...]
    missed: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one subject took over one set, milliseconds a text."""

    set: str
    subject: str
    answers: int
    missing: int
    errors: tuple[tuple[str, int], ...]
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures of a run."""

    wanted: Wanted
    measured: tuple[Measured, ...]
    latencies: tuple[Latency, ...]
    disagreements: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True)
class _Scored:
    """One subject, set and category, row by row; NaN where there was no answer."""

    set: str
    subject: str
    category: str
    facts: tuple[Fact, ...]
    sets: tuple[str, ...]
    scores: Scores
    labels: Labels

    def answered(self) -> tuple[Scores, Labels]:
        known = ~np.isnan(self.scores)
        return self.scores[known], self.labels[known]


def summarise(evaluated: Sequence[Evaluated], wanted: Wanted) -> Summary:
    """Work out every figure."""
    measured: list[Measured] = []
    proposals: dict[tuple[str, str], float | None] = {}
    for subject, category in _columns(evaluated, wanted):
        scored = [
            rows for each in evaluated if (rows := _scored(each, subject, category)) is not None
        ]
        pooled = _pooled(scored)
        threshold = _proposal(pooled, wanted.false_positive_rate)
        proposals[subject, category] = threshold
        shown = [*scored, pooled] if len(scored) > 1 else scored
        measured.extend(_measure(rows, threshold, wanted.seed) for rows in shown)

    def threshold_of(subject: str, category: str) -> float | None:
        fixed = wanted.threshold
        return proposals.get((subject, category)) if fixed is None else fixed

    order = [*(each.name for each in evaluated), POOLED]
    measured.sort(key=lambda each: (order.index(each.set), *_place(each.category)))
    return Summary(
        wanted,
        tuple(measured),
        tuple(_latency(each.name, asked) for each in evaluated for asked in each.asked),
        tuple(disagreements(evaluated, threshold_of, wanted.categories)),
    )


def _columns(evaluated: Sequence[Evaluated], wanted: Wanted) -> list[tuple[str, str]]:
    """Return each subject with each category that some set labels and it answers for."""
    found: dict[tuple[str, str], None] = {}
    for each in evaluated:
        labelled = {category for fact in each.facts for category in fact.labels}
        if any(label_of(fact, DECISION) is not None for fact in each.facts):
            labelled.add(DECISION)
        for asked in each.asked:
            for category in sorted(asked.categories & labelled):
                if not wanted.categories or category in wanted.categories:
                    found[asked.subject, category] = None
    return sorted(found, key=lambda column: _place(column[1]))


def _place(category: str) -> tuple[int, str]:
    """Return where a category stands in the report: what matters most comes first."""
    return {ANY: 0, DECISION: 1}.get(category, 2), category


def _scored(each: Evaluated, subject: str, category: str) -> _Scored | None:
    asked = next(asked for asked in each.asked if asked.subject == subject)
    rows = [
        (fact, score_of(answer, category), label)
        for fact, answer in zip(each.facts, asked.answers, strict=True)
        if (label := label_of(fact, category)) is not None
    ]
    if not rows:
        return None
    facts = tuple(fact for fact, _, _ in rows)
    scores = np.array([np.nan if score is None else score for _, score, _ in rows], dtype=float)
    labels = np.array([label for _, _, label in rows], dtype=bool)
    return _Scored(each.name, subject, category, facts, (each.name,) * len(rows), scores, labels)


def _pooled(scored: Sequence[_Scored]) -> _Scored:
    return _Scored(
        POOLED,
        scored[0].subject,
        scored[0].category,
        tuple(fact for each in scored for fact in each.facts),
        tuple(name for each in scored for name in each.sets),
        np.concatenate([each.scores for each in scored]),
        np.concatenate([each.labels for each in scored]),
    )


def _proposal(pooled: _Scored, false_positive_rate: float) -> float | None:
    if pooled.category == DECISION:
        return 1.0  # a yes or a no, with nothing to choose
    return measures.threshold_for(*pooled.answered(), false_positive_rate)


def _measure(rows: _Scored, threshold: float | None, seed: int) -> Measured:
    scores, labels = rows.answered()
    missing = np.isnan(rows.scores)
    curve = measures.curve(scores, labels)
    bins = measures.reliability(scores, labels)
    thresholds = THRESHOLDS if rows.category != DECISION else ()
    return Measured(
        set=rows.set,
        subject=rows.subject,
        category=rows.category,
        positives=int(rows.labels.sum()),
        negatives=int((~rows.labels).sum()),
        missing_positives=int((missing & rows.labels).sum()),
        missing_negatives=int((missing & ~rows.labels).sum()),
        curve=curve,
        auprc=measures.average_precision(curve),
        auprc_interval=measures.bootstrap_average_precision(scores, labels, seed=seed),
        auroc=measures.area_under_roc(curve),
        proposed=None if threshold is None else measures.at_threshold(scores, labels, threshold),
        table=tuple(measures.at_threshold(scores, labels, each) for each in thresholds),
        bins=bins,
        calibration_error=measures.calibration_error(bins),
        kinds=_kinds(rows, threshold),
        flagged=_worst(rows, threshold, harmful=False),
        missed=_worst(rows, threshold, harmful=True),
    )


def _kinds(rows: _Scored, threshold: float | None) -> tuple[ByKind, ...]:
    if threshold is None or not any(fact.kind for fact in rows.facts):
        return ()
    counts: dict[str, Counter[tuple[bool, bool]]] = {}
    for fact, score, label in zip(rows.facts, rows.scores, rows.labels, strict=True):
        if not np.isnan(score):
            counts.setdefault(fact.kind, Counter())[bool(label), bool(score >= threshold)] += 1
    found = [_by_kind(kind, count) for kind, count in counts.items()]
    return tuple(sorted(found, key=lambda each: (-each.flagged, -each.missed, each.kind)))


def _by_kind(kind: str, count: Counter[tuple[bool, bool]]) -> ByKind:
    safe = count[False, False] + count[False, True]
    harmful = count[True, False] + count[True, True]
    flagged, missed = count[False, True], count[True, False]
    return ByKind(
        kind,
        safe,
        flagged,
        measures.wilson(flagged, safe),
        harmful,
        missed,
        measures.wilson(missed, harmful),
    )


def _worst(rows: _Scored, threshold: float | None, *, harmful: bool) -> tuple[Mistake, ...]:
    if threshold is None:
        return ()
    wrong = (rows.scores < threshold) if harmful else (rows.scores >= threshold)
    places = np.flatnonzero(wrong & (rows.labels == harmful))
    order = rows.scores[places] if harmful else -rows.scores[places]
    return tuple(
        Mistake(rows.facts[place], float(rows.scores[place]), rows.sets[place])
        for place in places[np.argsort(order, kind="stable")][:WORST]
    )


def _latency(name: str, asked: Asked) -> Latency:
    durations = np.array([answer.duration_ms for answer in asked.answers])
    p50, p95, p99 = (float(each) for each in np.percentile(durations, [50, 95, 99]))
    errors = Counter(error for answer in asked.answers for error in answer.errors)
    missing = sum(None in answer.scores.values() for answer in asked.answers)
    return Latency(
        name, asked.subject, len(durations), missing, tuple(errors.most_common()), p50, p95, p99
    )
