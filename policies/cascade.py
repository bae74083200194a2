"""Which answer counts for a rule, and whom to ask when it is in doubt. Pure.

A rule's `classifiers` are asked about everything and count together: the highest score of
any of them. Its `rungs` are judges, asked in order and only about a passage that the rung
before scored at least `escalate_at`, or could not score. For each passage the last rung
that answered counts, so a judge may acquit what looked suspicious to the classifiers. It
does not lower a score that was too low to be put to it: a judge that is asked because a
classifier failed fills the gap, or failing one classifier would help to pass another.

What a rule makes of its answers depends on nothing but the rule and the answers: asking
everybody at once gives the same decision. Asking in rungs only saves the asking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from classifiers.types import Assessment, Inquiry, Passage, Verdict
from policies.types import Policy, Rule, Rung, Stage

FAILED = "failed"  # no answer, and no reason was given
STRETCH = 8_000  # code points; each that is begun grants the deadline once more
SHORTEST = 64  # code points that a passage counts for at least
NOT_ASKED = "not_asked"  # there is no such classifier, or it was not asked

Found = Mapping[str, Sequence[tuple[int, Verdict]]]  # by category: passage and verdict


class Panel(Protocol):
    """The classifiers, judges apart; see `classifiers.panel`."""

    async def judge(self, passages: tuple[Passage, ...], deadline_ms: int) -> Assessment:
        """Ask everyone but the judges about everything."""
        ...

    async def ask(
        self, assessment: Assessment, inquiries: Sequence[Inquiry], deadline_ms: int
    ) -> Assessment:
        """Ask judges; return the assessment with their answers added."""
        ...


async def assess(
    panel: Panel, policy: Policy, stage: Stage, passages: tuple[Passage, ...]
) -> Assessment:
    """Ask everyone whose answer could matter to the policy at this stage, rung by rung."""
    assessment = await panel.judge(passages, policy.deadline_ms * _stretches(passages))
    choosy = policy.choosy_at[stage]
    if not assessment.on_request or not choosy:
        return assessment
    for _ in range(1 + max(len(rule.rungs) for rule in choosy)):
        wanted = inquiries(choosy, assessment)
        if not wanted:
            break
        deadline_ms = policy.judge_deadline_ms * _stretches(passages)
        assessment = await panel.ask(assessment, wanted, deadline_ms)
    return assessment


def _stretches(passages: Sequence[Passage]) -> int:
    """Return how many deadlines the passages are granted: long ones take longer, and many."""
    length = sum(max(len(passage.before) + len(passage.text), SHORTEST) for passage in passages)
    return 1 + length // STRETCH


def by_category(assessment: Assessment) -> dict[str, list[tuple[int, Verdict]]]:
    """Return the verdicts by category, each with the index of its passage."""
    found: dict[str, list[tuple[int, Verdict]]] = {}
    for index, verdicts in enumerate(assessment.verdicts):
        for verdict in verdicts:
            found.setdefault(verdict.category, []).append((index, verdict))
    return found


def inquiries(rules: Iterable[Rule], assessment: Assessment) -> tuple[Inquiry, ...]:
    """Return what judges are to be asked next; nothing once every rule is settled."""
    found = by_category(assessment)
    wanted: dict[str, dict[int, set[str]]] = {}
    for rule in rules:
        for index, reading in read_each(rule, found, assessment):
            for name in reading.pending:
                wanted.setdefault(name, {}).setdefault(index, set()).add(rule.category)
    return tuple(
        Inquiry(name, {index: frozenset(wanted[name][index]) for index in sorted(wanted[name])})
        for name in sorted(wanted)
    )


@dataclass(slots=True)
class Reading:
    """What a rule takes from the answers about some passages.

    Attributes:
        score: The highest score that counts, or None if there is none.
        classifier: Whose it is; None where nobody had anything to say.
        missing: Why answers that were needed did not come.
        suspicion: The highest score that a later rung overruled, or None.
        doubted: Whether the score is high enough for a rung that was asked and is silent.
        floor: The highest score that was too low for the rung that was asked all the
            same, because of an answer missing; no rung can overrule it.
        pending: Judges that were not asked yet and are to be asked next.
    """

    score: float | None = 0.0
    classifier: str | None = None
    missing: set[str] = field(default_factory=set)
    suspicion: float | None = None
    doubted: bool = False
    floor: tuple[float, str | None] = (0.0, None)
    pending: frozenset[str] = frozenset()

    def hear(self, verdicts: Iterable[Verdict]) -> None:
        """Take the answers of the classifiers that count together."""
        best: Verdict | None = None
        for verdict in verdicts:
            if verdict.score is None:
                self.missing.add(verdict.error or FAILED)
            elif best is None or _before(verdict, best):
                best = verdict
        if best is not None:
            self.score, self.classifier = best.score, best.classifier
        elif self.missing:
            self.score = None

    def climb(self, answer: Reading, rung: Rung) -> None:
        """Take a judge's answer: if it is whole, it stands for what was heard before."""
        known = self.score or 0.0
        self.doubted = self.doubted or known >= rung.escalate_at
        if not self.doubted:
            self.floor = max(self.floor, (known, self.classifier), key=_score)
        if answer.missing:
            # Half an answer can raise a suspicion. It cannot lay one to rest.
            self.missing |= answer.missing
            if (answer.score or 0.0) > known:
                self.score, self.classifier = answer.score, answer.classifier
            return
        if self.doubted and known > 0:
            self.suspicion = max(known, self.suspicion or 0.0)
        reached = (answer.score or 0.0, answer.classifier or rung.classifier)
        self.score, self.classifier = max(reached, self.floor, key=_score)
        self.missing, self.doubted = set(), False

    def merge(self, part: Reading) -> None:
        """Take what was found in one more passage."""
        self.missing |= part.missing
        if part.score is not None and (
            self.score is None
            or part.score > self.score
            or (part.score == self.score and self.classifier is None)
        ):
            self.score, self.classifier = part.score, part.classifier
        if part.suspicion is not None:
            self.suspicion = max(part.suspicion, self.suspicion or 0.0)


def read(rule: Rule, found: Found, assessment: Assessment) -> Reading:
    """Return what `rule` takes from everything that was answered."""
    if rule.factual:
        return Reading(score=1.0)
    everywhere = asked_everywhere(rule, assessment)
    if everywhere and not rule.rungs:
        whole = Reading()
        heard = found.get(rule.category, ())
        if rule.classifiers or assessment.asked:
            heard = [pair for pair in heard if counts(rule, pair[1], assessment)]
        whole.hear([verdict for _, verdict in heard])
        return whole
    whole = Reading(score=None)
    told = 0
    for _, part in read_each(rule, found, assessment):
        whole.merge(part)
        told += 1
    if told < len(assessment.passages):
        whole.merge(Reading())  # of a passage that nobody heeded
    if not everywhere and not assessment.passages:
        whole.missing.add(NOT_ASKED)  # about nothing, too
    if whole.score is None and not whole.missing:
        whole.score = 0.0
    return whole


def read_each(rule: Rule, found: Found, assessment: Assessment) -> Iterator[tuple[int, Reading]]:
    """Yield what `rule` takes from each passage; those that nobody heeds may be left out."""
    heard: dict[int, list[Verdict]] = {}
    for index, verdict in found.get(rule.category, ()):
        heard.setdefault(index, []).append(verdict)
    everywhere = asked_everywhere(rule, assessment)
    quiet = everywhere and all(rung.escalate_at > 0 for rung in rule.rungs[:1])
    for index in sorted(heard) if quiet else range(len(assessment.passages)):
        verdicts = heard.get(index, [])
        reading = Reading()
        reading.hear([verdict for verdict in verdicts if counts(rule, verdict, assessment)])
        if not everywhere:
            _await(reading, rule.classifiers, (index, rule.category), assessment)
        for rung in rule.rungs:
            if not reading.missing and (reading.score or 0.0) < rung.escalate_at:
                break
            answer = Reading()
            answer.hear([v for v in verdicts if base(v.classifier) == rung.classifier])
            _await(answer, {rung.classifier}, (index, rule.category), assessment)
            reading.climb(answer, rung)
            reading.pending = reading.pending or answer.pending
        yield index, reading


def _await(
    reading: Reading, names: Iterable[str], place: tuple[int, str], assessment: Assessment
) -> None:
    """Note who of `names` was not asked about a passage and category, and could be."""
    _, category = place
    always = _bases(assessment.covered.get(category, frozenset()))
    judges = assessment.on_request.get(category, frozenset())
    pending: set[str] = set()
    missing = not always and not names  # any would do, and there is none
    for name in names:
        if name in always:
            continue
        own = {judge for judge in judges if base(judge) == name}
        unasked = {each for each in own if place not in assessment.asked.get(each, ())}
        pending |= unasked
        missing = missing or not own or bool(unasked)
    reading.pending = frozenset(pending)
    if missing:
        reading.missing.add(NOT_ASKED)
        if reading.classifier is None:
            reading.score = None


def _score(pair: tuple[float, str | None]) -> float:
    return pair[0]


def _before(one: Verdict, other: Verdict) -> bool:
    """Return whether `one` is the higher score; among equals, by name, whoever came first."""
    if one.score == other.score:
        return one.classifier < other.classifier
    return (one.score or 0.0) > (other.score or 0.0)


def counts(rule: Rule, verdict: Verdict, assessment: Assessment) -> bool:
    """Return whether a verdict is one that the rule takes without being in doubt."""
    if rule.classifiers:
        return base(verdict.classifier) in rule.classifiers
    return verdict.classifier not in assessment.asked  # a judge answers those who name it


def asked_everywhere(rule: Rule, assessment: Assessment) -> bool:
    """Return whether all that the rule relies on are asked about everything."""
    if rule.factual:
        return False  # its score is not theirs
    names = assessment.covered.get(rule.category)
    if not rule.classifiers or not names:
        return bool(names)
    return rule.classifiers <= _bases(names)


def base(name: str) -> str:
    """Return a classifier's name without its version."""
    return name.partition("@")[0]


@lru_cache(maxsize=4096)
def _bases(names: frozenset[str]) -> frozenset[str]:
    return frozenset(base(name) for name in names)
