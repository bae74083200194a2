"""Findings on what stands beside the bands of rules: conditions, exceptions, texts, includes.

The part of `policies.lint` that looks at sections of a file, and at rules together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.bundle import LOCK_NAME, Lock
from policies.conditions import VARIABLES
from policies.document import Path
from policies.ladder import Sanction
from policies.mistakes import suggestion
from policies.resolve import PolicyFile
from policies.situations import overlap
from policies.types import Action, PolicyException, Rule

SOON = timedelta(days=14)
LONG = timedelta(days=366)

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_LOOKED_UP = re.compile(r"\bscores\s*\[\s*(?:'([^']*)'|\"([^\"]*)\")\s*\]")
_ASKED_FOR = re.compile(r"(?:'([^']*)'|\"([^\"]*)\")\s+in\s+scores\b")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing to look at.

    Attributes:
        line: Where, from 1.
        column: Likewise.
        code: A stable name for the kind of finding: `missing-test`.
        message: What and why, lower case.
    """

    line: int
    column: int
    code: str
    message: str


def in_conditions(file: PolicyFile) -> Iterator[Finding]:
    """Yield what is odd about the conditions of the file's own rules."""
    watched = {rule.category for rule in file.policy.rules}
    for number, written in enumerate(file.document.value.get("rules", ())):
        text = written.get("when")
        if text is None:
            continue
        place = file.document.place(("rules", number, "when"))
        bare = _QUOTED.sub("''", text)
        if not any(re.search(rf"\b{re.escape(name)}\b", bare) for name in VARIABLES):
            message = f"`{text}` looks at nothing, so it is the same for everybody"
            yield Finding(*place, "constant-condition", message)
        looked_up, asked_for = (
            dict.fromkeys(one or other for one, other in pattern.findall(text))
            for pattern in (_LOOKED_UP, _ASKED_FOR)
        )
        for name in looked_up:
            if name not in file.policy.categories:
                hint = suggestion(name, file.policy.categories)
                message = f"`scores` has no category `{name}`{hint}"
                yield Finding(*place, "unknown-category", message)
            elif name not in asked_for and name not in watched:
                message = (
                    f"no rule watches `{name}`, and where nobody scored it the condition cannot "
                    f"be told: the rule takes `on_unavailable`; ask `'{name}' in scores` first"
                )
                yield Finding(*place, "unguarded-look-up", message)


def in_sections(file: PolicyFile, now: datetime | None) -> Iterator[Finding]:
    """Yield what is odd about exceptions, texts, names that nobody uses, and the ladder."""
    until = file.policy.effective_until
    if now and until and until <= now:
        place = file.document.place(("metadata", "effective", "until"))
        yield Finding(
            *place, "expired-policy", f"the policy was to be in force until {_day(until)}"
        )
    exceptions = {each.id: each for each in file.policy.exceptions}
    rules = {rule.id: rule for rule in file.policy.rules}
    for number, written in enumerate(file.document.value.get("exceptions", ())):
        exception = exceptions[written["id"]]
        path: Path = ("exceptions", number)
        for code, message in (
            *_dated(exception, now),
            *_exception(exception, rules[exception.rule], file),
        ):
            yield Finding(*file.document.place(path), code, message)
    yield from _untranslated(file)
    yield from _unused(file)
    yield from _ladder(file)


def _dated(exception: PolicyException, now: datetime | None) -> Iterator[tuple[str, str]]:
    name, until = exception.id, exception.until
    if now and until <= now:
        yield "expired-exception", f"exception `{name}` ended on {_day(until)}; take it out"
    elif now and until - now <= SOON:
        yield "expiring-exception", f"exception `{name}` ends on {_day(until)}"
    if until - exception.since > LONG:
        message = f"exception `{name}` is for more than a year; an exception ends"
        yield "long-exception", message


def _exception(
    exception: PolicyException, rule: Rule, file: PolicyFile
) -> Iterator[tuple[str, str]]:
    name = exception.id
    if file.policy.categories[rule.category].severity == "critical":
        message = f"exception `{name}` makes rule `{rule.id}` milder, whose category is critical"
        yield "critical-exception", message
    if overlap(exception.scope, rule.scope) is None:
        message = f"exception `{name}` is for nobody that rule `{rule.id}` is for"
        yield "no-effect", message
    elif all(action <= exception.action for action in _done(rule)):
        does = exception.action.name.lower()
        message = f"exception `{name}` changes nothing: rule `{rule.id}` does no more than `{does}`"
        yield "no-effect", message


def _done(rule: Rule) -> Iterator[Action]:
    yield from (band.action for band in rule.bands)
    for stage in rule.stages:
        yield rule.on_unavailable[stage]
        yield rule.on_unsupported_language.get(stage, Action.ALLOW)


def _untranslated(file: PolicyFile) -> Iterator[Finding]:
    """A language that some texts are in and others are not."""
    rules = {rule.id: rule for rule in file.policy.rules}
    texts: list[tuple[str, Path, frozenset[str]]] = []
    for number, written in enumerate(file.document.value.get("rules", ())):
        said = rules[written["id"]].user_messages
        if any(said.values()):
            path: Path = ("rules", number, "message")
            texts.append((f"the message of rule `{written['id']}`", path, frozenset(said)))
    for name in file.document.value.get("disclaimers", ()):
        said = file.policy.disclaimers[name]
        texts.append((f"disclaimer `{name}`", ("disclaimers", name), frozenset(said)))
    every = frozenset().union(*(tags for _, _, tags in texts))
    for what, path, tags in texts:
        for tag in sorted(every - tags):
            place = file.document.place(path)
            message = f"{what} is not there in `{tag}`, as others are"
            yield Finding(*place, "missing-translation", message)


def _unused(file: PolicyFile) -> Iterator[Finding]:
    bands = [band for rule in file.policy.rules for band in rule.bands]
    used = {
        "redactors": {band.redactor for band in bands},
        "disclaimers": {band.disclaimer for band in bands},
    }
    for section, names in used.items():
        for name in file.document.value.get(section, ()):
            if name not in names:
                place = file.document.place((section, name), of_key=True)
                noun = section.removesuffix("s")
                yield Finding(*place, f"unused-{noun}", f"no band uses {noun} `{name}`")


def _ladder(file: PolicyFile) -> Iterator[Finding]:
    if "enforcement" not in file.document.value:
        return
    place = file.document.place(("enforcement", "strikes", "ladder"))
    steps = [step for ladder in file.policy.ladders for step in ladder.steps]
    if all(step.sanction < Sanction.SUSPEND for step in steps):
        message = "no step suspends or deactivates: strikes have no end"
        yield Finding(*place, "ladder-without-suspend", message)
    if not any(band.strike for rule in file.policy.rules for band in rule.bands):
        yield Finding(*place, "no-strikes", "no rule counts a strike, so no step is ever reached")


def in_includes(file: PolicyFile, newest: Lock | None) -> Iterator[Finding]:
    """Yield which includes have a later version that is in range."""
    pins = file.bundle.lock.get(file.policy.id, {})
    there = (newest or {}).get(file.policy.id, {})
    for number, written in enumerate(file.document.value.get("includes", ())):
        name = written["id"]
        if name in pins and name in there and there[name] != pins[name]:
            place = file.document.place(("includes", number))
            message = (
                f"`{name}` {there[name].version} (sha256 {there[name].digest[:12]}) is there; "
                f"{LOCK_NAME} says {pins[name].version} (sha256 {pins[name].digest[:12]})"
            )
            yield Finding(*place, "newer-include", message)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
