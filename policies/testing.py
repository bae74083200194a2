"""Runs the tests that stand beside the rules in a policy file.

A test is about the policy, not the rule alone: it says what is decided at one stage when
these scores, or this text, come in. A shadow rule is tested as if it acted. Pure but for
the classifiers, which a caller that wants text judged passes in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from classifiers.types import Assessment, Passage, Source, Verdict
from policies.evaluate import evaluate
from policies.types import Action, Decision, Policy, PolicyTest, Stage

Judge = Callable[[Sequence[Passage]], Awaitable[Assessment]]

SOURCE_AT = {
    Stage.INPUT: Source.USER,
    Stage.TOOL_RESULT: Source.TOOL,
    Stage.REASONING: Source.ANALYSIS,
    Stage.TOOL_CALL: Source.CALL,
    Stage.OUTPUT: Source.FINAL,
}


@dataclass(frozen=True, slots=True)
class InlineOutcome:
    """What became of one inline test."""

    test: PolicyTest
    action: Action
    decision: Decision

    @property
    def passed(self) -> bool:
        """Return whether the policy decided what the test expects."""
        return self.action is self.test.expect


def run_score_tests(policy: Policy, tests: Sequence[PolicyTest]) -> tuple[InlineOutcome, ...]:
    """Run the tests that give scores; those that give a text are left out."""
    return tuple(
        _outcome(policy, test, _assessment(policy, test)) for test in tests if test.text is None
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
        judge: Asks the classifiers, as `Panel.judge` does under some deadline.
    """
    outcomes = []
    for test in tests:
        if test.text is not None:
            assessment = await judge([Passage(SOURCE_AT[test.stage], test.text)])
            outcomes.append(_outcome(policy, test, assessment))
    return tuple(outcomes)


def _outcome(policy: Policy, test: PolicyTest, assessment: Assessment) -> InlineOutcome:
    decision = evaluate(policy, test.stage, assessment)
    own = (outcome.action for outcome in decision.outcomes if outcome.rule == test.rule)
    return InlineOutcome(test, max(decision.action, *own, Action.ALLOW), decision)


def _assessment(policy: Policy, test: PolicyTest) -> Assessment:
    """Play every classifier that the policy relies on, answering as the test says."""
    covered = {
        category: frozenset(
            name for rule in policy.rules if rule.category == category for name in rule.classifiers
        )
        | {"test"}
        for category in policy.categories
    }
    answers: dict[str, float | None] = {**test.scores, **dict.fromkeys(test.missing)}
    verdicts = tuple(
        Verdict(name, category, score)
        for category, score in answers.items()
        for name in sorted(covered.get(category, ()))
    )
    passage = Passage(SOURCE_AT[test.stage], "")
    return Assessment((passage,), (verdicts,), (), covered)
