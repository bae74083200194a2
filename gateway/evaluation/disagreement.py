"""Where two disagree, and what each row says about a category. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from gateway.evaluation import measures
from gateway.evaluation.run import Asked, Evaluated
from gateway.evaluation.types import ANY, DECISION, Answer, Fact

APART = 10  # rows that are listed of either sort
_ATTACK = "prompt_injection"
_FOUND = ("secrets.", "pii.")  # is found and hidden, and no reason to hold a text back

ThresholdOf = Callable[[str, str], float | None]  # subject and category -> threshold
Cells = Counter[tuple[bool, bool, bool | None]]


@dataclass(frozen=True, slots=True)
class Apart:
    """A row that one of two matches and the other does not, with both scores."""

    fact: Fact
    first: float
    second: float
    label: bool | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two subjects at a threshold each, on the rows that both answered.

    Attributes:
        set: The set.
        category: The category.
        first: A subject.
        second: Another.
        thresholds: Theirs.
        cells: (first matches, second matches, label) -> rows; label None is unknown.
        missing: Rows that one of them did not answer.
        kappa: Agreement beyond chance.
        only_first: Rows that the first alone matches, those furthest apart.
        only_second: Likewise.
    """

    set: str
    category: str
    first: str
    second: str
    thresholds: tuple[float, float]
    cells: dict[tuple[bool, bool, bool | None], int]
    missing: int
    kappa: float | None
    only_first: tuple[Apart, ...] = ()
    only_second: tuple[Apart, ...] = ()


def label_of(fact: Fact, category: str) -> bool | None:
    """Return what the labels say about a category; None if nothing.

    A text should be held back (`decision`) if it is labelled as a harm or an attack. That
    it should not is known if it is labelled free of all harm, or of attacks.
    """
    if category != DECISION:
        return fact.labels.get(category)
    said = {name: label for name, label in fact.labels.items() if not name.startswith(_FOUND)}
    if any(said.values()):
        return True
    return False if said.keys() & {ANY, _ATTACK} else None


def score_of(answer: Answer, category: str) -> float | None:
    """Return the score in a category; None if there was no answer."""
    return answer.scores.get(category, 0.0)


def disagreements(
    evaluated: Sequence[Evaluated], threshold_of: ThresholdOf, categories: frozenset[str]
) -> Iterator[Disagreement]:
    """Yield every pair on every set in every category that somebody matched or labelled.

    Args:
        evaluated: The sets and the answers.
        threshold_of: Where a subject matches; None leaves the pair out.
        categories: Only these; empty means all that both know.
    """
    for each in evaluated:
        for first, second in combinations(each.asked, 2):
            both = first.categories & second.categories
            for category in sorted(both & categories if categories else both):
                thresholds = [threshold_of(one.subject, category) for one in (first, second)]
                if thresholds[0] is None or thresholds[1] is None:
                    continue
                found = _compared(each, (first, second), category, (thresholds[0], thresholds[1]))
                if any(a or b or label is not None for a, b, label in found.cells):
                    yield found


def _compared(
    each: Evaluated, pair: tuple[Asked, Asked], category: str, thresholds: tuple[float, float]
) -> Disagreement:
    cells: Cells = Counter()
    apart: dict[bool, list[Apart]] = {True: [], False: []}  # whether the first matches
    for fact, *answers in zip(each.facts, pair[0].answers, pair[1].answers, strict=True):
        first, second = (score_of(answer, category) for answer in answers)
        if first is None or second is None:
            continue
        label = label_of(fact, category)
        matches = first >= thresholds[0], second >= thresholds[1]
        cells[*matches, label] += 1
        if matches[0] != matches[1]:
            apart[matches[0]].append(Apart(fact, first, second, label))
    return Disagreement(
        each.name,
        category,
        pair[0].subject,
        pair[1].subject,
        thresholds,
        dict(cells),
        len(each.facts) - cells.total(),
        _agreement(cells),
        _furthest(apart[True]),
        _furthest(apart[False]),
    )


def _agreement(cells: Cells) -> float | None:
    both, only_first, only_second, neither = (
        sum(count for (a, b, _), count in cells.items() if (a, b) == wanted)
        for wanted in ((True, True), (True, False), (False, True), (False, False))
    )
    return measures.kappa(both, only_first, only_second, neither)


def _furthest(apart: list[Apart]) -> tuple[Apart, ...]:
    return tuple(sorted(apart, key=lambda row: -abs(row.first - row.second))[:APART])
