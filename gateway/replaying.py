"""Reads recorded decisions and has them decided again: what flips, how often, by which rule.

A decision is passed over, and counted as such, if the log does not hold what it was taken
on: it was recorded before that was, it was too large for an entry, the entry that says who
answered is not at hand, or a rule determined it that looks at what happened before. Such
rules of the policy are left out of the replay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.audit.answers import answers_in, cast_of, circumstances_in
from gateway.store.recorded import DECISION
from policies.circumstances import Circumstances
from policies.replay import Cast, Recorded, Replayer
from policies.types import Action, Stage

PANEL = "panel.recorded"
OF_TRAIL = "by a rule on what happened before"
NOT_RECORDED, CLIPPED, NOBODY = "recorded before answers were", "too large", "panel not at hand"

_MOST_LISTED = 1000  # flips; more are counted only
_MOST_PEOPLE = 100_000  # circumstances that are remembered
_ACTIONS = {action.name.lower(): action for action in Action}
_STAGES = {stage.value: stage for stage in Stage}
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Flip:
    """A decision that would have been another one."""

    decision: str
    request: str
    stage: str
    was: str
    would_be: str
    rules: tuple[str, ...]  # those that determine the stricter of the two


@dataclass(slots=True)
class Tally:
    """What came of a replay.

    Attributes:
        replayed: How many decisions were decided again.
        passed_over: How many were not, by reason.
        remembered: How many were like an earlier one.
        unnamed: How many met a condition on functions whose names the log does not hold.
        decided_by: By which policies they had been, as id and version.
        transitions: Flips by what was and what would be.
        by_rule: Flips by rule and direction.
        other_rules: How many come to the same action by other rules.
        flips: The first of them.
    """

    replayed: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    remembered: int = 0
    unnamed: int = 0
    decided_by: Counter[tuple[str, str]] = field(default_factory=Counter)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    other_rules: int = 0
    flips: list[Flip] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in what another process counted."""
        self.replayed += other.replayed
        self.remembered += other.remembered
        self.unnamed += other.unnamed
        self.other_rules += other.other_rules
        for name in ("passed_over", "decided_by", "transitions", "by_rule"):
            getattr(self, name).update(getattr(other, name))
        self.flips = [*self.flips, *other.flips][:_MOST_LISTED]

    def flipped(self, direction: str | None = None) -> int:
        """Return how many flipped, all or those that got `stricter` or `looser`."""
        return sum(
            count
            for (was, would_be), count in self.transitions.items()
            if direction in (None, _direction(was, would_be))
        )


def _direction(was: str, would_be: str) -> str:
    return "stricter" if _ACTIONS[would_be] > _ACTIONS[was] else "looser"


class Replay:
    """One policy's replay of entries as they lie in the log.

    Args:
        replayer: The policy.
        panels: Who was there to answer, by entry id; more can be added.

    Attributes:
        tally: What came of it so far.
        waiting: Decisions by the entry that says who was there to answer, until it is known.
    """

    def __init__(self, replayer: Replayer, panels: Mapping[str, Cast] | None = None):
        self.tally = Tally()
        self.waiting: dict[str, list[bytes]] = {}
        self._replayer = replayer
        self._panels: dict[str, Cast | None] = dict(panels or {})
        self._people: dict[object, Circumstances] = {}

    def feed(self, bodies: Iterable[bytes]) -> None:
        """Have the decisions among these entries decided again; what is unknown waits."""
        for body in bodies:
            document = orjson.loads(body)
            if document.get("type") != DECISION:
                continue
            panel = document.get("panel")
            if panel is not None and panel not in self._panels:
                self.waiting.setdefault(panel, []).append(body)
                continue
            cast = self._panels.get(panel or "")
            reason = _unfit(document, cast)
            if reason is not None or cast is None:
                self.tally.passed_over[reason or NOBODY] += 1
            elif not self._replayer.untold.isdisjoint(document["determining_rules"]):
                self.tally.passed_over[OF_TRAIL] += 1
            else:
                self._decide(document, cast)
        self.tally.remembered = self._replayer.remembered

    def learn(self, panel: str, body: bytes | None) -> None:
        """Take the entry that says who was there to answer, None if there is none; and go on."""
        self._panels[panel] = None if body is None else cast_of(orjson.loads(body))
        self.feed(self.waiting.pop(panel, ()))

    def _decide(self, document: Mapping[str, Any], cast: Cast) -> None:
        decision = document["decision"]
        recorded = Recorded(
            request=document["request"]["id"],
            stage=_STAGES[decision["stage"]],
            action=_ACTIONS[decision["action"]],
            determining_rules=tuple(document["determining_rules"]),
            cast=cast,
            answers=answers_in(document["verdicts"]),
            passages=document["passages"],
            given=self._given(document),
            at=_admitted(document) if self._replayer.timed else _EPOCH,
        )
        action, rules = self._replayer.decide(recorded)
        tally, policy = self.tally, document["policy"]
        tally.replayed += 1
        tally.decided_by[policy["id"], policy["version"]] += 1
        if self._replayer.sees_tools and "" in recorded.given.tools:
            tally.unnamed += 1
        if action is not recorded.action:
            self._flipped(recorded, decision["id"], action, rules)
        elif rules != recorded.determining_rules:
            tally.other_rules += 1

    def _flipped(
        self, recorded: Recorded, decision: str, action: Action, rules: tuple[str, ...]
    ) -> None:
        was, would_be = recorded.action.name.lower(), action.name.lower()
        told = rules if action > recorded.action else recorded.determining_rules
        self.tally.transitions[was, would_be] += 1
        for rule in told:
            self.tally.by_rule[rule, _direction(was, would_be)] += 1
        if len(self.tally.flips) < _MOST_LISTED:
            flip = Flip(decision, recorded.request, recorded.stage.value, was, would_be, told)
            self.tally.flips.append(flip)

    def _given(self, document: Mapping[str, Any]) -> Circumstances:
        """Return who asked; the same object for the same, as far as the policy can tell."""
        actor, request = document["actor"], document["request"]
        person = actor["safety_identifier"] if self._replayer.sees_people else None
        said = tuple(document["circumstances"].items())
        key = (actor["project"], request["endpoint"], request["stream"], person, said)
        try:
            known = self._people.get(key)
        except TypeError:  # lists: access programs, functions
            return circumstances_in(document)
        if known is None:
            if len(self._people) >= _MOST_PEOPLE:
                self._people.clear()
            known = self._people[key] = circumstances_in(document)
        return known


def _unfit(document: Mapping[str, Any], cast: Cast | None) -> str | None:
    """Return why a decision cannot be decided again, or None if it can."""
    if "verdicts" not in document:
        return NOT_RECORDED
    if "verdicts" in document.get("omitted", ()):
        return CLIPPED
    return NOBODY if cast is None else None


def _admitted(document: Mapping[str, Any]) -> datetime:
    """Return when a request was admitted: its id is a UUIDv7, which begins with that."""
    digits = document["request"]["id"].removeprefix("req_")
    if len(digits) == 32 and digits[12] == "7":
        with suppress(ValueError, OverflowError):  # made up by somebody else
            return datetime.fromtimestamp(int(digits[:12], 16) / 1000, UTC)
    return datetime.fromisoformat(document["recorded_at"])
