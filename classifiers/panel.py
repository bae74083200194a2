"""Asks every classifier at once, under one deadline.

A classifier that is late, raises or answers something malformed has not said "harmless":
each of its categories gets a verdict without a score on every passage, and its receipt
says how much text went unread. What follows from that is the policy's business. The
panel never decides, never retries, and lets nothing but cancellation escape.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from classifiers.types import Assessment, Classifier, Passage, Receipt, Verdict

TIMEOUT = "timeout"
FAILED = "failed"
MALFORMED = "malformed"

Answer = tuple[tuple[tuple[Verdict, ...], ...], Receipt]


class Panel:
    """The classifiers that judge together.

    Attributes:
        classifiers: In the order of their receipts.
        covered: For each category, the names of the classifiers that answer for it.

    Raises:
        ValueError: If two classifiers have the same name.
    """

    def __init__(self, classifiers: Sequence[Classifier]):
        self.classifiers = tuple(classifiers)
        names = [classifier.name for classifier in self.classifiers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two classifiers are named `{name}`")
        categories = {category for each in self.classifiers for category in each.categories}
        self.covered = {
            category: frozenset(
                each.name for each in self.classifiers if category in each.categories
            )
            for category in sorted(categories)
        }
        self._abandoned: set[asyncio.Task[Answer]] = set()

    async def judge(self, passages: Sequence[Passage], deadline_ms: int) -> Assessment:
        """Judge all passages with all classifiers.

        Args:
            passages: May be empty; then nobody is asked.
            deadline_ms: How long each classifier may take, milliseconds, counted from
                now. Only a classifier that waits can be cut short; one that computes
                past the deadline without waiting is late, but its answer counts.

        Returns:
            One tuple of verdicts per passage and one receipt per classifier.
        """
        read = tuple(passages)
        if not read or not self.classifiers:
            return Assessment(read, ((),) * len(read), (), self.covered)
        if len(self.classifiers) == 1:
            # No task for the common case: this runs several times in every request.
            answers = [await _ask(self.classifiers[0], read, deadline_ms)]
        else:
            answers = await self._ask_all(read, deadline_ms)
        verdicts = tuple(
            tuple(verdict for answer, _ in answers for verdict in answer[index])
            for index in range(len(read))
        )
        return Assessment(read, verdicts, tuple(receipt for _, receipt in answers), self.covered)

    async def _ask_all(self, passages: tuple[Passage, ...], deadline_ms: int) -> list[Answer]:
        tasks = [
            asyncio.create_task(_ask(classifier, passages, deadline_ms))
            for classifier in self.classifiers
        ]
        try:
            # `_ask` keeps the deadline itself; the wait is for one that ignores it.
            await asyncio.wait(tasks, timeout=deadline_ms / 1000 + 0.05)
            return [
                task.result()
                if task.done() and not task.cancelled()
                else _unanswered(classifier, passages, deadline_ms, TIMEOUT)
                for classifier, task in zip(self.classifiers, tasks, strict=True)
            ]
        finally:
            for task in tasks:
                self._abandon(task)

    def _abandon(self, task: asyncio.Task[Answer]) -> None:
        if not task.done():
            task.cancel()
            self._abandoned.add(task)  # the loop keeps only weak references
            task.add_done_callback(self._abandoned.discard)


async def _ask(classifier: Classifier, passages: tuple[Passage, ...], deadline_ms: int) -> Answer:
    started = perf_counter()
    deadline = asyncio.timeout(deadline_ms / 1000)
    try:
        async with deadline:
            answer = await classifier.classify(passages)
    except Exception:  # noqa: BLE001 - the boundary: whatever went wrong, there is no answer
        late = deadline.expired()
        elapsed_ms = (perf_counter() - started) * 1000
        return _unanswered(classifier, passages, elapsed_ms, TIMEOUT if late else FAILED)
    elapsed_ms = (perf_counter() - started) * 1000
    try:
        verdicts = _checked(answer, classifier, passages)
    except (TypeError, ValueError, AttributeError):
        return _unanswered(classifier, passages, elapsed_ms, MALFORMED)
    return verdicts, _receipt(classifier, passages, verdicts, elapsed_ms)


def _checked(
    answer: list[list[Verdict]], classifier: Classifier, passages: tuple[Passage, ...]
) -> tuple[tuple[Verdict, ...], ...]:
    """Return the answer if it is one; a classifier may be a model, or somebody else's server.

    Raises:
        ValueError: If a verdict is out of range, about something else or by someone else.
        TypeError, AttributeError: If it is not made of verdicts at all.
    """
    if len(answer) != len(passages):
        raise ValueError("one list of verdicts per passage is needed")
    for verdicts, passage in zip(answer, passages, strict=True):
        for verdict in verdicts:
            _check(verdict, classifier, passage)
    return tuple(tuple(verdicts) for verdicts in answer)


def _check(verdict: Verdict, classifier: Classifier, passage: Passage) -> None:
    if verdict.classifier != classifier.name or verdict.category not in classifier.categories:
        raise ValueError("a verdict that nobody asked this classifier for")
    # NaN fails every comparison, so the range has to be what is asked for.
    if verdict.score is not None and not 0.0 <= verdict.score <= 1.0:
        raise ValueError("a score outside [0, 1]")
    for span in verdict.spans:
        if not -len(passage.before) <= span.start <= span.end <= len(passage.text):
            raise ValueError("a span outside the passage")


def _receipt(
    classifier: Classifier,
    passages: tuple[Passage, ...],
    verdicts: tuple[tuple[Verdict, ...], ...],
    elapsed_ms: float,
) -> Receipt:
    scanned = unscanned = 0
    error: str | None = None
    for passage, answer in zip(passages, verdicts, strict=True):
        missing = [verdict for verdict in answer if verdict.score is None]
        if missing:
            # A passage that was read in part counts as unread: the receipt never overstates.
            unscanned += len(passage.text)
            error = error or missing[0].error or FAILED
        else:
            scanned += len(passage.text)
    return Receipt(classifier.name, classifier.digest, scanned, unscanned, elapsed_ms, error)


def _unanswered(
    classifier: Classifier, passages: tuple[Passage, ...], elapsed_ms: float, error: str
) -> Answer:
    silence = tuple(
        Verdict(classifier.name, category, None, error=error)
        for category in sorted(classifier.categories)
    )
    unscanned = sum(len(passage.text) for passage in passages)
    receipt = Receipt(classifier.name, classifier.digest, 0, unscanned, elapsed_ms, error)
    return (silence,) * len(passages), receipt
