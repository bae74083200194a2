"""Where one of two policies asks for something that the other one does not. Pure.

What a rule asks for at a point (an action and all milder ones, a strike, somebody to tell, a
span to hide, a disclaimer) is found by `policies.evaluate` and kept as bits. What a policy
asks for is what any of its rules does, so that whole policies are compared by or-ing bits,
and conditions, which are free of each other, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from re import compile as pattern

from policies.answers import Answer, Ear, Point, Role, assessment_of, ear_of
from policies.conditions import assumed
from policies.effects import effects_of
from policies.evaluate import evaluate
from policies.situations import Situation, spoken
from policies.types import Action, Decision, Policy, Rule, Stage
from policies.worlds import World

Key = tuple[object, ...] | None  # of a condition; None where there is none
Masks = tuple[int, int, int]  # what is asked for where the condition holds, does not, is unknown
Row = tuple[Key, Masks]
Assumed = Mapping[Key, bool | None]

TRUTHS = (True, False, None)
MOVES = (1 << Action.BLOCK) - 1  # the bits of the actions, from FLAG to BLOCK
STOPS = 1 << Action.REVIEW - 1

_ON_RELEASE = ("hides ", "adds ")
_SCORE = pattern(r"\bscore\b")


@dataclass(frozen=True, slots=True)
class Found:
    """A place where only one of two policies asks for something.

    Attributes:
        situation: Who asks and when.
        answers: What classifiers say.
        conditions: What conditions are taken to be, by text.
        facts: A request of which the simple ones of them are so, by variable.
        before: What the one decides.
        after: What the other decides.
    """

    situation: Situation
    answers: tuple[Answer, ...]
    conditions: tuple[tuple[str, bool | None], ...]
    facts: Mapping[str, object]
    before: Decision
    after: Decision


@dataclass(slots=True)
class Contrast:
    """Compares what rules on one category ask for at one stage.

    Attributes:
        stage: The stage.
        category: The category.
        roles: Whom the rules listen to.
        kinds: What redactors tell apart.
        worlds: How conditions can be together; those that are not in it are free.
        effects: What is asked for beside actions; the first has the bit after `MOVES`.
        only: For each side, by what is asked for (an effect, or an action as ""), where first
            that side alone asks for it.
    """

    stage: Stage
    category: str
    roles: Sequence[Role]
    kinds: Sequence[str] = ()
    worlds: Sequence[World] = (World(),)
    effects: list[str] = field(default_factory=list)
    only: tuple[dict[str, Found], dict[str, Found]] = field(default_factory=lambda: ({}, {}))
    _voices: dict[object, _Voice] = field(default_factory=dict)
    _seen: list[int] = field(default_factory=lambda: [0, 0])
    _released: int = 0  # the bits of effects on a text that goes out

    def ears(self, situation: Situation) -> frozenset[Ear]:
        """Return how the rules of a situation listen."""
        return frozenset(voice.ear for side in self._sides(situation) for voice in side)

    def look(self, situation: Situation, points: Iterable[Point]) -> None:
        """Compare the two policies of a situation at each point."""
        sides = self._sides(situation)
        keys = {voice.key for side in sides for voice in side if voice.key}
        worlds = _told_apart(self.worlds, [str(key[0]) for key in keys])
        for point in points:
            asked = [[self._row(voice, point) for voice in side] for side in sides]
            for world in worlds:
                rows = [[_in_world(row, world) for row in side] for side in asked]
                self._compare(rows, (situation, point, world))

    def _compare(self, rows: Sequence[list[Row]], place: tuple[Situation, Point, World]) -> None:
        for index in (0, 1):
            for bit in self._alone(rows[index], rows[1 - index], self._seen[index]):
                chosen = _apart(rows[index], rows[1 - index], bit)
                if chosen is not None and not bit & self._seen[index]:
                    self._note(index, bit, place, chosen)

    def _sides(self, situation: Situation) -> list[list[_Voice]]:
        return [
            [self._voice(index, side, rule) for rule in side.rules_at[self.stage]]
            for index, side in enumerate((situation.before, situation.after))
        ]

    def _voice(self, index: int, side: Policy, rule: Rule) -> _Voice:
        alone = replace(side, rules=(rule,))
        name = (index, rule.id, rule.mode, rule.exception, spoken(alone))
        voice = self._voices.get(name)
        if voice is None:
            voice = self._voices[name] = _Voice(
                key=(rule.when.text, *_sees(rule)) if rule.when else None,
                policies=tuple(_assuming(alone, truth) for truth in TRUTHS)
                if rule.when
                else (alone,),
                ear=ear_of(rule, self.roles),
            )
        return voice

    def _row(self, voice: _Voice, point: Point) -> Row:
        heard = voice.ear.takes(point, self.roles)
        masks = voice.masks.get(heard)
        if masks is None:
            found = [self._mask(policy, point) for policy in voice.policies]
            masks = voice.masks[heard] = (found[0], found[len(found) // 2], found[-1])
        return voice.key, masks

    def _mask(self, policy: Policy, point: Point) -> int:
        decision = self._decided(policy, point)
        mask = (1 << decision.action) - 1
        for effect in _effects(decision):
            if effect not in self.effects:
                self.effects.append(effect)
            bit = (MOVES + 1) << self.effects.index(effect)
            mask |= bit
            self._released |= bit if effect.startswith(_ON_RELEASE) else 0
        return mask

    def _decided(self, policy: Policy, point: Point) -> Decision:
        answers = self._answers(point)
        at = (self.stage, self.category)
        return evaluate(policy, self.stage, assessment_of(answers, self.roles, at, self.kinds))

    def _answers(self, point: Point) -> tuple[Answer, ...]:
        return tuple(role.options[at] for role, at in zip(self.roles, point, strict=True))

    def _alone(self, one: list[Row], other: list[Row], seen: int) -> list[int]:
        """Return what only `one` may ask for, the strictest action first."""
        wanted = _union(one) & ~_certain(other) & ~seen
        if wanted and (_certain(one) | _certain(other)) & STOPS:
            wanted &= ~self._released  # nothing is hidden in what does not go out
        return [*_bits(wanted & MOVES)[::-1], *_bits(wanted & ~MOVES)]

    def _note(
        self, index: int, bit: int, place: tuple[Situation, Point, World], chosen: Assumed
    ) -> None:
        self._seen[index] |= MOVES if bit & MOVES else bit
        situation, point, world = place
        every = {**world.truths, **{str(key[0]): told for key, told in chosen.items() if key}}

        def answer(key: Key) -> bool | None:
            text = str(key[0]) if key else ""
            return chosen.get(key, every.get(text, True))

        sides = [_with_conditions(each, answer) for each in (situation.before, situation.after)]
        before, after = (self._decided(side, point) for side in sides)
        name = "" if bit & MOVES else self.effects[bit.bit_length() - 1 - MOVES.bit_length()]
        self.only[index][name] = Found(
            situation, self._answers(point), tuple(every.items()), world.facts, before, after
        )


@dataclass(frozen=True, slots=True)
class _Voice:
    """A rule as it applies, and what it asks for, once for each that it can tell apart."""

    key: Key
    policies: tuple[Policy, ...]  # of it alone: one, or one for each of `TRUTHS`
    ear: Ear
    masks: dict[tuple[object, ...], Masks] = field(default_factory=dict)


def _sees(rule: Rule) -> tuple[object, ...]:
    """Return what else a condition's answer may depend on: whose score it sees."""
    own = rule.when is not None and _SCORE.search(rule.when.text)
    return (rule.classifiers, rule.rungs) if own else ()


def _assuming(policy: Policy, truth: bool | None) -> Policy:
    return _with_conditions(policy, lambda _: truth)


def _with_conditions(policy: Policy, answer: Callable[[Key], bool | None]) -> Policy:
    """Return the policy with conditions that give an answer, whatever they are asked."""
    rules = (
        replace(rule, when=assumed(rule.when.text, answer((rule.when.text, *_sees(rule)))))
        if rule.when
        else rule
        for rule in policy.rules
    )
    return replace(policy, rules=tuple(rules))


def _effects(decision: Decision) -> Iterator[str]:
    for outcome in decision.outcomes:
        if not outcome.shadow:
            yield from effects_of(outcome)
    for each in decision.redactions:
        yield f"hides {each.span.kind} as `{each.replacement}`"
    for text in decision.disclaimers:
        yield f"adds `{text}`"


def _told_apart(worlds: Iterable[World], texts: Sequence[str]) -> list[World]:
    """Return a world for each way in which these conditions can be."""
    found: dict[tuple[bool | None, ...], World] = {}
    for world in worlds:
        known = {text: world.truths[text] for text in texts if text in world.truths}
        found.setdefault(tuple(known.values()), World(known, world.facts))
    return list(found.values())


def _in_world(row: Row, world: World) -> Row:
    """Return what a rule asks for once its condition is settled, if it is."""
    key, masks = row
    if key is None or key[0] not in world.truths:
        return row
    settled = masks[TRUTHS.index(world.truths[str(key[0])])]
    return None, (settled, settled, settled)


def _union(rows: Iterable[Row]) -> int:
    union = 0
    for _, masks in rows:
        union |= masks[0] | masks[1] | masks[2]
    return union


def _certain(rows: Iterable[Row]) -> int:
    """Return what is asked for whatever the conditions are."""
    certain = 0
    for _, masks in rows:
        certain |= masks[0] & masks[1] & masks[2]
    return certain


def _bits(mask: int) -> list[int]:
    return [1 << at for at in range(mask.bit_length()) if mask >> at & 1]


def _apart(one: Sequence[Row], other: Sequence[Row], bit: int) -> Assumed | None:
    """Return what conditions have to be for `one` to ask for `bit` and `other` not, or None.

    No two conditions depend on each other, so that each is chosen by itself: first so that
    no rule of `other` asks, then so that some rule of `one` does.
    """
    silent: dict[Key, list[int]] = {}
    for key, masks in other:
        known = silent.get(key, [0, 1, 2] if key else [0])
        silent[key] = [truth for truth in known if not masks[truth] & bit]
        if not silent[key]:
            return None
    for key, masks in one:
        for truth in silent.get(key, [0, 1, 2] if key else [0]):
            if masks[truth] & bit:
                chosen = {each: TRUTHS[truths[0]] for each, truths in silent.items()}
                return {**chosen, key: TRUTHS[truth]}
    return None
