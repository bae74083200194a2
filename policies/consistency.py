"""Finds what contradicts itself in a policy file whose shape is right.

The schema sees one value at a time; here names are looked up and parts are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.agent_checks import misconducted
from policies.declarations import Known, misdeclared, misused, unknown_category
from policies.document import Document, Path, Problem
from policies.mistakes import suggestion
from policies.rule_schema import BandEntry, PerStage, RuleEntry, SpecialAction
from policies.schema import PolicyDocument
from policies.test_checks import About, mistested
from policies.types import Action, Policy
from policies.words import BESIDE

_FALLBACKS = ("on_unavailable", "on_unsupported_language")


def contradictions(
    parsed: PolicyDocument, document: Document, included: Sequence[Policy] = ()
) -> Iterator[Problem]:
    """Yield every mistake that makes the file unfit to be a policy.

    Args:
        parsed: The file.
        document: Where its values stand.
        included: The policies whose categories, rules and names it may use.
    """
    known = Known.of(parsed, included)
    yield from misdeclared(parsed, document, known)
    for key in _FALLBACKS:
        given = getattr(parsed.defaults, key)
        yield from _blind_redaction(given, document, ("defaults", key))
    first_lines: dict[str, int] = {}
    for number, rule in enumerate(parsed.rules):
        path: Path = ("rules", number)
        if rule.id in first_lines:
            taken = f"rule id `{rule.id}` is taken by the rule in line {first_lines[rule.id]}"
            yield Problem(*document.place((*path, "id")), taken)
        first_lines.setdefault(rule.id, document.place(path)[0])
        yield from unknown_category(rule.category, known, document, (*path, "category"))
        yield from misused(rule, document, path, known)
        yield from _repeated(rule.stages, document, (*path, "stages"))
        yield from _repeated(rule.classifiers, document, (*path, "classifiers"))
        yield from _rungs(rule, document, path)
        for key in _FALLBACKS:
            yield from _blind_redaction(getattr(rule, key), document, (*path, key))
        yield from _bands(rule.bands, document, (*path, "bands"))
        about = About(rule.stages, rule.thresholds)
        yield from mistested(rule.tests, about, known, document, (*path, "tests"))
    yield from misconducted(parsed, document, known)


def _repeated(words: Sequence[str], document: Document, path: Path) -> Iterator[Problem]:
    for index, word in enumerate(words):
        if word in words[:index]:
            yield Problem(*document.place((*path, index)), f"`{word}` is listed twice")


def _rungs(rule: RuleEntry, document: Document, path: Path) -> Iterator[Problem]:
    """Who is asked in doubt comes last, and somebody has to be asked before."""
    if rule.escalate_at is None:
        return
    place = document.place((*path, "escalate_at"))
    thresholds = rule.thresholds
    for name in thresholds:
        if name not in rule.classifiers:
            hint = suggestion(name, rule.classifiers)
            yield Problem(*place, f"`{name}` is not among the rule's classifiers{hint}")
    waits = [name in thresholds for name in rule.classifiers]
    if not waits or waits[0]:
        yield Problem(*place, "`escalate_at` needs a classifier that is asked first")
    elif waits != sorted(waits):
        yield Problem(*place, "who is asked in doubt has to come last in `classifiers`")


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
        if _stops(band) and _main_actions(band) not in ([], ["block"]):
            yield Problem(*place, "`stop_conversation` stands beside `block` and nothing milder")
        for word in _repeated_beside(band):
            yield Problem(*place, f"a band takes `{word}` once")
        for other in bands[:index]:
            if other.gte == band.gte:
                yield Problem(*place, f"another band starts at {band.gte:g} too")
            elif _milder_above(band, other) or _milder_above(other, band):
                yield Problem(*place, "of two bands, the higher one must not be the milder one")


def _repeated_beside(band: BandEntry) -> list[str]:
    """Return what stands beside the main action more than once: only one of it would count."""
    words = [
        word
        for each in band.actions
        for word in (each.given if isinstance(each, SpecialAction) else [each])
    ]
    return [word for word in (*sorted(BESIDE), "escalate", "disclaim") if words.count(word) > 1]


def _milder_above(upper: BandEntry, lower: BandEntry) -> bool:
    return upper.gte > lower.gte and _strictness(upper) < _strictness(lower)


def _strictness(band: BandEntry) -> tuple[int, bool]:
    if _stops(band):
        return Action.BLOCK, True
    return max((Action[word.upper()] for word in _main_actions(band)), default=Action.FLAG), False


def _stops(band: BandEntry) -> bool:
    return "stop_conversation" in band.actions


def _main_actions(band: BandEntry) -> list[str]:
    words = [word for word in band.actions if isinstance(word, str) and word not in BESIDE]
    named = [each for each in band.actions if isinstance(each, SpecialAction) and each.redact]
    return [*words, *("redact" for _ in named)]
