"""Whether one policy asks for more than another: TIGHTER, LOOSER, EQUAL or INCOMPARABLE. Pure.

For each stage and category the rules that watch it are asked, by `apply` and `evaluate`, in
every situation (`policies.situations`) and about everything that may be answered
(`policies.answers`). As decisions change only there, that is all there is to know. Where it
would be too much, the comparison says that it is not exhaustive.

Conditions that are simple enough (`policies.worlds`) are tried on every kind of request; they
and scopes are free of each other. Of others each may hold, not hold or be unknown, whatever the
others do. So a policy is never called equal or tighter that is not, but two that differ in such
a condition may be called incomparable for a case that cannot happen.

The main action is what is compared. Strikes, escalations, what a redaction hides and
disclaimers are told apart as effects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from policies.answers import Ear, Point, points, roles_of
from policies.contrast import Contrast, Found
from policies.situations import situations
from policies.types import Action, Policy, Rule, Stage
from policies.worlds import worlds

MOST_POINTS = 100_000  # that are tried for one stage and category
MOST_SITUATIONS = 10_000


class Relation(StrEnum):
    """How the second of two policies stands to the first."""

    EQUAL = "EQUAL"
    TIGHTER = "TIGHTER"
    LOOSER = "LOOSER"
    INCOMPARABLE = "INCOMPARABLE"

    @classmethod
    def of(cls, *, tighter: bool, looser: bool) -> Relation:
        """Return it from whether there is a case of either."""
        if tighter and looser:
            return cls.INCOMPARABLE
        return cls.TIGHTER if tighter else cls.LOOSER if looser else cls.EQUAL


@dataclass(frozen=True, slots=True)
class Effect:
    """Something beside the main action that only one of the policies does somewhere.

    Attributes:
        what: In words: `counts a strike`.
        gained: Whether the second one does it.
        witness: Where.
    """

    what: str
    gained: bool
    witness: Found


@dataclass(frozen=True, slots=True)
class Cell:
    """How two policies stand to each other about one category at one stage.

    Attributes:
        stage: The stage.
        category: The category.
        tighter: Where the second policy decides on more, or None if nowhere.
        looser: Where it decides on less, or None if nowhere.
        effects: What else is different.
        exhaustive: Whether everything was tried.
    """

    stage: Stage
    category: str
    tighter: Found | None
    looser: Found | None
    effects: tuple[Effect, ...]
    exhaustive: bool

    @property
    def relation(self) -> Relation:
        """How the second stands to the first."""
        return Relation.of(tighter=self.tighter is not None, looser=self.looser is not None)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of the whole policy that is different.

    Attributes:
        name: As in the file.
        before: In the first policy.
        after: In the second one.
        relation: What that means; EQUAL where no decision is milder for it.
    """

    name: str
    before: str
    after: str
    relation: Relation = Relation.EQUAL


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two policies stand to each other.

    Attributes:
        cells: One for each stage and category that either watches.
        settings: Which values of the whole policy are different.
        added: Ids of rules that only the second one has.
        removed: Ids of rules that only the first one has.
        changed: Ids of rules that are different.
    """

    cells: tuple[Cell, ...]
    settings: tuple[Setting, ...]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def relation(self) -> Relation:
        """How the second stands to the first, all in all."""
        found = {cell.relation for cell in self.cells}
        found |= {setting.relation for setting in self.settings}
        both = Relation.INCOMPARABLE in found
        return Relation.of(
            tighter=both or Relation.TIGHTER in found, looser=both or Relation.LOOSER in found
        )

    @property
    def exhaustive(self) -> bool:
        """Whether everything was tried."""
        return all(cell.exhaustive for cell in self.cells)


def compare(before: Policy, after: Policy) -> Comparison:
    """Return how `after` stands to `before`."""
    rules = [{rule.id: rule for rule in side.rules} for side in (before, after)]
    old, new = rules
    return Comparison(
        cells=tuple(_cell(before, after, *place) for place in _places(before, after)),
        settings=tuple(_settings(before, after)),
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(name for name in new if name in old and not _same(old[name], new[name])),
    )


def _same(one: Rule, other: Rule) -> bool:
    return replace(one, origin="") == replace(other, origin="")


def _places(*sides: Policy) -> Iterator[tuple[Stage, str]]:
    watched = {
        (stage, rule.category) for side in sides for rule in side.rules for stage in rule.stages
    }
    order = list(Stage)
    yield from sorted(watched, key=lambda place: (place[1], order.index(place[0])))


def _cell(before: Policy, after: Policy, stage: Stage, category: str) -> Cell:
    one, other = (_of_cell(side, stage, category) for side in (before, after))
    every = (*one.rules, *other.rules)
    roles = roles_of(every)
    conditions = [rule.when for rule in every if rule.when is not None]
    told = worlds(conditions, stage)
    contrast = Contrast(stage, category, roles, _kinds(one, other), told)
    found = situations(one, other, MOST_SITUATIONS)
    whole = found.whole
    known: dict[frozenset[Ear], list[Point]] = {}
    for situation in found.found:
        ears = contrast.ears(situation)
        if ears not in known:
            known[ears], all_of_them = points(roles, ears, MOST_POINTS)
            whole = whole and all_of_them
        contrast.look(situation, known[ears])
    lost, gained = contrast.only
    effects = [
        Effect(what, side is gained, witness)
        for side in (lost, gained)
        for what, witness in side.items()
        if what
    ]
    return Cell(stage, category, gained.get(""), lost.get(""), tuple(effects), whole)


def _of_cell(policy: Policy, stage: Stage, category: str) -> Policy:
    rules = tuple(rule for rule in policy.rules_at[stage] if rule.category == category)
    names = {rule.id for rule in rules}
    exceptions = tuple(each for each in policy.exceptions if each.rule in names)
    return replace(policy, rules=rules, exceptions=exceptions)


def _kinds(*sides: Policy) -> list[str]:
    """Return what redactors tell apart, and something that no redactor names."""
    bands = [(side, band) for side in sides for rule in side.rules for band in rule.bands]
    if not any(band.action is Action.REDACT for _, band in bands):
        return []
    named = (side.redactors.get(band.redactor) for side, band in bands if band.redactor)
    return [*sorted({kind for each in named if each for kind in each.types}), "anything else"]


def _settings(before: Policy, after: Policy) -> Iterator[Setting]:
    yield from _limits(before, after)
    for name in ("deadline_ms", "judge_deadline_ms"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield Setting(name, str(old), str(new))
    if before.terms != after.terms:
        yield Setting("tools and results", _terms(before), _terms(after))
    if before.ladders != after.ladders:
        yield Setting("enforcement", _ladders(before), _ladders(after))
    for name in ("effective_from", "effective_until"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield Setting(name, f"{old or '-'}", f"{new or '-'}")


def _limits(before: Policy, after: Policy) -> Iterator[Setting]:
    leaks = before.max_unscreened_chars, after.max_unscreened_chars
    if leaks[0] != leaks[1]:
        relation = Relation.of(tighter=leaks[1] < leaks[0], looser=leaks[1] > leaks[0])
        yield Setting("max_unscreened_chars", str(leaks[0]), str(leaks[1]), relation)
    if before.spools != after.spools:
        relation = Relation.of(tighter=before.spools, looser=after.spools)
        yield Setting("durability", _durability(before), _durability(after), relation)


def _terms(policy: Policy) -> str:
    said = [f"offered {', '.join(sorted(names))}" for names in policy.terms.offered]
    for each in policy.terms.treatments:
        cut = f", cut at {each.cut_at}" if each.cut_at is not None else ""
        said.append(f"{', '.join(each.tools)}: {each.spotlight.name.lower()}{cut}")
    return "; ".join(said) or "-"


def _durability(policy: Policy) -> str:
    return "spool" if policy.spools else "before_response"


def _ladders(policy: Policy) -> str:
    return (
        "; ".join(
            f"{ladder.window.days} days: "
            + ", ".join(f"{step.at} {step.sanction.name.lower()}" for step in ladder.steps)
            for ladder in policy.ladders
        )
        or "-"
    )
