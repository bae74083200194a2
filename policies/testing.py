"""Runs the tests that stand beside the rules in a policy file.

A test is about the policy, not the rule alone: it says what is decided at one stage when
these scores, or this text, come in. A shadow rule is tested as if it acted. Pure but for
the classifiers, which a caller that wants text judged passes in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain

from classifiers.types import (
    NO_SECRETS,
    UNSUPPORTED_LANGUAGE,
    Assessment,
    Passage,
    Secrets,
    Source,
    Verdict,
)
from policies.apply import apply
from policies.cascade import Panel, assess
from policies.circumstances import ANYBODY, Circumstances
from policies.evaluate import evaluate
from policies.trail import Heard, Step, Trail, digest_of, heard_of
from policies.types import Action, Decision, Policy, Stage

Judge = Callable[[Policy, Stage, Passage], Awaitable[Assessment]]

# For a policy's own tests: no stream is waiting.
TEST_DEADLINE_MS = 10_000

_LONG_AFTER = datetime.max.replace(tzinfo=UTC)  # every exception has ended

SOURCE_AT = {
    Stage.INPUT: Source.USER,
    Stage.TOOL_RESULT: Source.TOOL,
    Stage.REASONING: Source.ANALYSIS,
    Stage.TOOL_CALL: Source.CALL,
    Stage.OUTPUT: Source.FINAL,
}


@dataclass(frozen=True, slots=True)
class PastStep:
    """A call or a result that happened before, in a test; see `policies.rule_schema`.

    `known` is what the classifiers said of its `text`, once they were asked.
    """

    tool: str
    is_call: bool
    scores: Mapping[str, float] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    unsupported: frozenset[str] = frozenset()
    arguments: str = ""
    chars: int = 0
    turns_ago: int = 0
    new: bool = False
    times: int = 1
    text: str | None = None
    known: Heard | None = None

    def steps(self, categories: Iterable[str]) -> tuple[Step, ...]:
        """Return it as conditions see it; it scored 0 in what it does not speak of."""
        scores = {**dict.fromkeys(categories, 0.0), **self.scores}
        silent = {*self.missing, *self.unsupported}
        known = self.known or Heard(
            {name: score for name, score in scores.items() if name not in silent},
            {name: scores.get(name, 0.0) for name in self.unsupported},
        )
        digest = digest_of(self.tool, self.arguments) if self.is_call else ""
        step = Step(self.tool, self.chars, self.turns_ago, self.new, digest, *known)
        return (step,) * self.times

    async def judged(self, policy: Policy, judge: Judge) -> PastStep:
        """Return it with what the classifiers say of its text, if it has one."""
        if self.text is None:
            return self
        stage = Stage.TOOL_CALL if self.is_call else Stage.TOOL_RESULT
        passage = Passage(SOURCE_AT[stage], self.text, tool=self.tool)
        return replace(self, known=heard_of(await judge(policy, stage, passage), 0))


@dataclass(frozen=True, slots=True)
class Past:
    """What happened before the moment that a test plays at, and the call that is made.

    Attributes:
        steps: Oldest first.
        called: The function that is called just now, or None.
        arguments: Of that call.
        reasoning_chars: How long the model has thought.
    """

    steps: tuple[PastStep, ...] = ()
    called: str | None = None
    arguments: str = "{}"
    reasoning_chars: int = 0

    @property
    def asks(self) -> bool:
        """Whether classifiers have to be asked about it."""
        return any(step.text is not None for step in self.steps)

    async def judged(self, policy: Policy, judge: Judge) -> Past:
        """Return it with what the classifiers say of the texts in it."""
        return replace(self, steps=tuple([await each.judged(policy, judge) for each in self.steps]))

    def trail(self, categories: Collection[str], assessment: Assessment) -> Trail:
        """Return it as conditions see it.

        Args:
            categories: Those that were asked about.
            assessment: What was said of the call.
        """
        results = [each.steps(categories) for each in self.steps if not each.is_call]
        calls = [each.steps(categories) for each in self.steps if each.is_call]
        call = None
        if self.called is not None:
            digest = digest_of(self.called, self.arguments)
            heard = heard_of(assessment, 0)
            call = Step(self.called, len(self.arguments), 0, True, digest, *heard)
        arguments = self.arguments if call else ""
        return Trail(
            tuple(chain(*results)), tuple(chain(*calls)), self.reasoning_chars, call, arguments
        )


NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """An inline test: what the policy must decide.

    Attributes:
        name: As the author calls it.
        rule: The id of the rule it stands beside.
        stage: Where.
        expect: The action that must come of it.
        scores: By category; a category that is in neither of the two scored 0.
        missing: Categories that no classifier could answer for.
        unsupported: Likewise, because of the language.
        rungs: What the judges of its rule answer instead: scores, or None for no answer.
        text: What the classifiers are to judge instead, or None.
        circumstances: Who asks, and through what.
        at: The moment it plays at, or None for one at which no exception is in force.
        past: What happened before.
        secrets: What the model was told, for `text`.
        line: Where it stands in the file, from 1.
        column: Likewise.
    """

    name: str
    rule: str
    stage: Stage
    expect: Action
    scores: Mapping[str, float] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    unsupported: frozenset[str] = frozenset()
    rungs: Mapping[str, float | None] = field(default_factory=dict)
    text: str | None = None
    circumstances: Circumstances = ANYBODY
    at: datetime | None = None
    past: Past = NO_PAST
    secrets: Secrets = NO_SECRETS
    line: int = 1
    column: int = 1

    @property
    def asks(self) -> bool:
        """Whether classifiers have to be asked."""
        return self.text is not None or self.past.asks


@dataclass(frozen=True, slots=True)
class InlineOutcome:
    """What became of one inline test.

    Attributes:
        test: The test.
        action: What was decided.
        decision: The decision.
        inconclusive: Whether a judge that was asked gave no answer, so that the outcome
            says more about the judge than about the policy.
    """

    test: PolicyTest
    action: Action
    decision: Decision
    inconclusive: bool = False

    @property
    def passed(self) -> bool:
        """Return whether the policy decided what the test expects."""
        return self.action is self.test.expect


def judge_of(panel: Panel) -> Judge:
    """Return what a policy's text tests ask: the panel as a request asks it, only slower."""

    async def judge(policy: Policy, stage: Stage, passage: Passage) -> Assessment:
        deadline_ms = max(policy.deadline_ms, TEST_DEADLINE_MS)
        return await assess(panel, replace(policy, deadline_ms=deadline_ms), stage, (passage,))

    return judge


def run_score_tests(policy: Policy, tests: Sequence[PolicyTest]) -> tuple[InlineOutcome, ...]:
    """Run the tests that give scores; those that give a text are left out."""
    return tuple(
        _outcome(policy, test, _assessment(policy, test)) for test in tests if not test.asks
    )


async def run_tests(
    policy: Policy, tests: Sequence[PolicyTest], judge: Judge
) -> tuple[InlineOutcome, ...]:
    """Run every test, beside the event loop what needs no classifier; see `run_text_tests`."""
    return (
        *await asyncio.to_thread(run_score_tests, policy, tests),
        *await run_text_tests(policy, tests, judge),
    )


async def run_text_tests(
    policy: Policy, tests: Sequence[PolicyTest], judge: Judge
) -> tuple[InlineOutcome, ...]:
    """Run the tests that give a text, one after the other.

    Args:
        policy: The policy they belong to.
        tests: Tests of any kind; those that give scores are left out.
        judge: Asks the classifiers about a passage; see `judge_of`.
    """
    outcomes = []
    for test in tests:
        if test.asks:
            source, past, applied = SOURCE_AT[test.stage], test.past, _applied(policy, test)
            text = past.arguments if test.text is None else test.text
            passage = Passage(source, text, tool=past.called, secrets=test.secrets)
            assessment = await judge(applied, test.stage, passage)
            told = replace(test, past=await past.judged(applied, judge))
            outcomes.append(replace(_outcome(policy, told, assessment), test=test))
    return tuple(outcomes)


def _applied(policy: Policy, test: PolicyTest) -> Policy:
    return apply(policy, test.circumstances, test.at or _LONG_AFTER)


def _outcome(policy: Policy, test: PolicyTest, assessment: Assessment) -> InlineOutcome:
    trail = test.past.trail(policy.categories, assessment)
    applied = _applied(policy, test)
    decision = evaluate(applied, test.stage, assessment, test.circumstances, trail)
    own = (outcome.action for outcome in decision.outcomes if outcome.rule == test.rule)
    action = max(decision.action, *own, Action.ALLOW)
    silent = any(
        receipt.error for receipt in assessment.receipts if receipt.classifier in assessment.asked
    )
    return InlineOutcome(test, action, decision, inconclusive=silent)


def _assessment(policy: Policy, test: PolicyTest) -> Assessment:
    """Play every classifier that the policy relies on, answering as the test says.

    Judges too: all are asked, and what the policy makes of it is the same as if they were
    asked in turn. They answer as everybody does, unless the test says otherwise.
    """
    own = next((rule.category for rule in policy.rules if rule.id == test.rule), "")
    always = {name for rule in policy.rules for name in rule.classifiers} | {"test"}
    judges = {rung.classifier for rule in policy.rules for rung in rule.rungs} - always
    answers = {
        **{category: Verdict("", category, score) for category, score in test.scores.items()},
        **{category: Verdict("", category, None) for category in test.missing},
        **{
            category: Verdict("", category, None, error=UNSUPPORTED_LANGUAGE)
            for category in test.unsupported
        },
    }
    verdicts = [
        replace(answer, classifier=name)
        for category, answer in answers.items()
        for name in sorted(always | judges)
        if category != own or name not in test.rungs
    ]
    verdicts += [Verdict(name, own, score) for name, score in test.rungs.items()]
    return Assessment(
        passages=(Passage(SOURCE_AT[test.stage], ""),),
        verdicts=(tuple(verdicts),),
        receipts=(),
        covered=dict.fromkeys(policy.categories, frozenset(always)),
        on_request=dict.fromkeys(policy.categories, frozenset(judges)),
        asked={
            judge: frozenset((0, category) for category in policy.categories) for judge in judges
        },
    )
