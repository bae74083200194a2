"""What `ostiary policy ...` does: asks the pure functions in `policies`, returns values.

Printing, exit statuses and JSON are the command line's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from classifiers.panel import Panel
from classifiers.registry import build
from classifiers.types import Passage
from gateway.judging import open_judges
from gateway.settings import Settings
from policies.bundle import Lock
from policies.evaluate import evaluate
from policies.explain import explain as explained
from policies.lint import lint as linted
from policies.load import PolicyError, read_policy, refuse_failures
from policies.testing import SOURCE_AT, judge_of, run_score_tests
from policies.types import Action, Decision, Stage


def lint(source: str) -> tuple[list[dict[str, str]], bool]:
    """Return the findings on a policy, and whether the gateway would start with it."""
    try:
        file = read_policy(source)
        refuse_failures(file, run_score_tests(file.policy, file.tests))
    except PolicyError as error:
        return [
            _finding(error.file, problem.line, problem.column, "error", problem.message)
            for problem in error.problems
        ], False
    findings = [
        _finding(file.name, found.line, found.column, found.code, found.message)
        for found in linted(file, datetime.now(UTC), _newest(source))
    ]
    return findings, True


def _newest(source: str) -> Lock | None:
    """Return what a lock written now would say, if one can be."""
    try:
        return read_policy(source, pinned=False).bundle.lock
    except PolicyError:  # a later version of an include may not fit; the locked one does
        return None


async def explain(source: str, stage: Stage, text: str) -> tuple[list[str], dict[str, Any]]:
    """Return how `text` would be decided at `stage`: lines for people, and the decision.

    Raises:
        PolicyError: If the file is not a policy at all.
    """
    policy = read_policy(source).policy
    passage = Passage(SOURCE_AT[stage], text)
    async with open_panel() as panel:
        assessment = await judge_of(panel)(policy, stage, passage)
    decision = evaluate(policy, stage, assessment)
    said = [verdict for verdict in assessment.verdicts[0] if verdict.rationale]
    lines = [f"  {each.classifier} on {each.category}: {each.rationale}" for each in said]
    reasons = [
        {"classifier": each.classifier, "category": each.category, "rationale": each.rationale}
        for each in said
    ]
    return [*explained(decision, policy), *lines], {**_decision(decision), "rationales": reasons}


@asynccontextmanager
async def open_panel() -> AsyncIterator[Panel]:
    """Open this installation's classifiers and judges; no model is served here."""
    settings = Settings()
    async with AsyncExitStack() as stack:
        judges = await asyncio.to_thread(open_judges, settings.judges_file, None)
        for judge in judges:
            stack.push_async_callback(judge.aclose)
        yield Panel(build(settings.classifiers), judges)


def _finding(file: str, line: int, column: int, code: str, message: str) -> dict[str, str]:
    return {"where": f"{file}:{line}:{column}", "code": code, "message": message}


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "stage": decision.stage.value,
        "action": decision.action.name.lower(),
        "determining_rules": list(decision.determining_rules),
        "code": decision.code if decision.action > Action.ALLOW else None,
        "policy": {
            "id": decision.policy_id,
            "version": decision.policy_version,
            "digest": decision.policy_digest,
        },
        "rules": [
            {
                "id": outcome.rule,
                "category": outcome.category,
                "score": outcome.score,
                "action": outcome.action.name.lower(),
                "shadow": outcome.shadow,
                "unavailable": outcome.unavailable,
                "missing": list(outcome.missing),
                "classifier": outcome.classifier,
                "suspicion": outcome.suspicion,
            }
            for outcome in decision.outcomes
        ],
        "scores": {name: score for name, score in decision.scores.items() if score != 0},
    }
