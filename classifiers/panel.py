"""Asks every classifier at once, under one deadline; judges only what they are asked.

Whom a rule still needs is `policies.cascade`'s business: `judge` asks the classifiers that
are asked about everything, `ask` adds what judges say to inquiries about some of it.

A classifier that is late, raises or answers something malformed has not said "harmless":
each of its categories gets a verdict without a score on every passage, and its receipt
says how much text went unread. What follows from that is the policy's business. The
panel never decides, never retries, and lets nothing but cancellation escape.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from classifiers.standing import Record, Standing
from classifiers.types import (
    Assessment,
    Classifier,
    Inquiry,
    Passage,
    Receipt,
    Selective,
    Verdict,
)

TIMEOUT = "timeout"
FAILED = "failed"
MALFORMED = "malformed"
DOWN = "down"  # a judge that failed too often lately, and was not asked

Answer = tuple[tuple[tuple[Verdict, ...], ...], Receipt]


@dataclass(frozen=True, slots=True)
class _Errand:
    """One classifier and what it is to read; `wanted` are categories, per passage."""

    classifier: Classifier
    passages: tuple[Passage, ...]
    wanted: tuple[frozenset[str], ...] | None = None

    async def run(self) -> list[list[Verdict]]:
        if self.wanted is not None and isinstance(self.classifier, Selective):
            return await self.classifier.classify_for(self.passages, self.wanted)
        return await self.classifier.classify(self.passages)

    def categories(self, index: int) -> frozenset[str]:
        """Return what the classifier is to answer for about one of the passages."""
        if self.wanted is not None and isinstance(self.classifier, Selective):
            return self.wanted[index]
        return self.classifier.categories


class Panel:
    """The classifiers that judge together.

    Args:
        classifiers: Those that are asked about everything, in the order of their receipts.
        judges: Those that are asked only what a rule wants to know of them.
        clock: Unix time, seconds.

    Attributes:
        classifiers: As given.
        judges: By name.
        covered: For each category, the names of the classifiers that answer for it.
        on_request: For each category, the names of the judges that answer for it.

    Raises:
        ValueError: If two classifiers have the same name, versions apart: policies name
            them without.
    """

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        judges: Sequence[Classifier] = (),
        clock: Callable[[], float] = time.time,
    ):
        self.classifiers = tuple(classifiers)
        self.judges = {judge.name: judge for judge in judges}
        names = [each.name for each in (*classifiers, *judges)]
        _check_names([name.partition("@")[0] for name in names])
        self.covered = _by_category(self.classifiers)
        self.on_request = _by_category(judges)
        self._records = {
            name: Record(name, judge=name in self.judges, clock=clock) for name in names
        }
        self._abandoned: set[asyncio.Task[Answer]] = set()

    async def judge(self, passages: Sequence[Passage], deadline_ms: int) -> Assessment:
        """Judge all passages with all classifiers but the judges.

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
            return Assessment(read, ((),) * len(read), (), self.covered, self.on_request)
        errands = [_Errand(classifier, read) for classifier in self.classifiers]
        if len(errands) == 1:
            # No task for the common case: this runs several times in every request.
            answers = [await _ask(errands[0], deadline_ms)]
        else:
            answers = await self._ask_all(errands, deadline_ms)
        for _, receipt in answers:
            self._records[receipt.classifier].note(receipt)
        verdicts = tuple(
            tuple(verdict for answer, _ in answers for verdict in answer[index])
            for index in range(len(read))
        )
        receipts = tuple(receipt for _, receipt in answers)
        return Assessment(read, verdicts, receipts, self.covered, self.on_request)

    async def ask(
        self, assessment: Assessment, inquiries: Sequence[Inquiry], deadline_ms: int
    ) -> Assessment:
        """Ask judges, and return the assessment with their answers added.

        A judge that is down is not asked: it has no answer, at once.

        Args:
            assessment: What is known so far.
            inquiries: One per judge, by the name of a judge of this panel.
            deadline_ms: How long each of them may take, milliseconds.
        """
        errands = [self._errand(assessment, inquiry) for inquiry in inquiries]
        worth = [each for each in errands if not self._records[each.classifier.name].down]
        answers = {each.classifier.name: _unanswered(each, 0.0, DOWN) for each in errands}
        for answer in await self._ask_all(worth, deadline_ms) if worth else ():
            self._records[answer[1].classifier].note(answer[1])
            answers[answer[1].classifier] = answer
        verdicts = list(assessment.verdicts)
        asked = dict(assessment.asked)
        for inquiry, errand in zip(inquiries, errands, strict=True):
            answer = answers[inquiry.classifier]
            for number, index in enumerate(inquiry.wanted):
                verdicts[index] += answer[0][number]
            asked[inquiry.classifier] = asked.get(inquiry.classifier, frozenset()) | {
                (index, category)
                for number, index in enumerate(inquiry.wanted)
                for category in errand.categories(number)
            }
        receipts = (*assessment.receipts, *(receipt for _, receipt in answers.values()))
        return replace(assessment, verdicts=tuple(verdicts), receipts=receipts, asked=asked)

    def standing(self) -> tuple[Standing, ...]:
        """Return how each classifier is doing, the judges last."""
        return tuple(record.standing() for record in self._records.values())

    def _errand(self, assessment: Assessment, inquiry: Inquiry) -> _Errand:
        return _Errand(
            self.judges[inquiry.classifier],
            tuple(assessment.passages[index] for index in inquiry.wanted),
            tuple(inquiry.wanted.values()),
        )

    async def _ask_all(self, errands: Sequence[_Errand], deadline_ms: int) -> list[Answer]:
        tasks = [asyncio.create_task(_ask(errand, deadline_ms)) for errand in errands]
        try:
            # `_ask` keeps the deadline itself; the wait is for one that ignores it.
            await asyncio.wait(tasks, timeout=deadline_ms / 1000 + 0.05)
            return [
                task.result()
                if task.done() and not task.cancelled()
                else _unanswered(errand, deadline_ms, TIMEOUT)
                for errand, task in zip(errands, tasks, strict=True)
            ]
        finally:
            for task in tasks:
                self._abandon(task)

    def _abandon(self, task: asyncio.Task[Answer]) -> None:
        if not task.done():
            task.cancel()
            self._abandoned.add(task)  # the loop keeps only weak references
            task.add_done_callback(self._abandoned.discard)


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two classifiers are named `{name}`")


def _by_category(classifiers: Sequence[Classifier]) -> Mapping[str, frozenset[str]]:
    categories = {category for each in classifiers for category in each.categories}
    return {
        category: frozenset(each.name for each in classifiers if category in each.categories)
        for category in sorted(categories)
    }


async def _ask(errand: _Errand, deadline_ms: int) -> Answer:
    started = perf_counter()
    deadline = asyncio.timeout(deadline_ms / 1000)
    try:
        async with deadline:
            answer = await errand.run()
    except Exception:  # noqa: BLE001 - the boundary: whatever went wrong, there is no answer
        late = deadline.expired()
        elapsed_ms = (perf_counter() - started) * 1000
        return _unanswered(errand, elapsed_ms, TIMEOUT if late else FAILED)
    elapsed_ms = (perf_counter() - started) * 1000
    classifier, passages = errand.classifier, errand.passages
    try:
        verdicts = _checked(answer, classifier, passages)
    except (TypeError, ValueError, AttributeError):
        return _unanswered(errand, elapsed_ms, MALFORMED)
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
        unread = max((verdict.unread for verdict in missing), default=0)
        if unread:  # the passage itself was read; of what led to it not all
            scanned += len(passage.text)
            unscanned += unread
            error = error or missing[0].error or FAILED
        elif missing:
            # A passage that was read in part counts as unread: the receipt never overstates.
            unscanned += len(passage.text)
            error = error or missing[0].error or FAILED
        else:
            scanned += len(passage.text)
    return Receipt(classifier.name, classifier.digest, scanned, unscanned, elapsed_ms, error)


def _unanswered(errand: _Errand, elapsed_ms: float, error: str) -> Answer:
    classifier = errand.classifier
    about = [errand.categories(index) for index in range(len(errand.passages))]
    silence = {
        categories: tuple(
            Verdict(classifier.name, category, None, error=error) for category in sorted(categories)
        )
        for categories in set(about)
    }
    unscanned = sum(len(passage.text) for passage in errand.passages)
    receipt = Receipt(classifier.name, classifier.digest, 0, unscanned, elapsed_ms, error)
    return tuple(silence[categories] for categories in about), receipt
