"""Made-up answers, for tests of what is made of them."""

from gateway.evaluation.run import Asked, Evaluated
from gateway.evaluation.types import Answer, Fact


def evaluated(rows, *, name="mine", category="any", subjects=("a@1",)):
    """A set of (label, kind, score of each subject ...); a score of None is missing."""
    facts = tuple(
        Fact(line, f"{line:016x}", 10 * line, kind, {} if label is None else {category: label})
        for line, (label, kind, *_) in enumerate(rows, 2)
    )
    asked = tuple(
        Asked(
            subject, frozenset({category}), tuple(answer(row[2 + index], category) for row in rows)
        )
        for index, subject in enumerate(subjects)
    )
    return Evaluated(name, f"folder/{name}.csv", "f" * 64, facts, asked)


def answer(score, category):
    return Answer({category: score}, 2.0, ("timeout",) if score is None else ())


ROWS = [
    (True, "poem", 0.9),
    (True, "poem", 0.3),
    (True, "song", None),
    (False, "poem", 0.8),
    (False, "song", 0.2),
    (False, "song", 0.1),
    (False, "song", None),
    (None, "song", 0.9),
]
