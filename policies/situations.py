"""Every situation in which one of two policies may be another than it is elsewhere. Pure.

What of a policy applies depends on who asks, on the moment and on the draw of its canaries.
All three fall into few kinds: what no scope tells apart is the same to the policy. One of
each kind is taken, and of those that `policies.apply` leaves the same policies for, the
first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice, product
from operator import and_
from typing import Any

from policies.apply import apply, in_canary
from policies.circumstances import ANYBODY, AgeGroup, Circumstances, Scope
from policies.types import Mode, Policy, Rule
from policies.wildcards import kinds_of_names

_ENDPOINTS = ("responses", "chat", "moderations")
_FIELDS = {
    "project": "projects",
    "tier": "tiers",
    "age_group": "age_groups",
    "endpoint": "endpoints",
    "model": "models",
    "locale": "locales",
}
_END_USERS = 5_000  # who are tried in order to find one of each kind
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Situation:
    """Who asks and when, and what applies then.

    Attributes:
        given: The circumstances.
        at: The moment, or None where it does not matter.
        before: What of the one policy applies.
        after: What of the other one.
    """

    given: Circumstances
    at: datetime | None
    before: Policy
    after: Policy


@dataclass(slots=True)
class Situations:
    """What was found.

    Attributes:
        found: One of each kind, the plainest first.
        whole: Whether these are all.
    """

    found: list[Situation] = field(default_factory=list)
    whole: bool = True


def situations(before: Policy, after: Policy, most: int) -> Situations:
    """Return one of each kind of situations that `before` and `after` tell apart.

    Args:
        before: A policy, with the rules and exceptions that are of interest.
        after: Another one.
        most: How many combinations are tried.
    """
    sides = (before, after)
    circumstances, named = _circumstances([*_scopes(sides)], most)
    end_users, drawn = _end_users([rule for side in sides for rule in side.rules])
    moments = _moments(sides)
    combined = product(end_users, moments, circumstances)
    found: dict[tuple[object, ...], Situation] = {}
    for end_user, at, given in islice(combined, most):
        who = replace(given, end_user=end_user)
        applied = [apply(side, who, at or _ANY_TIME) for side in sides]
        found.setdefault(tuple(map(_told_apart, applied)), Situation(who, at, *applied))
    tried = len(end_users) * len(moments) * len(circumstances) <= most
    return Situations(list(found.values()), named and drawn and tried)


def overlap(one: Scope, other: Scope) -> Circumstances | None:
    """Return circumstances that both scopes cover, or None if there are none."""
    given = ANYBODY
    for name, plural in _FIELDS.items():
        values, _ = _values(name, [getattr(scope, plural) for scope in (one, other)])
        both = (v for v in values if all(_covering([one, other], name, plural, v)))
        value = next(both, None)
        if value is None:
            return None
        given = replace(given, **{name: value})
    return given


def spoken(policy: Policy) -> tuple[tuple[str, str], ...]:
    """Return the disclaimers that the rules of an applied policy name, as they are spoken."""
    names = sorted(_disclaimers(policy))
    return tuple((name, policy.disclaimers.get(name, {}).get("", "")) for name in names)


def _told_apart(policy: Policy) -> tuple[object, ...]:
    rules = ((rule.id, rule.mode, rule.exception) for rule in policy.rules)
    return (*rules, spoken(policy))


def _disclaimers(policy: Policy) -> set[str]:
    return {band.disclaimer for rule in policy.rules for band in rule.bands if band.disclaimer}


def _scopes(sides: Iterable[Policy]) -> Iterator[Scope]:
    for side in sides:
        yield from (rule.scope for rule in side.rules)
        yield from (exception.scope for exception in side.exceptions)
        tags = {tag for name in _disclaimers(side) for tag in side.disclaimers.get(name, {})}
        yield from (Scope(locales=(tag,)) for tag in sorted(tags) if tag)


def _circumstances(every: Sequence[Scope], most: int) -> tuple[list[Circumstances], bool]:
    """Return one of each kind, and whether they are all: field by field, kinds are joined."""
    scopes = list(dict.fromkeys(every))
    found = {(True,) * len(scopes): ANYBODY}
    whole = True
    for name, plural in _FIELDS.items():
        values, all_of_them = _values(name, [getattr(scope, plural) for scope in scopes])
        whole = whole and all_of_them
        joined: dict[tuple[bool, ...], Circumstances] = {}
        for value in values:
            alone = _covering(scopes, name, plural, value)
            for covered, given in found.items():
                both = tuple(map(and_, covered, alone))
                joined.setdefault(both, replace(given, **{name: value}))
        whole = whole and len(joined) <= most
        found = dict(islice(joined.items(), most))
    return list(found.values()), whole


def _covering(
    scopes: Sequence[Scope],
    name: str,
    plural: str,
    value: Any,  # noqa: ANN401 - of any field
) -> tuple[bool, ...]:
    """Return which scopes a value is within, as far as its own field goes."""
    given = replace(ANYBODY, **{name: value})
    return tuple(Scope(**{plural: getattr(scope, plural)}).covers(given) for scope in scopes)


def _values(name: str, lists: Iterable[tuple[str, ...] | None]) -> tuple[Sequence[Any], bool]:
    """Return values of a field, the usual one first, so that every kind is among them."""
    patterns = sorted({pattern for each in lists if each for pattern in each})
    usual = getattr(ANYBODY, name)
    if name == "age_group":
        return sorted(AgeGroup, key=lambda value: value is not usual), True
    if name == "endpoint":
        return _ENDPOINTS, True
    if name == "locale":  # the longest tag that is mentioned says which others are
        return [usual, *(tag for tag in patterns if tag != "*")], True
    return kinds_of_names(patterns, [usual])


def _end_users(rules: Sequence[Rule]) -> tuple[list[str | None], bool]:
    """Return end users so that each canary is drawn, with each other one, as it can be."""
    shares: dict[str, set[int]] = {}
    for rule in rules:
        if rule.mode is Mode.CANARY:
            shares.setdefault(rule.id, set()).add(rule.canary_percent)
    found: dict[tuple[bool, ...], str | None] = {_drawn(shares, None): None}
    wanted = 1
    for percents in shares.values():
        wanted *= 1 + len({percent for percent in percents if 0 < percent < 100})
    for number in range(_END_USERS):
        if len(found) >= wanted:
            break
        found.setdefault(_drawn(shares, f"user-{number}"), f"user-{number}")
    return list(found.values()), len(found) >= wanted


def _drawn(shares: Mapping[str, set[int]], end_user: str | None) -> tuple[bool, ...]:
    return tuple(
        in_canary(rule, end_user, percent)
        for rule, percents in shares.items()
        for percent in sorted(percents)
    )


def _moments(sides: Iterable[Policy]) -> list[datetime | None]:
    """Return each moment at which an exception begins or ends.

    The last one comes first: no exception is in force any more, as before them all.
    """
    ends = {end for side in sides for each in side.exceptions for end in (each.since, each.until)}
    return [*sorted(ends, key=lambda end: (end < max(ends), end))] or [None]
