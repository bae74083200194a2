"""Finds what contradicts itself in a policy file whose shape is right.

The schema sees one value at a time; here names are looked up and parts are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.document import Document, Path, Problem
from policies.mistakes import suggestion
from policies.schema import BandEntry, PerStage, PolicyDocument, RuleEntry
from policies.types import Action


def contradictions(parsed: PolicyDocument, document: Document) -> Iterator[Problem]:
    """Yield every mistake that makes the file unfit to be a policy."""
    yield from _blind_redaction(
        parsed.defaults.on_unavailable, document, ("defaults", "on_unavailable")
    )
    first_lines: dict[str, int] = {}
    for number, rule in enumerate(parsed.rules):
        path: Path = ("rules", number)
        if rule.id in first_lines:
            taken = f"rule id `{rule.id}` is taken by the rule in line {first_lines[rule.id]}"
            yield Problem(*document.place((*path, "id")), taken)
        first_lines.setdefault(rule.id, document.place(path)[0])
        yield from _unknown_category(rule.category, parsed, document, (*path, "category"))
        yield from _repeated(rule.stages, document, (*path, "stages"))
        yield from _blind_redaction(rule.on_unavailable, document, (*path, "on_unavailable"))
        yield from _bands(rule.bands, document, (*path, "bands"))
        yield from _tests(rule, parsed, document, (*path, "tests"))


def _unknown_category(
    category: str, parsed: PolicyDocument, document: Document, path: Path
) -> Iterator[Problem]:
    if category not in parsed.categories:
        place = document.place(path, of_key=category == path[-1])
        hint = suggestion(category, parsed.categories)
        yield Problem(*place, f"unknown category `{category[:80]}`{hint}")


def _repeated(words: Sequence[str], document: Document, path: Path) -> Iterator[Problem]:
    for index, word in enumerate(words):
        if word in words[:index]:
            yield Problem(*document.place((*path, index)), f"`{word}` is listed twice")


def _blind_redaction(
    given: str | PerStage | None, document: Document, path: Path
) -> Iterator[Problem]:
    """Whoever gave no answer did not say where; redacting would mean hiding everything."""
    message = "`redact` needs to know where, and nobody answered; use `block`"
    if given == "redact":
        yield Problem(*document.place(path), message)
    elif isinstance(given, PerStage):
        for stage, action in given.model_dump(exclude_none=True).items():
            if action == "redact":
                yield Problem(*document.place((*path, stage)), message)


def _bands(bands: list[BandEntry], document: Document, path: Path) -> Iterator[Problem]:
    for index, band in enumerate(bands):
        place = document.place((*path, index))
        if len(_main_actions(band)) > 1:
            yield Problem(*place, "a band takes one main action beside `strike` and `escalate`")
        for other in bands[:index]:
            if other.gte == band.gte:
                yield Problem(*place, f"another band starts at {band.gte:g} too")
            elif _milder_above(band, other) or _milder_above(other, band):
                yield Problem(*place, "of two bands, the higher one must not be the milder one")


def _milder_above(upper: BandEntry, lower: BandEntry) -> bool:
    return upper.gte > lower.gte and _strictness(upper) < _strictness(lower)


def _strictness(band: BandEntry) -> int:
    return max((Action[word.upper()] for word in _main_actions(band)), default=Action.FLAG)


def _main_actions(band: BandEntry) -> list[str]:
    return [word for word in band.actions if isinstance(word, str) and word != "strike"]


def _tests(
    rule: RuleEntry, parsed: PolicyDocument, document: Document, path: Path
) -> Iterator[Problem]:
    for index, test in enumerate(rule.tests):
        given = (*path, index, "given")
        if (test.given.text is None) == (test.given.scores is None and not test.given.missing):
            message = "a test gives either `text`, or `scores` and `missing`"
            yield Problem(*document.place(given), message)
        if test.given.stage not in rule.stages:
            message = f"the rule does not apply at stage `{test.given.stage}`"
            yield Problem(*document.place((*given, "stage")), message)
        for category in test.given.scores or {}:
            yield from _unknown_category(category, parsed, document, (*given, "scores", category))
        for number, category in enumerate(test.given.missing):
            yield from _unknown_category(category, parsed, document, (*given, "missing", number))
