"""What a judge asks of a language model, and what it gets back.

Vocabulary only. A judge does not care whether the model is behind HTTP, in this process,
or the gateway's own runner; `engine.py`, `in_process.py` and `gateway/judging.py` each
provide one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

# Why a judge gave no answer: reason codes for `Verdict.error`, which is logged. They never
# hold content.
TIMEOUT = "timeout"
UNAVAILABLE = "unavailable"  # cannot be reached, or failed
REJECTED = "rejected"  # refused the question: a wrong model name, a wrong key, bad input
MALFORMED = "malformed"  # answered something that is no verdict
OVERLOADED = "overloaded"  # too many questions wait already
TOO_LONG = "too_long"  # a part of the text was not read
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, for models that render their own prompts."""

    role: Literal["system", "developer", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What the model is asked.

    Attributes:
        messages: The conversation to be continued; empty if `prompt` is given.
        prompt: A rendered prompt, control tokens and all, to be continued as it stands;
            empty if `messages` are given.
        max_tokens: The longest answer, or None for no bound but the model's.
        top_logprobs: How many alternatives per token are wanted, 0 for none.
        effort: How long a reasoning model may think, or None for one that does not.
    """

    messages: tuple[Message, ...] = ()
    prompt: str = ""
    max_tokens: int | None = None
    top_logprobs: int = 0
    effort: Literal["low", "medium", "high"] | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer.

    Attributes:
        text: As it reads, with its leading space if it has one.
        alternatives: What could have stood here, with natural log-probabilities, the
            likeliest first. The token itself is among them.
    """

    text: str
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said.

    Attributes:
        text: The answer, without the chain of thought.
        tokens: Its tokens, where the engine tells; they may include the chain of
            thought. Empty means that nobody knows how sure the model was.
        ended: Whether the model ended it; False if `max_tokens` cut it off.
    """

    text: str
    tokens: tuple[Token, ...] = ()
    ended: bool = True


class TextModel(Protocol):
    """A language model, asked one question at a time.

    Attributes:
        name: What it is called where it is served, for digests; no credentials.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - the class docstring has it

    async def generate(self, question: Question) -> Answer:
        """Answer greedily.

        Raises:
            TextModelError: If there is no answer.
        """
        ...

    async def aclose(self) -> None:
        """Close connections, or free the model."""
        ...


class TextModelError(Exception):
    """The model gave no answer.

    Attributes:
        reason: One of the reason codes above.
    """

    def __init__(self, reason: str):
        super().__init__(f"the judge's model gave no answer: {reason}")
        self.reason = reason
