"""Turns a parsed policy file into a `Policy`: defaults filled in, words into enums."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import rfc8785

from classifiers.types import NO_SECRETS, Secret, Secrets
from policies.agent_compile import conduct, terms_of
from policies.agent_rules import UNLISTED, used_categories, written_entries
from policies.bundle import Pin
from policies.circumstances import AgeGroup, Circumstances
from policies.conditions import compile_condition
from policies.document import Document, Path
from policies.ladder import Ladder, Sanction, Step
from policies.rule_parts import band_of, messages_of, resolved, scope_of, words_of
from policies.rule_schema import Canary, CircumstancesEntry, Given, InlineTestEntry, RuleEntry
from policies.schema import EnforcementEntry, ExceptionEntry, PolicyDocument
from policies.testing import NO_PAST, Past, PastStep, PolicyTest
from policies.types import (
    Action,
    Category,
    Mode,
    Policy,
    PolicyException,
    Redactor,
    Rule,
    Rung,
    Stage,
)

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def digest(parsed: PolicyDocument, pins: Mapping[str, Pin]) -> str:
    """Return SHA-256 of the resolved policy's RFC 8785 JSON, hex.

    No comments, no layout, and nothing that says the default: a later version of the format
    may say more and leave the digest of every older file as it is.
    """
    said = parsed.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if pins:
        said["includes"] = [
            {"id": name, "version": pin.version, "digest": pin.digest} for name, pin in pins.items()
        ]
    return hashlib.sha256(rfc8785.dumps(said)).hexdigest()


def compile_policy(parsed: PolicyDocument, digest: str) -> Policy:
    """Return the policy that a file without contradictions means, what it includes apart."""
    defaults = parsed.defaults
    effective = parsed.metadata.effective
    return Policy(
        id=parsed.metadata.id,
        version=parsed.metadata.version,
        digest=digest,
        rules=(*(_rule(entry, parsed) for entry in parsed.rules), *conduct(parsed)),
        categories=_categories(parsed),
        exceptions=tuple(_exception(entry) for entry in parsed.exceptions),
        redactors={
            name: Redactor(frozenset(entry.types), entry.with_)
            for name, entry in parsed.redactors.items()
        },
        disclaimers={name: words_of(entry) for name, entry in parsed.disclaimers.items()},
        ladders=_ladders(parsed.enforcement),
        effective_from=moment(effective.from_),
        effective_until=moment(effective.until),
        deadline_ms=defaults.deadline_ms,
        terms=terms_of(parsed),
        max_unscreened_chars=defaults.max_unscreened_chars,
        judge_deadline_ms=defaults.judge_deadline_ms,
        spools=defaults.durability == "spool",
        on_unsupported_language=resolved(
            defaults.on_unsupported_language, resolved(defaults.on_unavailable, {})
        ),
    )


def _categories(parsed: PolicyDocument) -> dict[str, Category]:
    found = {
        name: Category(name, entry.severity, entry.rationale, entry.clause)
        for name, entry in parsed.categories.items()
    }
    return {**used_categories(parsed), **found}


def compile_tests(parsed: PolicyDocument, document: Document) -> tuple[PolicyTest, ...]:
    """Return the inline tests of all rules, in file order."""
    tests = []
    for path, rule, entries in tested(parsed):
        for index, entry in enumerate(entries):
            line, column = document.place((*path, "tests", index))
            test = PolicyTest(
                name=entry.name,
                rule=rule,
                stage=Stage(entry.given.stage),
                expect=Action[entry.expect.upper()],
                scores=entry.given.scores or {},
                missing=frozenset(entry.given.missing),
                unsupported=frozenset(entry.given.unsupported),
                rungs=entry.given.rungs,
                text=entry.given.text,
                circumstances=circumstances_of(entry.given.circumstances),
                at=moment(entry.given.at),
                past=past_of(entry.given),
                secrets=secrets_of(entry.given),
                line=line,
                column=column,
            )
            tests.append(test)
    return tuple(tests)


def tested(parsed: PolicyDocument) -> Iterator[tuple[Path, str, Sequence[InlineTestEntry]]]:
    """Yield every part that may have tests: where it stands, the rule's id, and the tests."""
    for number, rule in enumerate(parsed.rules):
        yield ("rules", number), rule.id, rule.tests
    if parsed.tools is not None:
        yield ("tools",), f"{parsed.tools.id}{UNLISTED}", parsed.tools.tests
    for path, each in written_entries(parsed.tools, parsed.flows, parsed.limits):
        yield path, each.id, each.tests


def secrets_of(given: Given) -> Secrets:
    """Return what a test's model was told; where nothing was, always the same object."""
    known = tuple(Secret(text, origin) for origin, texts in given.secrets.items() for text in texts)
    return Secrets(known) if known else NO_SECRETS


def past_of(given: Given) -> Past:
    """Return what happened before, as a test says it."""
    call = given.call
    if call is None and not given.trajectory and not given.reasoning_chars:
        return NO_PAST
    return Past(
        steps=tuple(
            PastStep(
                tool=step.result_of or step.call_of or "",
                is_call=step.call_of is not None,
                scores=step.scores,
                missing=frozenset(step.missing),
                unsupported=frozenset(step.unsupported),
                arguments=step.arguments,
                chars=len(step.text or step.arguments) if step.chars is None else step.chars,
                text=step.text,
                turns_ago=step.turns_ago,
                new=step.new,
                times=step.times,
            )
            for step in given.trajectory
        ),
        called=call.tool if call else None,
        arguments=(call.arguments if call else None) or given.text or "{}",
        reasoning_chars=given.reasoning_chars,
    )


def _rule(entry: RuleEntry, parsed: PolicyDocument) -> Rule:
    on_unavailable = resolved(entry.on_unavailable, resolved(parsed.defaults.on_unavailable, {}))
    thresholds = entry.thresholds
    return Rule(
        id=entry.id,
        category=entry.category,
        stages=frozenset(Stage(stage) for stage in entry.stages),
        bands=tuple(sorted((band_of(each) for each in entry.bands), key=lambda band: -band.gte)),
        on_unavailable=on_unavailable,
        on_unsupported_language=resolved(
            entry.on_unsupported_language,
            resolved(parsed.defaults.on_unsupported_language, on_unavailable),
        ),
        classifiers=frozenset(name for name in entry.classifiers if name not in thresholds),
        rungs=tuple(
            Rung(name, thresholds[name]) for name in entry.classifiers if name in thresholds
        ),
        mode=Mode.CANARY if isinstance(entry.mode, Canary) else Mode(entry.mode),
        canary_percent=entry.mode.canary if isinstance(entry.mode, Canary) else 100,
        scope=scope_of(entry.scope),
        when=compile_condition(entry.when) if entry.when else None,
        locked=entry.locked,
        exemptible=entry.exemptible,
        origin=parsed.metadata.id,
        code=entry.code,
        **messages_of(entry.message),
    )


def circumstances_of(entry: CircumstancesEntry) -> Circumstances:
    """Return who asks in a test; what is not said is as for anybody."""
    given = entry.model_dump(exclude_none=True)
    if "age_group" in given:
        given["age_group"] = AgeGroup(given["age_group"])
    for name, collection in (("tools", tuple), ("access", frozenset)):
        if name in given:
            given[name] = collection(given[name])
    return Circumstances(**given)


def _exception(entry: ExceptionEntry) -> PolicyException:
    return PolicyException(
        id=entry.id,
        rule=entry.rule,
        action=Action[entry.action.upper()],
        since=instant(entry.from_),
        until=instant(entry.until),
        scope=scope_of(entry.scope),
        reason=entry.reason,
        ticket=entry.ticket or "",
        approved_by=tuple(entry.approved_by),
    )


def _ladders(entry: EnforcementEntry | None) -> tuple[Ladder, ...]:
    if entry is None:
        return ()
    steps = sorted(entry.strikes.ladder, key=lambda step: step.at)
    return (
        Ladder(
            span(entry.strikes.window),
            tuple(
                Step(step.at, Sanction[step.do.upper()], span(step.for_) if step.for_ else None)
                for step in steps
            ),
        ),
    )


def span(text: str) -> timedelta:
    """Return how long `30d`, `12h` or `5m` is."""
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})


def instant(text: str) -> datetime:
    """Return the moment that a file means; a day begins at midnight UTC.

    Raises:
        ValueError: If there is no such day or hour.
    """
    given = datetime.fromisoformat(text)
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def moment(text: str | None) -> datetime | None:
    """Return the moment that a file means, or None. Raises as `instant` does."""
    return None if text is None else instant(text)
