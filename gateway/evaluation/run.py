"""Asks every subject about every row, a few at a time, and remembers what was said.

Rows are read as they are needed and let go at once: what stays is a digest, a length, the
labels and the scores.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gateway.evaluation.journal import Journal, key_of
from gateway.evaluation.subjects import Subject
from gateway.evaluation.types import Answer, EvaluationError, Fact, LabelledSet, Row

Progress = Callable[[str, int, int], None]  # what is worked on, rows done, rows in all
BLOCK = 1024 * 1024  # bytes read at once for a file's digest


@dataclass(frozen=True, slots=True)
class Asked:
    """What one subject said about one set.

    Attributes:
        subject: The subject's name.
        categories: What it answers for.
        answers: One per row, in the order of the set.
        recalled: How many of them were in the journal.
    """

    subject: str
    categories: frozenset[str]
    answers: tuple[Answer, ...]
    recalled: int = 0


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One set, and what everybody said about it.

    Attributes:
        name: The set's name.
        path: Its file.
        sha256: Of the file, hex.
        facts: One per row.
        asked: One per subject.
    """

    name: str
    path: str
    sha256: str
    facts: tuple[Fact, ...]
    asked: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """How to ask.

    Attributes:
        concurrency: Questions under way at once.
        limit: At most so many rows of each set; None means all.
        retry_missing: Whether to ask again where an answer was missing before.
        progress: Told after every answer.
    """

    concurrency: int = 1
    limit: int | None = None
    retry_missing: bool = False
    progress: Progress = field(default=lambda _name, _done, _rows: None)


async def evaluate_set(
    labelled: LabelledSet, subjects: Sequence[Subject], journal: Journal, terms: Terms
) -> Evaluated:
    """Ask all subjects about one set, one subject after the other.

    Raises:
        EvaluationError: If the set cannot be read, is empty, or changes meanwhile.
    """
    sha256 = await asyncio.to_thread(file_digest, labelled.path)
    facts = tuple(fact_of(row) for row in _rows(labelled, terms.limit))
    if not facts:
        raise EvaluationError(f"{labelled.path}: there are no rows")
    asked = []
    for subject in subjects:
        asked.append(await _ask_all(labelled, subject, journal, terms, len(facts)))
        if len(asked[-1].answers) != len(facts):
            raise EvaluationError(f"{labelled.path}: the file changed while it was read")
    return Evaluated(labelled.name, str(labelled.path), sha256, facts, tuple(asked))


def fact_of(row: Row) -> Fact:
    """Return what is kept of a row."""
    digest = hashlib.sha256(row.text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Fact(row.line, digest, len(row.text), row.kind, dict(row.labels))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, hex.

    Raises:
        EvaluationError: If it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise EvaluationError(f"{path}: cannot read the file: {reason}") from error
    return digest.hexdigest()


async def _ask_all(
    labelled: LabelledSet, subject: Subject, journal: Journal, terms: Terms, count: int
) -> Asked:
    answers: dict[int, Answer] = {}
    recalled = 0
    name = f"{labelled.name}: {subject.name}"

    async def ask(row: Row, key: str) -> Answer:
        answer = await subject.ask(row)
        journal.note(key, answer)
        return answer

    async def work(rows: Iterator[tuple[int, Row]]) -> None:
        nonlocal recalled
        for index, row in rows:  # one iterator for all workers: each takes the next row
            key = key_of(subject.digest, row)
            known = journal.get(key)
            if known is not None and not (terms.retry_missing and known.errors):
                answers[index] = known
                recalled += 1
            else:
                answers[index] = await ask(row, key)
            terms.progress(name, len(answers), count)

    rows = enumerate(_rows(labelled, terms.limit))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(terms.concurrency):
                group.create_task(work(rows))
    except* EvaluationError as failed:
        raise _first(failed) from None
    ordered = tuple(answers[index] for index in sorted(answers))
    return Asked(subject.name, subject.categories, ordered, recalled)


def _rows(labelled: LabelledSet, limit: int | None) -> Iterator[Row]:
    return islice(labelled.rows(), limit)


def _first(failed: BaseExceptionGroup[EvaluationError]) -> EvaluationError:
    """Return one of the reasons for which workers stopped; the others say the same."""
    first = failed.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
