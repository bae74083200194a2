"""Finds what is allowed in a policy but probably not meant.

The loader refuses what is wrong; this looks at a policy that loads. Nothing here changes a
decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from policies.document import Path, Position
from policies.resolve import PolicyFile
from policies.testing import PolicyTest
from policies.types import Action, Rule

SERIOUS = ("high", "critical")


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


def lint(file: PolicyFile) -> tuple[Finding, ...]:
    """Return the findings on what the file itself says, in file order."""
    findings: list[Finding] = []
    rules = {rule.id: rule for rule in file.policy.rules}
    for number, written in enumerate(file.document.value.get("rules", ())):
        path: Path = ("rules", number)
        rule = rules[written["id"]]
        tests = [test for test in file.tests if test.rule == rule.id]
        findings += _tests(rule, tests, file.document.place(path))
        findings += _bands(rule, file.document.place((*path, "bands")))
        findings += _open_on_failure(rule, file, file.document.place(path))
        findings += _messages(rule, file.document.place(path))
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
        same = (upper.action, upper.strike, upper.escalate) == (
            lower.action,
            lower.strike,
            lower.escalate,
        )
        if same:
            message = f"the band at {upper.gte:g} does what the one at {lower.gte:g} does already"
            yield Finding(*place, "unreachable-band", message)
    for band in rule.bands:
        if band.gte == 0:
            yield Finding(*place, "always-matches", "a band at 0 matches every passage")
        if band.action is Action.ALLOW and not (band.strike or band.escalate):
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


def _categories(file: PolicyFile) -> Iterator[Finding]:
    watched = {rule.category for rule in file.policy.rules}
    for name in file.document.value.get("categories", ()):
        category = file.policy.categories[name]
        place = file.document.place(("categories", name), of_key=True)
        if name not in watched:
            yield Finding(*place, "unused-category", f"no rule watches category `{name}`")
        if not category.rationale:
            yield Finding(*place, "missing-rationale", f"category `{name}` does not say why")
