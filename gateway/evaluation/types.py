"""What an evaluation is made of: labelled rows in, answers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from classifiers.types import Source

ANY = "any"  # harm of any sort
DECISION = "decision"  # what a policy or a gateway did: 1 held back, 0 let through


class EvaluationError(Exception):
    """The evaluation cannot go on; the message is for whoever typed the command."""


class MissingExtra(EvaluationError):
    """A library of the `eval` extra is not installed."""

    def __init__(self, purpose: str, library: str):
        super().__init__(f"{purpose} needs `{library}`: pip install 'ostiary[eval]'")


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text.

    Attributes:
        text: What is judged.
        labels: Category -> whether the text belongs to it. A category that is left out
            is unknown, and the row does not count in it.
        source: Who wrote it, which decides how it is judged.
        prompt: For a reply, what it answers.
        kind: What the set calls this sort of row: `homonyms`; mistakes are counted by it.
        line: Where the row stands in its file, from 1.
    """

    text: str
    labels: Mapping[str, bool]
    source: Source = Source.USER
    prompt: str = ""
    kind: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A file of labelled rows.

    Attributes:
        name: As it is called in the report, unique within a run.
        path: The file.
        rows: Reads it from the beginning, a row at a time.
    """

    name: str
    path: Path
    rows: Callable[[], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said about one row.

    Attributes:
        scores: Category -> probability in [0, 1], or None where there was no answer.
            A category that is left out scored 0.
        duration_ms: How long the answer took, milliseconds.
        errors: Reason codes of the answers that are missing.
    """

    scores: Mapping[str, float | None] = field(default_factory=dict)
    duration_ms: float = 0.0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """What is kept of a row once it was asked about: everything but its text.

    Attributes:
        line: Where the row stands in its file.
        digest: First 16 hex digits of the text's SHA-256.
        chars: Length, code points.
        kind: As in `Row`.
        labels: As in `Row`.
    """

    line: int
    digest: str
    chars: int
    kind: str
    labels: Mapping[str, bool]
