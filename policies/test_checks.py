"""Finds what is wrong in the inline tests of a policy file. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from policies.declarations import Known, unknown_category
from policies.document import Document, Path, Problem
from policies.mistakes import suggestion
from policies.rule_schema import Given, InlineTestEntry


@dataclass(frozen=True, slots=True)
class About:
    """What a test is about.

    Attributes:
        stages: Where its rule watches.
        thresholds: Whom its rule asks in doubt, and from which score on.
        factual: Whether its rule asks nobody, so that a test need not say what is answered.
    """

    stages: Collection[str]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    factual: bool = False


def mistested(
    tests: Sequence[InlineTestEntry], about: About, known: Known, document: Document, path: Path
) -> Iterator[Problem]:
    """Yield the mistakes in the tests of one rule."""
    for index, test in enumerate(tests):
        given = (*path, index, "given")
        yield from _given(test.given, about, document, given)
        yield from _past(test.given, known, document, given)
        if test.given.stage not in about.stages:
            message = f"the rule does not apply at stage `{test.given.stage}`"
            yield Problem(*document.place((*given, "stage")), message)
        for category in test.given.scores or {}:
            yield from unknown_category(category, known, document, (*given, "scores", category))
        for key in ("missing", "unsupported"):
            for number, category in enumerate(getattr(test.given, key)):
                yield from unknown_category(category, known, document, (*given, key, number))


def _given(given: Given, about: About, document: Document, path: Path) -> Iterator[Problem]:
    answers = given.scores is not None or given.missing or given.unsupported or given.rungs
    happened = about.factual or given.call or given.trajectory or given.reasoning_chars
    asks = given.text is not None or any(step.text is not None for step in given.trajectory)
    if (asks and answers) or not (given.text or answers or happened):
        message = "a test gives either `text`, or `scores`, `missing`, `unsupported` and `rungs`"
        yield Problem(*document.place(path), message)
    for name in given.rungs:
        if name not in about.thresholds:
            place = document.place((*path, "rungs", name), of_key=True)
            hint = suggestion(name, about.thresholds)
            yield Problem(*place, f"`{name}` is not asked in doubt by the rule{hint}")


def _past(given: Given, known: Known, document: Document, path: Path) -> Iterator[Problem]:
    if given.call is not None and given.stage != "tool_call":
        message = "a call is made at stage `tool_call`; what was called before is in `trajectory`"
        yield Problem(*document.place((*path, "call")), message)
    for number, step in enumerate(given.trajectory):
        place = (*path, "trajectory", number)
        if (step.result_of is None) == (step.call_of is None):
            message = "what happened before is either `result_of` or `call_of` a function"
            yield Problem(*document.place(place), message)
        silent = [*step.missing, *step.unsupported]
        if step.text is not None and (step.scores or silent):
            message = "what happened before has either a `text`, or `scores` and `missing`"
            yield Problem(*document.place(place), message)
        for category in step.scores:
            yield from unknown_category(category, known, document, (*place, "scores", category))
        for key in ("missing", "unsupported"):
            for index, category in enumerate(getattr(step, key)):
                yield from unknown_category(category, known, document, (*place, key, index))
