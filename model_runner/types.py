"""What a runner is asked and what it streams back.

Vocabulary only. The shapes follow harmony, gpt-oss's conversation encoding, because
every runner either speaks it or is translated into it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Role(StrEnum):
    """Harmony's order of authority, highest first."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Channel(StrEnum):
    """Where the model is speaking; only FINAL is meant for the end user."""

    ANALYSIS = "analysis"
    COMMENTARY = "commentary"
    FINAL = "final"


class Effort(StrEnum):
    """How long the model may think; written into the system message."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class FinishReason(StrEnum):
    """Why the model stopped by itself."""

    STOP = "stop"  # it finished its answer
    TOOL_CALLS = "tool_calls"  # it waits for the outputs of the tools it called
    LENGTH = "length"  # it reached max_tokens or the end of its context


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: Who speaks.
        text: The content; for a tool call its arguments, as JSON text.
        channel: For ASSISTANT only; None means final.
        tool: The function that an ASSISTANT message calls, or that a TOOL message is
            the output of. It matches `^[A-Za-z0-9_-]{1,64}$`; runners refuse others.
        call_id: The caller's id that ties an output to its call.
    """

    role: Role
    text: str
    channel: Channel | None = None
    tool: str | None = None
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is its JSON Schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool = False


class ToolMode(StrEnum):
    """Whether the model may, must or must not call a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. None leaves it to the runner's default."""

    temperature: float | None = None  # 0 is greedy
    top_p: float | None = None
    max_tokens: int | None = None  # reasoning included
    seed: int | None = None
    stop: tuple[str, ...] = ()  # applied to the final channel


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation to be continued.

    Attributes:
        model: The model id the caller asked for.
        messages: Oldest first. DEVELOPER messages carry the application's instructions.
        tools: Functions the model may call.
        tool_mode: Whether it may, must or must not call one.
        tool_choice: The one function it must call, or None.
        effort: How long to think.
        sampling: How tokens are drawn.
        json_schema: The JSON Schema the final answer must follow, or None. An empty
            mapping asks for any JSON object.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_mode: ToolMode = ToolMode.AUTO
    tool_choice: str | None = None
    effort: Effort = Effort.MEDIUM
    sampling: Sampling = field(default_factory=Sampling)
    json_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A streamed piece of one message.

    Attributes:
        channel: Where it is spoken.
        text: The piece, possibly empty. A message with no text still has one delta.
        message: Zero-based number of the message in this reply; a new number starts a
            new message, even on the same channel.
        tool: The function the whole message calls, or None. Constant within a message.
        probed: By category the highest score of the model's probes while this was said;
            None where nobody probes.
    """

    channel: Channel
    text: str
    message: int = 0
    tool: str | None = None
    probed: Mapping[str, float] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one reply. `output_tokens` includes `reasoning_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0  # of the input, read from the engine's prefix cache


@dataclass(frozen=True, slots=True)
class Finish:
    """The last thing a runner yields. A stream that ends without one was cut off."""

    reason: FinishReason
    usage: Usage


class Runner(Protocol):
    """Anything that can continue a conversation.

    Attributes:
        model: The id it serves, as in `GET /v1/models`.
        kind: `local`, `upstream-token`, `upstream-chat` or `scripted`, for the record.
    """

    @property
    def model(self) -> str: ...  # noqa: D102 - the class docstring has it

    @property
    def kind(self) -> str: ...  # noqa: D102 - the class docstring has it

    def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """Stream deltas and then exactly one `Finish`.

        Closing the stream early stops the model and frees its slot.

        Raises:
            RunnerError: If the model cannot start, fails midway, or says something that
                is not a well-formed message. What was yielded before stays valid text.
        """
        ...

    async def ready(self) -> bool:
        """Return whether a request sent now could be answered."""
        ...

    async def aclose(self) -> None:
        """Stop all work and free the model."""
        ...


class RunnerError(Exception):
    """The model did not answer.

    RunnerError
    ├── PromptRejected      the prompt cannot be rendered for this model (the caller's fault)
    ├── RunnerUnavailable   cannot be reached, or is overloaded
    ├── RunnerTimeout       did not answer in time
    └── MalformedOutput     answered something that is not a well-formed message
    """


class PromptRejected(RunnerError):
    """The prompt cannot be rendered: too long, a bad name, a control token.

    Attributes:
        code: `context_length_exceeded` or `invalid_prompt`.
        param: The request field at fault, if it is known.
    """

    def __init__(self, message: str, *, code: str = "invalid_prompt", param: str | None = None):
        super().__init__(message)
        self.code = code
        self.param = param


class RunnerUnavailable(RunnerError):
    """The engine cannot be reached, refuses work, or failed."""


class RunnerTimeout(RunnerError):
    """The engine did not answer in time."""


class MalformedOutput(RunnerError):
    """The model's output is not well-formed; nothing of the broken message is yielded."""
