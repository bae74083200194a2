"""Turns a parsed policy file into a `Policy`: defaults filled in, words into enums."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc8785

from policies.bundle import Pin
from policies.circumstances import EVERYBODY, AgeGroup, Circumstances, Scope
from policies.conditions import compile_condition
from policies.document import Document
from policies.ladder import Ladder, Sanction, Step
from policies.rule_schema import (
    BandEntry,
    Canary,
    CircumstancesEntry,
    MessageEntry,
    PerStage,
    RuleEntry,
    ScopeEntry,
    SpecialAction,
)
from policies.schema import EnforcementEntry, ExceptionEntry, PolicyDocument
from policies.testing import PolicyTest
from policies.types import (
    Action,
    Band,
    Category,
    Mode,
    Policy,
    PolicyException,
    Redactor,
    Rule,
    Rung,
    Stage,
    Words,
)
from policies.words import BESIDE

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
        rules=tuple(_rule(entry, parsed) for entry in parsed.rules),
        categories={
            name: Category(name, entry.severity, entry.rationale, entry.clause)
            for name, entry in parsed.categories.items()
        },
        exceptions=tuple(_exception(entry) for entry in parsed.exceptions),
        redactors={
            name: Redactor(frozenset(entry.types), entry.with_)
            for name, entry in parsed.redactors.items()
        },
        disclaimers={name: _words(entry) for name, entry in parsed.disclaimers.items()},
        ladders=_ladders(parsed.enforcement),
        effective_from=moment(effective.from_),
        effective_until=moment(effective.until),
        deadline_ms=defaults.deadline_ms,
        max_unscreened_chars=defaults.max_unscreened_chars,
        judge_deadline_ms=defaults.judge_deadline_ms,
        on_unsupported_language=_resolved(
            defaults.on_unsupported_language, _resolved(defaults.on_unavailable, {})
        ),
    )


def compile_tests(parsed: PolicyDocument, document: Document) -> tuple[PolicyTest, ...]:
    """Return the inline tests of all rules, in file order."""
    tests = []
    for number, rule in enumerate(parsed.rules):
        for index, entry in enumerate(rule.tests):
            line, column = document.place(("rules", number, "tests", index))
            test = PolicyTest(
                name=entry.name,
                rule=rule.id,
                stage=Stage(entry.given.stage),
                expect=Action[entry.expect.upper()],
                scores=entry.given.scores or {},
                missing=frozenset(entry.given.missing),
                unsupported=frozenset(entry.given.unsupported),
                rungs=entry.given.rungs,
                text=entry.given.text,
                circumstances=circumstances_of(entry.given.circumstances),
                at=moment(entry.given.at),
                line=line,
                column=column,
            )
            tests.append(test)
    return tuple(tests)


def _rule(entry: RuleEntry, parsed: PolicyDocument) -> Rule:
    on_unavailable = _resolved(entry.on_unavailable, _resolved(parsed.defaults.on_unavailable, {}))
    thresholds = entry.thresholds
    return Rule(
        id=entry.id,
        category=entry.category,
        stages=frozenset(Stage(stage) for stage in entry.stages),
        bands=tuple(sorted((_band(each) for each in entry.bands), key=lambda band: -band.gte)),
        on_unavailable=on_unavailable,
        on_unsupported_language=_resolved(
            entry.on_unsupported_language,
            _resolved(parsed.defaults.on_unsupported_language, on_unavailable),
        ),
        classifiers=frozenset(name for name in entry.classifiers if name not in thresholds),
        rungs=tuple(
            Rung(name, thresholds[name]) for name in entry.classifiers if name in thresholds
        ),
        mode=Mode.CANARY if isinstance(entry.mode, Canary) else Mode(entry.mode),
        canary_percent=entry.mode.canary if isinstance(entry.mode, Canary) else 100,
        scope=_scope(entry.scope),
        when=compile_condition(entry.when) if entry.when else None,
        locked=entry.locked,
        exemptible=entry.exemptible,
        origin=parsed.metadata.id,
        code=entry.code,
        **_messages(entry.message),
    )


def _resolved(
    given: str | PerStage | None, fallback: Mapping[Stage, Action]
) -> dict[Stage, Action]:
    """Return what is given for each stage, where nothing is the fallback, and then block."""
    own = _per_stage(given)
    return {stage: own.get(stage, fallback.get(stage, Action.BLOCK)) for stage in Stage}


def _per_stage(given: str | PerStage | None) -> Mapping[Stage, Action]:
    if given is None:
        return {}
    if isinstance(given, str):
        return dict.fromkeys(Stage, Action[given.upper()])
    named = given.model_dump(exclude_none=True)
    return {Stage(stage): Action[action.upper()] for stage, action in named.items()}


def _band(entry: BandEntry) -> Band:
    words = [action for action in entry.actions if isinstance(action, str)]
    special = {
        key: value
        for action in entry.actions
        if isinstance(action, SpecialAction)
        for key, value in action.given.items()
    }
    main = [Action[word.upper()] for word in words if word not in BESIDE]
    stop = "stop_conversation" in words
    mildest = Action.BLOCK if stop else Action.FLAG
    if "redact" in special:
        main.append(Action.REDACT)
    return Band(
        gte=entry.gte,
        action=main[0] if main else mildest,
        strike="strike" in words,
        escalate=special.get("escalate"),
        redactor=special.get("redact"),
        disclaimer=special.get("disclaim"),
        stop=stop,
        alert="alert" in words,
    )


def _messages(entry: MessageEntry) -> dict[str, Any]:
    user, developer = _words(entry.user), _words(entry.developer)
    return {
        "user_message": user[""],
        "developer_message": developer[""],
        "user_messages": user,
        "developer_messages": developer,
    }


def _words(given: str | Mapping[str, str]) -> Words:
    """Return texts by language tag, in lower case; the default's tag is empty."""
    if isinstance(given, str):
        return {"": given}
    named = {"" if tag == "default" else tag.casefold(): text for tag, text in given.items()}
    return {"": "", **named}


def _scope(entry: ScopeEntry) -> Scope:
    scope = Scope(**{name: _tuple(value) for name, value in entry})
    return EVERYBODY if scope == EVERYBODY else scope


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


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
        scope=_scope(entry.scope),
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
