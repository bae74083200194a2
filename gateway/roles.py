"""What the pipeline asks of others. `gateway.app` gives it who does it; tests, who they like."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.audit.vault import Kept
from gateway.exchange import Exchange
from gateway.keeping import Said
from policies.types import Decision


class DecisionLog(Protocol):
    """The durable, append-only record."""

    def exchange(self, exchange: Exchange) -> AbstractAsyncContextManager[Exchange]:
        """Open an exchange; closing writes its terminal entry, on every exit path."""
        ...

    def record(
        self, exchange: Exchange, decision: Decision, kept: Kept | None = None
    ) -> Awaitable[str]:
        """Queue the decision; awaiting it, once or more, returns its id when it is durable.

        What is `kept` of the content is durable with it.

        Both raise `AuditUnavailable`.
        """
        ...

    def stream_started(self, exchange: Exchange) -> Awaitable[None]:
        """Queue that bytes are about to leave; awaiting it returns once that is durable."""
        ...


class Keeper(Protocol):
    """Who keeps content."""

    async def keep(
        self, exchange: Exchange, decision: Decision, said: Sequence[Said]
    ) -> Kept | None:
        """Return what is to be kept with the record of `decision`, if anything is.

        Raises:
            GatewayError: If it would have to be and cannot.
        """
        ...


class Enforcer(Protocol):
    """Who counts violations against end users."""

    async def strike(
        self, exchange: Exchange, rules: Sequence[str], recorded: Awaitable[object]
    ) -> None:
        """Count these rules of the last decision, durably, once it is `recorded`.

        Raises:
            GatewayError: If it could not be; then the decision must not be acted on.
        """
        ...


class Follower(Protocol):
    """Who does what follows from a decision for a conversation and a project."""

    async def follow(
        self,
        exchange: Exchange,
        decision: Decision,
        new: Collection[int] | None,
        recorded: Awaitable[object],
    ) -> None:
        """Do it, durably, once the decision is `recorded`; `new` is as for `striking`.

        Raises:
            GatewayError: If it could not be; then the decision must not be acted on.
        """
        ...

    async def completed(self, exchange: Exchange, told: str = "") -> None:
        """Hear that the reply has ended, before that is told; `told` is a refusal at its end.

        Raises:
            GatewayError: If what has to be noted could not be.
        """
        ...


class Reviewer(Protocol):
    """Who has people decide about tool calls."""

    async def hold(
        self, exchange: Exchange, decision: Decision, tool: str, recorded: Awaitable[object]
    ) -> bool:
        """Return whether a person approved; False too where nobody decided in time.

        Raises:
            GatewayError: If nobody could be asked.
        """
        ...
