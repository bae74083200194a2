"""Finds what is allowed in a policy but probably not meant.

The loader refuses what is wrong; this looks at a policy that loads. Nothing here changes a
decision. The clock is an argument: without one, nothing is said about what has expired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from policies.agent_findings import in_conduct, looked_at
from policies.bundle import Lock
from policies.circumstances import EVERYBODY
from policies.document import Path, Position
from policies.findings import Finding as Finding  # callers lint, and name what they get
from policies.findings import in_conditions, in_includes, in_sections
from policies.resolve import PolicyFile
from policies.situations import overlap
from policies.testing import PolicyTest
from policies.types import Action, Band, Mode, Rule

SERIOUS = ("high", "critical")


def lint(
    file: PolicyFile, now: datetime | None = None, newest: Lock | None = None
) -> tuple[Finding, ...]:
    """Return the findings on what the file itself says, in file order.

    Args:
        file: A policy that loads.
        now: With time zone; None leaves out what depends on it.
        newest: What a lock that is written now would say; None leaves out what depends on it.
    """
    findings = [*in_conditions(file), *in_sections(file, now), *in_includes(file, newest)]
    rules = {rule.id: rule for rule in file.policy.rules}
    for number, written in enumerate(file.document.value.get("rules", ())):
        path: Path = ("rules", number)
        rule = rules[written["id"]]
        tests = [test for test in file.tests if test.rule == rule.id]
        findings += _tests(rule, tests, file.document.place(path))
        findings += _bands(rule, file.document.place((*path, "bands")))
        findings += _open_on_failure(rule, file, file.document.place(path))
        findings += _messages(rule, file.document.place(path))
        findings += _not_enforced(rule, file.document.place(path))
        findings += _rungs(rule, file.document.place((*path, "escalate_at")))
    findings += in_conduct(file)
    findings += _overlaps(file)
    findings += _categories(file)
    return tuple(sorted(findings))


def _tests(rule: Rule, tests: list[PolicyTest], place: Position) -> Iterator[Finding]:
    if not any(test.expect > Action.ALLOW and not test.missing for test in tests):
        yield Finding(*place, "missing-test", f"rule `{rule.id}` has no test that matches")
    if not any(test.expect is Action.ALLOW for test in tests):
        yield Finding(*place, "missing-test", f"rule `{rule.id}` has no test that must not match")
    tried = {test.scores.get(rule.category) for test in tests}
    tried |= {score for test in tests for score in test.rungs.values()}
    for band in rule.bands:
        if band.gte not in tried:
            message = f"rule `{rule.id}` has no test at the boundary {band.gte:g}"
            yield Finding(*place, "missing-boundary-test", message)


def _bands(rule: Rule, place: Position) -> Iterator[Finding]:
    """Bands come highest first; one whose lower neighbour does the same never matters."""
    for upper, lower in zip(rule.bands, rule.bands[1:], strict=False):
        if replace(upper, gte=lower.gte) == lower:
            message = f"the band at {upper.gte:g} does what the one at {lower.gte:g} does already"
            yield Finding(*place, "unreachable-band", message)
    for band in rule.bands:
        if band.gte == 0:
            yield Finding(*place, "always-matches", "a band at 0 matches every passage")
        if replace(band, gte=0.0) == Band(0.0, Action.ALLOW):
            yield Finding(*place, "no-effect", f"the band at {band.gte:g} does nothing")


def _open_on_failure(rule: Rule, file: PolicyFile, place: Position) -> Iterator[Finding]:
    """A serious rule that acts on what it sees, but lets everything pass when it sees nothing."""
    severity = file.policy.categories[rule.category].severity
    stops = any(band.action >= Action.REDACT for band in rule.bands)
    if severity not in SERIOUS or not stops:
        return
    for stage in sorted(rule.stages):
        action = rule.on_unavailable[stage]
        if action < Action.REVIEW:
            message = (
                f"rule `{rule.id}` is open on failure at `{stage}`: severity is `{severity}` "
                f"and on_unavailable is `{action.name.lower()}`"
            )
            yield Finding(*place, "open-on-failure", message)


def _messages(rule: Rule, place: Position) -> Iterator[Finding]:
    blocks = any(band.action is Action.BLOCK for band in rule.bands)
    if blocks and not rule.user_message:
        message = f"rule `{rule.id}` blocks and tells the user nothing"
        yield Finding(*place, "missing-message", message)


def _not_enforced(rule: Rule, place: Position) -> Iterator[Finding]:
    if rule.locked and rule.mode is not Mode.ENFORCE:
        message = f"rule `{rule.id}` is locked, but only a {rule.mode.value} for now"
        yield Finding(*place, "locked-not-enforced", message)


def _rungs(rule: Rule, place: Position) -> Iterator[Finding]:
    """Of later rungs, 1 is a way to say: only if those before give no answer."""
    for rung in rule.rungs[:1]:
        if rung.escalate_at >= 1:
            message = (
                f"`{rung.classifier}` is asked at a score of 1 only, which hardly anybody gives, "
                "or where there is none"
            )
            yield Finding(*place, "unreachable-judge", message)


def _overlaps(file: PolicyFile) -> Iterator[Finding]:
    """Two rules that do the same for scopes that overlap: one rule would do, and say so."""
    rules = {rule.id: rule for rule in file.policy.rules}
    own = [rules[written["id"]] for written in file.document.value.get("rules", ())]
    for number, rule in enumerate(own):
        for other in own[:number]:
            shared = rule.stages & other.stages
            if shared and _meant(rule) == _meant(other):
                given = overlap(rule.scope, other.scope)
                if given is not None:
                    message = (
                        f"rule `{rule.id}` does what `{other.id}` does, and their scopes overlap"
                    )
                    place = file.document.place(("rules", number))
                    yield Finding(*place, "overlapping-scopes", message)


def _meant(rule: Rule) -> Rule:
    """Return the rule but for its name, its texts and whom it is for."""
    return replace(
        rule,
        id="",
        scope=EVERYBODY,
        stages=frozenset(),
        user_message="",
        developer_message="",
        user_messages={},
        developer_messages={},
    )


def _categories(file: PolicyFile) -> Iterator[Finding]:
    watched = {rule.category for rule in file.policy.rules} | looked_at(file)
    for name in file.document.value.get("categories", ()):
        category = file.policy.categories[name]
        place = file.document.place(("categories", name), of_key=True)
        if name not in watched:
            yield Finding(*place, "unused-category", f"no rule watches category `{name}`")
        if not category.rationale:
            yield Finding(*place, "missing-rationale", f"category `{name}` does not say why")
