"""What `ostiary policy ...` does: asks the pure functions in `policies`, returns values.

Printing, exit statuses and JSON are the command line's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from classifiers.panel import Panel
from classifiers.registry import build
from gateway.judging import open_judges, open_probes
from gateway.settings import Settings
from policies.bundle import Lock
from policies.lint import lint as linted
from policies.load import PolicyError, read_policy, refuse_failures
from policies.testing import run_score_tests


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


@asynccontextmanager
async def open_panel() -> AsyncIterator[Panel]:
    """Open this installation's classifiers and judges; no model is served here."""
    settings = Settings()
    async with AsyncExitStack() as stack:
        judges = await asyncio.to_thread(open_judges, settings.judges_file, None)
        for judge in judges:
            stack.push_async_callback(judge.aclose)
        yield Panel(build(settings.classifiers), [*judges, *open_probes(settings.probes_file)])


def _finding(file: str, line: int, column: int, code: str, message: str) -> dict[str, str]:
    return {"where": f"{file}:{line}:{column}", "code": code, "message": message}
