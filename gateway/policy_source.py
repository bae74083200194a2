"""The policy in force, and its replacement while the gateway runs.

A changed file is loaded off the request path and swapped in as one reference; an
exchange keeps the policy it was admitted under. A file that does not load leaves the
last good policy in force, and says so in `refused`, the log and the decision log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from gateway.errors import AuditUnavailable
from policies.load import PolicyError, read_policy, refuse_failures
from policies.testing import Judge, run_tests
from policies.types import Policy

POLL_S = 1.0
_Stamp = tuple[int, int] | None  # what changes when a file changes
_log = structlog.get_logger("ostiary.policy")


class PolicySource:
    """Owns the current policy; only `start` and `check` set it.

    Args:
        name: A policy file, or the name of a built-in policy.
        judge: Asks the classifiers that the gateway runs, for tests that give a text.
        activated: Told, and awaited, before a policy comes into force: the policy, and
            the digest of the one before, if there was one.
        rejected: Told about a file that was refused: its name and the first message.

    Attributes:
        current: The policy in force; set by `start`.
        refused: The first mistake of the file on disk, while it is not in force.
    """

    def __init__(
        self,
        name: str,
        judge: Judge,
        *,
        activated: Callable[[Policy, str | None], Awaitable[None]],
        rejected: Callable[[str, str], Awaitable[None]],
    ):
        self._name = name
        self._judge = judge
        self._activated = activated
        self._rejected = rejected
        self._seen: _Stamp = None
        self.current: Policy
        self.refused: str | None = None

    async def start(self) -> None:
        """Load the policy to begin with. Raises `PolicyError`."""
        self._seen = self._stamp()
        policy = await self._load()
        await self._activated(policy, None)
        self.current = policy

    async def watch(self) -> None:
        """Check for a changed file for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.check()
            except AuditUnavailable as error:  # the next check tries again
                _log.warning("policy_not_activated", reason=str(error))

    async def check(self) -> None:
        """Load the file again if it changed since it was last looked at.

        Raises:
            AuditUnavailable: If a new policy could not be recorded; it is not in force.
        """
        stamp = await asyncio.to_thread(self._stamp)
        if stamp == self._seen:
            return
        try:
            policy = await self._load()
        except PolicyError as error:
            self._seen = stamp
            self.refused = str(error).partition("\n")[0]
            _log.warning("policy_refused", reason=self.refused, kept=self.current.version)
            await self._rejected(self._name, self.refused)
            return
        if policy.digest != self.current.digest:
            await self._activated(policy, self.current.digest)  # durable before it decides anything
            self.current = policy
            _log.info("policy_activated", id=policy.id, version=policy.version)
        self.refused, self._seen = None, stamp

    async def _load(self) -> Policy:
        """Return the policy if all its tests pass, those that give a text included."""
        file = await asyncio.to_thread(read_policy, self._name)
        outcomes = await run_tests(file.policy, file.tests, self._judge)
        refuse_failures(file, outcomes)
        if unsure := sum(outcome.inconclusive and not outcome.passed for outcome in outcomes):
            _log.warning("policy_tests_inconclusive", tests=unsure, version=file.policy.version)
        return file.policy

    def _stamp(self) -> _Stamp:
        """Return the file's, or None if there is no file."""
        try:
            status = Path(self._name).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size
