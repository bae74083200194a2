"""Everything that classifiers can say of one category, as far as rules tell it apart. Pure.

A rule compares scores with its thresholds and nothing else, so two scores between the same
thresholds are the same to it. One of each kind is taken: 0, something above it, and each
threshold; and no answer, for either reason. Who is named by the same rules is heard as one.

One passage is enough: what a rule does about several is the strictest of what it does about
each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from classifiers.types import UNSUPPORTED_LANGUAGE, Assessment, Passage, Span, Verdict
from policies.cascade import FAILED
from policies.testing import SOURCE_AT
from policies.types import Rule, Stage

ANYBODY = ("anybody", "anybody-2", "anybody-3")  # whoever reads everything, unnamed
_REASONS = (FAILED, UNSUPPORTED_LANGUAGE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said by some who are heard as one.

    Attributes:
        by: Their names; empty stands for whoever reads everything.
        score: The highest score, or None if there is none.
        missing: Why some of them gave no answer.
    """

    by: tuple[str, ...]
    score: float | None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Role:
    """Some who are heard as one, and everything that they can say."""

    names: tuple[str, ...]
    judge: bool
    options: tuple[Answer, ...]


Point = tuple[int, ...]  # for each role, which of its options
Taken = tuple[float, frozenset[str], Point]  # the highest score, what is missing, judges' options


@dataclass(frozen=True, slots=True)
class Ear:
    """How a rule listens: rules with the same ear take the same from every answer.

    Attributes:
        together: Which roles count together: their highest score, and what is missing.
        one_by_one: Which are asked in doubt, in order.
    """

    together: frozenset[int]
    one_by_one: tuple[int, ...]

    def takes(self, point: Point, roles: Sequence[Role]) -> Taken:
        """Return what a rule takes from answers; where it is the same, so is the rule."""
        taken = _NOTHING
        for at, option in enumerate(point):
            taken = self.adds(taken, at, option, roles)
        return taken

    def adds(self, taken: Taken, at: int, option: int, roles: Sequence[Role]) -> Taken:
        """Return what is taken once one more role has spoken."""
        score, missing, judged = taken
        if at in self.together:
            answer = roles[at].options[option]
            score = max(score, answer.score or 0.0)
            missing = missing.union(answer.missing) if answer.missing else missing
        return score, missing, (*judged, option) if at in self.one_by_one else judged


_NOTHING: Taken = (0.0, frozenset(), ())


def roles_of(rules: Sequence[Rule]) -> tuple[Role, ...]:
    """Return whom `rules`, which watch one category, listen to."""
    judges = sorted({rung.classifier for rule in rules for rung in rule.rungs})
    listed = sorted({name for rule in rules for name in rule.classifiers} - {*judges})
    together: dict[frozenset[frozenset[str]], list[str]] = {}
    for name in listed:
        lists = frozenset(rule.classifiers for rule in rules if name in rule.classifiers)
        together.setdefault(lists, []).append(name)
    groups = [tuple(names) for names in together.values()]
    if any(not rule.classifiers for rule in rules):
        groups.append(ANYBODY)
    readers = (_role(names, False, rules) for names in groups)
    return (*readers, *(_role((name,), True, rules) for name in judges))


def ear_of(rule: Rule, roles: Sequence[Role]) -> Ear:
    """Return how `rule` listens to `roles`."""
    at = {role.names[0]: number for number, role in enumerate(roles) if role.judge}
    return Ear(
        frozenset(number for number, role in enumerate(roles) if _counts(rule, role)),
        tuple(at[rung.classifier] for rung in rule.rungs),
    )


def points(roles: Sequence[Role], ears: Collection[Ear], most: int) -> tuple[list[Point], bool]:
    """Return what can be said, as far as `ears` tell it apart, full answers first.

    Args:
        roles: Everybody; who is not heard says the first of what they can say.
        ears: How the rules that matter listen.
        most: How many are kept, those with the most answers.

    Returns:
        The points, and whether these are all.
    """
    heard = {at for ear in ears for at in (*ear.together, *ear.one_by_one)}
    found: dict[tuple[Taken, ...], Point] = {(_NOTHING,) * len(ears): ()}
    whole = True
    for at, role in enumerate(roles):
        longer: dict[tuple[Taken, ...], Point] = {}
        options = range(len(role.options)) if at in heard else range(1)
        for (taken, point), option in product(found.items(), options):
            now = tuple(
                ear.adds(before, at, option, roles) for ear, before in zip(ears, taken, strict=True)
            )
            longer.setdefault(now, (*point, option))
        tried = sorted(longer.items(), key=lambda pair: _gaps(pair[1], roles))
        found = dict(tried[:most])
        whole = whole and len(tried) <= most
    return list(found.values()), whole


def _gaps(point: Point, roles: Sequence[Role]) -> int:
    return sum(
        len(role.options[option].missing) for option, role in zip(point, roles, strict=False)
    )


def assessment_of(
    answers: Iterable[Answer], roles: Sequence[Role], at: tuple[Stage, str], kinds: Iterable[str]
) -> Assessment:
    """Return an assessment in which everybody was asked and said this.

    Args:
        answers: One for each role.
        roles: All of them.
        at: The stage and the category.
        kinds: What a redaction may find: each is found in the first character.
    """
    stage, category = at
    spans = tuple(Span(0, 1, kind) for kind in kinds)
    verdicts = [
        verdict
        for role, answer in zip(roles, answers, strict=True)
        for verdict in _verdicts(role, answer, category, spans)
    ]
    judges = frozenset(name for role in roles if role.judge for name in role.names)
    readers = frozenset(name for role in roles if not role.judge for name in role.names)
    return Assessment(
        passages=(Passage(SOURCE_AT[stage], "."),),
        verdicts=(tuple(verdicts),),
        receipts=(),
        covered={category: readers},
        on_request={category: judges},
        asked={judge: frozenset({(0, category)}) for judge in judges},
    )


def _verdicts(
    role: Role, answer: Answer, category: str, spans: tuple[Span, ...]
) -> Iterator[Verdict]:
    names = iter(role.names)
    if answer.score is not None:
        yield Verdict(next(names), category, answer.score, spans)
    for reason in answer.missing:
        yield Verdict(next(names), category, None, error=reason)


def _role(names: tuple[str, ...], judge: bool, rules: Sequence[Rule]) -> Role:
    bare = Role(names, judge, ())
    heard = [rule for rule in rules if _counts(rule, bare) or _asks(rule, bare)]
    thresholds = {band.gte for rule in heard for band in rule.bands}
    thresholds |= {rung.escalate_at for rule in heard for rung in rule.rungs}
    return Role(names, judge, tuple(_options(names, sorted(thresholds - {0.0}))))


def _options(names: tuple[str, ...], thresholds: Sequence[float]) -> Iterator[Answer]:
    by = () if names == ANYBODY else names
    scores = [0.0, (thresholds[0] if thresholds else 1.0) / 2, *thresholds]
    yield from (Answer(by, score) for score in scores)
    reasons = [(reason,) for reason in _REASONS]
    for missing in (*reasons, _REASONS) if len(names) > 1 else reasons:
        yield Answer(by, None, missing)  # which is to a rule as a score of 0 and no answer
        if len(names) > len(missing):
            yield from (Answer(by, score, missing) for score in scores[1:])


def _counts(rule: Rule, role: Role) -> bool:
    """Return whether a rule takes what a role says without being in doubt."""
    unnamed = not rule.classifiers and not role.judge
    return unnamed or bool(rule.classifiers & {*role.names})


def _asks(rule: Rule, role: Role) -> bool:
    return role.judge and any(rung.classifier in role.names for rung in rule.rungs)
