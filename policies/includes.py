"""Joins a policy with those it includes. Pure.

Included rules hold as they are. A rule of the policy's own with the same id replaces the
included one, and where that one is `locked`, only by one that asks for at least as much.
Exceptions of an included policy hold on; new ones may not touch its locked rules. Texts and
redactors of included policies keep their names to themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from policies.document import Document, Problem
from policies.locks import loosened
from policies.schema import PolicyDocument
from policies.terms import joined
from policies.types import Included, Policy, Rule

Part = TypeVar("Part")

_RANGE = re.compile(r"([\^~]?)(\d+)(?:\.(\d+))?(?:\.(\d+))?")


def in_range(version: str, wanted: str) -> bool:
    """Return whether a version is one that an include asks for.

    `1.2.3` is that version and `1.2` any `1.2.x`; `~1.2.3` also takes later patches, and
    `^1.2.3` whatever is later and does not change the first number that is not 0.
    """
    found = _RANGE.fullmatch(wanted)
    if found is None:
        return False
    given = [int(part) for part in found.groups()[1:] if part is not None]
    have = [int(part) for part in version.split(".")]
    if not found[1]:
        return have[: len(given)] == given
    if found[1] == "~":
        fixed = min(len(given), 2)
    else:
        fixed = next((at for at, part in enumerate(given, 1) if part), len(given))
    return have >= given and have[:fixed] == given[:fixed]


def join(own: Policy, included: Sequence[Policy]) -> Policy:
    """Return `own` with the rules of `included`; call `clashes` first."""
    rules = {rule.id: rule for policy in included for rule in policy.rules}
    locked = _locked(included)
    for rule in own.rules:
        rules[rule.id] = replace(rule, locked=True) if rule.id in locked else rule
    taken = (
        each
        for policy in included
        for each in (*policy.includes, Included(policy.id, policy.version, policy.digest))
    )
    exceptions = {each.id: each for policy in included for each in policy.exceptions}
    exceptions.update({each.id: each for each in own.exceptions})
    return replace(
        own,
        rules=tuple(rules.values()),
        categories=_joined(*(policy.categories for policy in included), own.categories),
        exceptions=tuple(exceptions.values()),
        redactors=_joined(*(policy.redactors for policy in included), own.redactors),
        disclaimers=_joined(*(policy.disclaimers for policy in included), own.disclaimers),
        ladders=tuple(
            dict.fromkeys(ladder for policy in (*included, own) for ladder in policy.ladders)
        ),
        terms=joined(*(policy.terms for policy in (own, *included))),
        max_unscreened_chars=min(policy.max_unscreened_chars for policy in (own, *included)),
        spools=all(policy.spools for policy in (own, *included)),
        includes=tuple(dict.fromkeys(taken)),
    )


def _locked(included: Sequence[Policy]) -> dict[str, list[Rule]]:
    """Return the locked rules by id; policies that are included beside each other may differ."""
    locked: dict[str, list[Rule]] = {}
    for policy in included:
        for rule in policy.rules:
            if rule.locked and rule not in locked.setdefault(rule.id, []):
                locked[rule.id].append(rule)
    return locked


def _joined(*parts: Mapping[str, Part]) -> dict[str, Part]:
    return {name: value for part in parts for name, value in part.items()}


def clashes(
    own: Policy, included: Sequence[Policy], parsed: PolicyDocument, document: Document
) -> Iterator[Problem]:
    """Yield what cannot be joined, where it stands in the including file."""
    rules: dict[str, Rule] = {}
    mine = {rule.id for rule in own.rules}
    for number, policy in enumerate(included):
        place = document.place(("includes", number))
        for rule in policy.rules:
            other = rules.setdefault(rule.id, rule)
            if other != rule and rule.id not in mine:
                message = (
                    f"rule `{rule.id}` of `{policy.id}` differs from the one of `{other.origin}` "
                    "that is included too; write your own with this id"
                )
                yield Problem(*place, message)
        yield from _doubles(policy, included[:number], document)
        yield from _smuggled(policy, included, place)
    locked = _locked(included)
    for number, rule in enumerate(own.rules):
        for before in locked.get(rule.id, ()):
            if less := loosened(before, rule):
                message = f"rule `{rule.id}` is locked by `{before.origin}`: {less}"
                yield Problem(*document.place(("rules", number)), message)
    yield from _exceptions(locked, parsed, document)
    yield from _shadowed(included, parsed, document)


def _doubles(policy: Policy, earlier: Sequence[Policy], document: Document) -> Iterator[Problem]:
    """Names that two included policies use for different things."""
    for other in earlier:
        for kind in ("redactors", "disclaimers", "exceptions"):
            ours, theirs = _named(policy, kind), _named(other, kind)
            for name in sorted(ours.keys() & theirs.keys()):
                if ours[name] != theirs[name]:
                    message = f"`{policy.id}` and `{other.id}` mean two things by `{name}`"
                    yield Problem(*document.place(("includes",), of_key=True), message)


def _named(policy: Policy, kind: str) -> Mapping[str, object]:
    if kind == "exceptions":
        return {each.id: each for each in policy.exceptions}
    named: Mapping[str, object] = getattr(policy, kind)
    return named


def _smuggled(
    policy: Policy, included: Sequence[Policy], place: tuple[int, int]
) -> Iterator[Problem]:
    """Exceptions of one included policy to a rule that another one locks."""
    for other in included:
        locked = {rule.id for rule in other.rules if rule.locked}
        for each in policy.exceptions:
            if each.rule in locked and each not in other.exceptions:
                message = (
                    f"exception `{each.id}` of `{policy.id}` touches rule `{each.rule}`, "
                    f"which `{other.id}` locks"
                )
                yield Problem(*place, message)


def _exceptions(
    locked: Mapping[str, Sequence[Rule]], parsed: PolicyDocument, document: Document
) -> Iterator[Problem]:
    for number, entry in enumerate(parsed.exceptions):
        for rule in locked.get(entry.rule, ())[:1]:
            place = document.place(("exceptions", number, "rule"))
            message = f"rule `{entry.rule}` is locked by `{rule.origin}`: no exception here"
            yield Problem(*place, message)


def _shadowed(
    included: Sequence[Policy], parsed: PolicyDocument, document: Document
) -> Iterator[Problem]:
    for kind in ("redactors", "disclaimers"):
        for policy in included:
            for name in sorted(getattr(parsed, kind).keys() & getattr(policy, kind).keys()):
                place = document.place((kind, name), of_key=True)
                yield Problem(*place, f"`{name}` is taken by `{policy.id}`")
    for policy in included:
        taken = {each.id for each in policy.exceptions}
        for number, entry in enumerate(parsed.exceptions):
            if entry.id in taken:
                place = document.place(("exceptions", number, "id"))
                yield Problem(*place, f"`{entry.id}` is taken by `{policy.id}`")
