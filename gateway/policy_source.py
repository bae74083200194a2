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

from policies.load import PolicyError, load_policy
from policies.types import Policy

POLL_S = 1.0
_log = structlog.get_logger("ostiary.policy")


class PolicySource:
    """Owns the current policy; only `check` replaces it.

    Args:
        name: A policy file, or the name of a built-in policy.
        load: Loads by name; raises `PolicyError`.
        activated: Told, and awaited, before a new policy comes into force.
        rejected: Told about a file that was refused: its name and the first message.

    Raises:
        PolicyError: If there is no good policy to start with.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[str], Policy] = load_policy,
        *,
        activated: Callable[[Policy], Awaitable[None]],
        rejected: Callable[[str, str], Awaitable[None]],
    ):
        self._name = name
        self._load = load
        self._activated = activated
        self._rejected = rejected
        self._seen = self._stamp()
        self.current = load(name)
        self.refused: str | None = None

    async def watch(self) -> None:
        """Check for a changed file for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            await self.check()

    async def check(self) -> None:
        """Load the file again if it changed since it was last looked at."""
        stamp = await asyncio.to_thread(self._stamp)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            policy = await asyncio.to_thread(self._load, self._name)
        except PolicyError as error:
            self.refused = str(error).partition("\n")[0]
            _log.warning("policy_refused", reason=self.refused, kept=self.current.version)
            await self._rejected(self._name, self.refused)
            return
        self.refused = None
        if policy.digest != self.current.digest:
            await self._activated(policy)  # durable before it decides anything
            self.current = policy
            _log.info("policy_activated", id=policy.id, version=policy.version)

    def _stamp(self) -> tuple[int, int] | None:
        """Return what changes when the file changes, or None if there is no file."""
        try:
            status = Path(self._name).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size
