"""Decides recorded decisions again, under another policy, from the answers in the log. Pure.

What a decision depends on is recorded: who answered what about each passage, who was asked,
and who asked for it. Spans are not, so what would have been hidden is not told. What did not
happen is not imagined: a reply that the other policy would not have stopped was never given.

Most traffic is alike to a policy. A score counts only by the thresholds that it reaches, so
decisions are remembered by those, unless a condition looks at the score itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from classifiers.types import Assessment, Passage, Verdict
from policies.apply import apply, in_canary
from policies.circumstances import Circumstances, Scope
from policies.evaluate import evaluate
from policies.testing import SOURCE_AT
from policies.types import Action, Mode, Policy, Rule, Stage

Said = float | str | None  # a score; the reason why there is none; None: not asked
Names = Mapping[str, frozenset[str]]
Places = Mapping[str, frozenset[tuple[int, str]]]

MOST_REMEMBERED = 200_000

_FIELDS = {  # of a scope, and of the circumstances it looks at
    "projects": "project",
    "tiers": "tier",
    "age_groups": "age_group",
    "endpoints": "endpoint",
    "models": "model",
    "locales": "locale",
}
_SEEN_AS = re.compile(r"\b(?:user|request)\s*\.\s*([a-z_]+)")


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """Who was there to answer, by category; see `Assessment.covered` and `.on_request`."""

    covered: Names
    on_request: Names


@dataclass(frozen=True, slots=True)
class Answers:
    """What one classifier said about the passages of one stage.

    Attributes:
        classifier: Its name and version.
        categories: What the columns of `rows` are.
        rows: One per passage. 0 where it had nothing to say.
        asked: Whether it is a judge that was asked, about what is not None.
    """

    classifier: str
    categories: Sequence[str]
    rows: Sequence[Sequence[Said]]
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as the log has it.

    Attributes:
        request: The request's id.
        stage: Where it was taken.
        action: What was decided.
        determining_rules: Who called for it.
        cast: Who could have answered.
        answers: What they said.
        passages: How many were judged.
        given: Who asked, through what and for whom.
        at: When the request was admitted.
    """

    request: str
    stage: Stage
    action: Action
    determining_rules: tuple[str, ...]
    cast: Cast
    answers: Sequence[Answers]
    passages: int
    given: Circumstances
    at: datetime


Outcome = tuple[Action, tuple[str, ...]]  # and the rules that determined it


def answers_of(verdicts: Sequence[Sequence[Verdict]], asked: Places) -> list[Answers]:
    """Return what an assessment's verdicts and inquiries come to, for the record."""
    said: dict[str, dict[tuple[int, str], list[Said]]] = {}
    for judge, places in asked.items():
        for place in places:
            said.setdefault(judge, {})[place] = []
    for index, of_passage in enumerate(verdicts):
        for verdict in of_passage:
            heard = said.setdefault(verdict.classifier, {})
            answer = verdict.error or "failed" if verdict.score is None else verdict.score
            heard.setdefault((index, verdict.category), []).append(answer)
    return [
        group
        for classifier, heard in said.items()
        for group in _groups(classifier, heard, asked.get(classifier), len(verdicts))
    ]


def _groups(
    classifier: str,
    heard: dict[tuple[int, str], list[Said]],
    asked: frozenset[tuple[int, str]] | None,
    passages: int,
) -> Iterator[Answers]:
    if asked is not None:
        first: dict[tuple[int, str], Said] = {
            place: heard[place].pop(0) if heard[place] else 0 for place in asked
        }
        yield _group(classifier, first, passages, asked=True)
    while rest := {place: answers.pop(0) for place, answers in heard.items() if answers}:
        yield _group(classifier, rest, passages, asked=False)


def _group(
    classifier: str, said: Mapping[tuple[int, str], Said], passages: int, *, asked: bool
) -> Answers:
    categories = sorted({category for _, category in said})
    nothing = None if asked else 0
    rows = [
        [said.get((index, category), nothing) for category in categories]
        for index in range(passages)
    ]
    return Answers(classifier, categories, rows, asked)


Mark = tuple[str, str, Said, bool]  # classifier, category, what it said, whether it was asked


@dataclass(slots=True)
class Replayer:
    """Decides what was recorded as one policy would.

    Attributes:
        policy: As it was loaded: not narrowed to anybody.
        remembered: How many decisions were like an earlier one.
        untold: The rules that look at what happened before: the log does not hold that, so
            they are left out.
    """

    policy: Policy
    remembered: int = 0
    untold: frozenset[str] = field(init=False)
    _steps: dict[str, list[float]] = field(init=False)
    _exact: frozenset[str] | None = field(init=False)  # categories; None stands for all
    _edges: list[datetime] = field(init=False)
    _facts: list[str] = field(init=False)
    _canaries: list[Rule] = field(init=False)
    _floors: dict[tuple[str, ...], float] = field(default_factory=dict)
    _narrowed: dict[object, Policy] = field(default_factory=dict)
    _decided: dict[object, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note what the policy looks at: nothing else tells two decisions apart."""
        of_trail = [rule for rule in self.policy.rules if rule.when and rule.when.of_trail]
        self.untold = frozenset(rule.id for rule in of_trail)
        if of_trail:
            told = tuple(rule for rule in self.policy.rules if rule.id not in self.untold)
            self.policy = replace(self.policy, rules=told)
        rules = self.policy.rules
        steps: dict[str, set[float]] = {}
        for rule in rules:
            own = steps.setdefault(rule.category, set())
            own.update(band.gte for band in rule.bands)
            own.update(rung.escalate_at for rung in rule.rungs)
        self._steps = {
            name: sorted(each for each in own if each > 0) for name, own in steps.items()
        }
        self._exact = _looked_at(rules)
        edges = {edge for each in self.policy.exceptions for edge in (each.since, each.until)}
        self._edges = sorted(edges)
        self._facts = _facts(self.policy)
        self._canaries = [rule for rule in rules if rule.mode is Mode.CANARY]

    @property
    def timed(self) -> bool:
        """Whether it matters to the policy when a request was admitted."""
        return bool(self._edges)

    @property
    def sees_people(self) -> bool:
        """Whether it matters who the end user is."""
        return bool(self._canaries)

    @property
    def sees_tools(self) -> bool:
        """Whether it matters which functions the model may call."""
        return "tools" in self._facts

    def decide(self, recorded: Recorded) -> Outcome:
        """Return what the policy says of a recorded decision's answers."""
        circle = self._circle(recorded)
        heard = self._heard(recorded)
        key = (recorded.stage, recorded.cast, circle, heard)
        known = self._decided.get(key)
        if known is not None:
            self.remembered += 1
            return known
        if len(self._decided) >= MOST_REMEMBERED:
            self.forget()
        policy = self._narrowed.get(circle)
        if policy is None:
            policy = apply(self.policy, recorded.given, recorded.at)
            self._narrowed[circle] = policy
        assessment = _assessment(recorded.stage, recorded.cast, heard)
        decision = evaluate(policy, recorded.stage, assessment, recorded.given)
        outcome = (decision.action, decision.determining_rules)
        self._decided[key] = outcome
        return outcome

    def forget(self) -> None:
        """Remember nothing of what was decided so far."""
        self._decided.clear()
        self._narrowed.clear()

    def _circle(self, recorded: Recorded) -> tuple[object, ...]:
        """Return what the policy can tell about who asks, and when."""
        given = recorded.given
        return (
            *[getattr(given, name) for name in self._facts],
            *[in_canary(each.id, given.end_user, each.canary_percent) for each in self._canaries],
            bisect_right(self._edges, recorded.at) if self._edges else 0,
        )

    def _heard(self, recorded: Recorded) -> frozenset[frozenset[Mark]]:
        """Return what was said, as far as the policy can tell: passages alike are one."""
        marks: list[set[Mark] | None] = [None] * recorded.passages
        for answers in recorded.answers:
            categories = tuple(answers.categories)
            floor = self._floors.get(categories)
            if floor is None:
                floor = self._floors[categories] = self._floor(categories)
            for index, row in enumerate(answers.rows):
                if not answers.asked and _quiet(row, floor):
                    continue
                own = marks[index]
                if own is None:
                    own = marks[index] = set()
                own.update(self._marks(answers, row))
        return frozenset(map(_frozen, marks))

    def _floor(self, categories: Sequence[str]) -> float:
        """Return the lowest score that could count in any of the categories."""
        if self._exact is None or not self._exact.isdisjoint(categories):
            return 0.0
        return min(
            (self._steps[name][0] for name in categories if self._steps.get(name)), default=2.0
        )

    def _marks(self, answers: Answers, row: Sequence[Said]) -> Iterator[Mark]:
        for category, said in zip(answers.categories, row, strict=True):
            if said is not None:
                told = self._told(category, said)
                if told != 0 or answers.asked:
                    yield answers.classifier, category, told, answers.asked

    def _told(self, category: str, said: float | str) -> float | str:
        """Return the highest threshold that a score reaches, which is all that counts of it."""
        if isinstance(said, str) or self._exact is None or category in self._exact:
            return said
        steps = self._steps.get(category, [])
        reached = bisect_right(steps, said)
        return steps[reached - 1] if reached else 0


def _quiet(row: Sequence[Said], floor: float) -> bool:
    """Return whether all in a row are scores that count for nothing."""
    try:
        return max(row) < floor  # type: ignore[type-var, operator]
    except TypeError:  # a reason, or somebody who was not asked
        return False


_NOTHING: frozenset[Mark] = frozenset()


def _frozen(marks: set[Mark] | None) -> frozenset[Mark]:
    return _NOTHING if marks is None else frozenset(marks)


def _assessment(stage: Stage, cast: Cast, heard: frozenset[frozenset[Mark]]) -> Assessment:
    verdicts: list[tuple[Verdict, ...]] = []
    asked: dict[str, set[tuple[int, str]]] = {}
    for index, marks in enumerate(heard):
        said: list[Verdict] = []
        for classifier, category, what, was_asked in sorted(marks, key=repr):
            if was_asked:
                asked.setdefault(classifier, set()).add((index, category))
            if isinstance(what, str):
                said.append(Verdict(classifier, category, None, error=what))
            elif what:
                said.append(Verdict(classifier, category, what))
        verdicts.append(tuple(said))
    return Assessment(
        passages=(Passage(SOURCE_AT[stage], ""),) * len(heard),
        verdicts=tuple(verdicts),
        receipts=(),
        covered=cast.covered,
        on_request=cast.on_request,
        asked={judge: frozenset(places) for judge, places in asked.items()},
    )


def _looked_at(rules: Sequence[Rule]) -> frozenset[str] | None:
    """Return the categories whose scores a condition looks at; None stands for all."""
    found: set[str] = set()
    for rule in rules:
        if rule.when is not None and re.search(r"\bscores\b", rule.when.text):
            return None
        if rule.when is not None and re.search(r"\bscore\b", rule.when.text):
            found.add(rule.category)
    return frozenset(found)


def _facts(policy: Policy) -> list[str]:
    """Return which of the circumstances the policy looks at."""
    scopes: list[Scope] = [rule.scope for rule in policy.rules]
    scopes += [each.scope for each in policy.exceptions]
    fields = {
        given
        for name, given in _FIELDS.items()
        if any(getattr(scope, name) is not None for scope in scopes)
    }
    for rule in policy.rules:
        if rule.when is not None:
            fields.update(_SEEN_AS.findall(rule.when.text))
    return sorted(fields & Circumstances.__dataclass_fields__.keys())
