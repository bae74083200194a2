"""Writes down what comes into force, before it does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from classifiers.panel import Panel
from gateway.audit.ledger import Ledger
from gateway.audit.records import (
    policy_activated,
    policy_deactivated,
    policy_loaded,
    policy_refused,
)
from gateway.errors import AuditUnavailable
from gateway.judging import warn_of_missing
from gateway.policy_source import FILE
from policies.types import Policy


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """What a `PolicySource` tells of goes into the decision log."""

    ledger: Ledger
    panel: Panel

    async def activated(self, policy: Policy, previous: str | None, source: str) -> None:
        """Record a policy, and say which of its classifiers are not there.

        Raises:
            AuditUnavailable: If it could not be recorded.
        """
        warn_of_missing(policy, self.panel)
        if source == FILE:
            entry = policy_activated(policy, previous_digest=previous, actor=FILE)
        else:
            entry = policy_loaded(policy, previous_digest=previous)
        await self.ledger.append(entry)

    async def deactivated(self, policy: Policy) -> None:
        """Record that a policy goes. Raises `AuditUnavailable`."""
        await self.ledger.append(policy_deactivated(policy, actor=FILE))

    async def rejected(self, name: str, reason: str) -> None:
        """Record what is not taken, if that can be recorded."""
        with suppress(AuditUnavailable):  # a log that is away already fails every request
            await self.ledger.append(policy_refused(Path(name).name, reason, actor=FILE))
