"""What a runner that works in token ids needs around a parser: stop texts and the finish.

Used for gpt-oss (`Harmony`) and for other models (`ChatTemplate`) alike, in process and
with an engine that takes and gives token ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from model_runner.types import Channel, Delta, Finish, FinishReason, Prompt, Usage


class ReplyParser(Protocol):
    """Reads one reply, token ids in, deltas out; see `harmony_parser.Parser`."""

    output_tokens: int
    reasoning_tokens: int

    def push(self, token_ids: Sequence[int]) -> list[Delta]: ...  # noqa: D102 - as the class says

    def finish(  # noqa: D102 - as the class says
        self, *, hit_limit: bool, input_tokens: int = 0, cached_tokens: int = 0
    ) -> Finish: ...


class Codec(Protocol):
    """Renders prompts as token ids and parses the ids of replies.

    Attributes:
        stop_token_ids: The ids that end a reply.
    """

    @property
    def stop_token_ids(self) -> tuple[int, ...]: ...  # noqa: D102 - the class docstring has it

    def render(self, prompt: Prompt) -> list[int]:
        """Return the ids of `prompt`. Raises `PromptRejected`."""
        ...

    def parser(self, tools: Iterable[str] = ()) -> ReplyParser:
        """Return a parser for one reply that may call `tools` and no others."""
        ...


class StopTexts:
    """Cuts a reply before the first stop text on the final channel.

    Args:
        stop: The texts that end the reply; they are not part of it.

    Attributes:
        found: Whether one was found, so that the reply is over.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.found = False
        self._stop = tuple(text for text in stop if text)
        self._held: Delta | None = None  # text that may be the beginning of a stop text

    def cut(self, deltas: list[Delta]) -> list[Delta]:
        """Return what of `deltas`, and of what was held back, may be said by now."""
        if not self._stop:
            return deltas
        released: list[Delta] = []
        for delta in deltas:
            if not self.found:
                self._release(delta, released)
        return released

    def rest(self) -> list[Delta]:
        """Return what is still held back, at the end of the reply."""
        return [] if self._held is None else [self._held]

    def _release(self, delta: Delta, released: list[Delta]) -> None:
        held, self._held = self._held, None
        if held is not None and held.message != delta.message:
            released.append(held)
            held = None
        if delta.channel is not Channel.FINAL:
            released.append(delta)
            return
        text = (held.text if held else "") + delta.text
        cut = self._first_in(text)
        self.found = cut >= 0
        if not self.found:
            cut = len(text) - length_of_beginning(text, self._stop)
        if cut or not text or self.found:
            released.append(Delta(delta.channel, text[:cut], delta.message))
        if not self.found and cut < len(text):
            self._held = Delta(delta.channel, text[cut:], delta.message)

    def _first_in(self, text: str) -> int:
        """Return where the stop text begins that is complete first, or -1.

        The first to be complete, not the first to begin: only that is the same however
        the text arrives.
        """
        found = ((text.find(stop), len(stop)) for stop in self._stop)
        return min(((at + length, at) for at, length in found if at >= 0), default=(0, -1))[1]


class TokenReply:
    """One reply as its token ids arrive.

    Args:
        parser: A fresh parser.
        stop: The texts that end the reply.
        input_tokens: Length of the rendered prompt, for the usage.
    """

    def __init__(self, parser: ReplyParser, stop: Sequence[str], input_tokens: int) -> None:
        self._parser = parser
        self._stop = StopTexts(stop)
        self._input_tokens = input_tokens

    @property
    def stopped(self) -> bool:
        """Whether a stop text was found, so that no more ids are wanted."""
        return self._stop.found

    def push(self, token_ids: Sequence[int]) -> list[Delta]:
        """Read the next ids and return what may be said by now.

        Raises:
            MalformedOutput: As `ReplyParser.push`.
        """
        return self._stop.cut(self._parser.push(token_ids))

    def finish(self, *, hit_limit: bool, cached_tokens: int = 0) -> list[Delta | Finish]:
        """Return what was still held back, and the finish.

        Raises:
            MalformedOutput: If the reply broke off.
        """
        parser = self._parser
        if self.stopped:
            usage = Usage(
                self._input_tokens, parser.output_tokens, parser.reasoning_tokens, cached_tokens
            )
            return [Finish(FinishReason.STOP, usage)]
        finish = parser.finish(
            hit_limit=hit_limit, input_tokens=self._input_tokens, cached_tokens=cached_tokens
        )
        return [*self._stop.rest(), finish]


def length_of_beginning(text: str, wanted: Sequence[str]) -> int:
    """Return how many characters at the end of `text` could begin one of `wanted`."""
    longest = max(map(len, wanted)) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(each.startswith(text[-length:]) for each in wanted):
            return length
    return 0
