"""Call: one parsed request, the same thing whichever API it came through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.api.fields import ModerationParam
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.pipeline import Reply
from gateway.sealing import Sealer
from model_runner.types import Prompt


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller asked for.

    Attributes:
        prompt: The conversation to be continued.
        stream: Whether the reply is read as events.
        safety_identifier: The caller's opaque id of the end user, or None.
        moderation: The `moderation` parameter, or None.
        access_programs: The `access_programs` parameter: domain -> program, or None.
        echo: Request fields that the reply repeats.
        seal_reasoning: Whether reasoning items carry a sealed copy.
        summary: What is to be told of hidden thoughts, as in `gateway.summary.KINDS`, or None.
        include_usage: Whether a chat stream ends with a usage chunk.
        issued: Exchanges whose ids came with the history; see `gateway.conversation.History`.
        traces: Of what sealed thoughts had read, each with the index of its message.
    """

    prompt: Prompt
    stream: bool
    safety_identifier: str | None
    moderation: ModerationParam | None
    echo: dict[str, Any]
    seal_reasoning: bool = False
    summary: str | None = None
    include_usage: bool = False
    access_programs: Mapping[str, str] | None = None
    issued: tuple[tuple[int, str], ...] = ()
    traces: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """What a request is read against.

    Attributes:
        max_messages: Most messages or items in one request; each call of a message is one.
        accept_reasoning: Whether callers may send raw reasoning back.
        sealer: Opens sealed reasoning.
        project: Whose sealed reasoning is accepted.
    """

    max_messages: int
    accept_reasoning: bool
    sealer: Sealer
    project: str


Event = dict[str, Any]


class Writer(Protocol):
    """Turns what the pipeline yields into one API's events and its unary reply."""

    def write(self, item: Reply) -> list[Event]:
        """Take one item; return the events it causes, in order."""
        ...

    def fail(self, error: GatewayError) -> list[Event]:
        """Return the events that end a stream after an error half-way."""
        ...

    def result(self) -> dict[str, Any]:
        """Return the whole reply, once the last item was written."""
        ...


class WriterFactory(Protocol):
    """Makes the writer for one call."""

    def __call__(self, call: Call, exchange: Exchange, sealer: Sealer, *, expose: bool) -> Writer:
        """Return a fresh writer."""
        ...
