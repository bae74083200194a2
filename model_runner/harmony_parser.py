"""Token ids -> deltas: reads one reply of gpt-oss while it is written.

Strict where openai-harmony's own parser is lenient (it takes any word of a header for a
recipient, and control tokens inside content for text): a header must be exactly one of
those we know, addressed to a function that was offered. Everything else is
`MalformedOutput`, because text on a channel we guessed would be judged as the wrong thing.

A header, after `<|start|>assistant` (the first one is in the prompt), is one of

    <|channel|>analysis|commentary|final [<|constrain|>json] <|message|>
    <|channel|>commentary to=functions.NAME [<|constrain|>json | json | code] <|message|>
     to=functions.NAME<|channel|>commentary [<|constrain|>json | json | code] <|message|>

A call on the analysis channel, which gpt-oss makes now and then, is read as one on
commentary. The text after `<|message|>` runs up to `<|end|>`, `<|call|>` or `<|return|>`.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import openai_harmony as oh

from model_runner.types import Channel, Delta, Finish, FinishReason, MalformedOutput, Usage

_MAX_HEADER_TOKENS = 160  # the longest function name is 64 tokens
_CHANNELS = {channel.value: channel for channel in Channel}
_CALLING = frozenset({Channel.ANALYSIS, Channel.COMMENTARY})
_CONTENT_TYPES: tuple[list[str], ...] = ([], ["json"], ["code"])


@dataclass(frozen=True, slots=True)
class ControlTokens:
    """Ids of the tokens that frame messages. `first` and all above it are never text."""

    first: int
    start: int
    channel: int
    constrain: int
    message: int
    end: int
    call: int
    return_: int
    end_of_text: int

    @classmethod
    def of(cls, encoding: oh.HarmonyEncoding) -> ControlTokens:
        """Look the ids up in `encoding`."""
        ids = {
            text: encoding.encode(text, allowed_special="all")[0]
            for text in encoding.special_tokens_set
        }
        return cls(
            first=min(ids.values()),
            start=ids["<|start|>"],
            channel=ids["<|channel|>"],
            constrain=ids["<|constrain|>"],
            message=ids["<|message|>"],
            end=ids["<|end|>"],
            call=ids["<|call|>"],
            return_=ids["<|return|>"],
            end_of_text=ids["<|endoftext|>"],
        )


class _State(Enum):
    HEADER = "header"
    CONTENT = "content"
    BETWEEN = "between"  # after `<|end|>`
    DONE = "done"


class Parser:
    """Parses one reply. Not thread-safe; make a new one for each reply.

    The deltas do not depend on how the ids are split over calls of `push`, but for where
    their text is cut.

    Attributes:
        output_tokens: Ids seen so far, control tokens included.
        reasoning_tokens: Ids seen so far that are text of the analysis channel.
    """

    def __init__(
        self, encoding: oh.HarmonyEncoding, control: ControlTokens, tools: frozenset[str]
    ) -> None:
        self.output_tokens = 0
        self.reasoning_tokens = 0
        self._encoding = encoding
        self._control = control
        self._recipients = {f"to=functions.{name}": name for name in tools}
        self._state = _State.HEADER
        self._failure: MalformedOutput | None = None
        self._header: list[int] = []
        self._first_header = True  # its `<|start|>assistant` is the end of the prompt
        self._run: list[int] = []  # ids of text not yet decoded; empty between calls
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._message = -1
        self._channel = Channel.FINAL
        self._tool: str | None = None
        self._called = False  # whether any message was a call
        self._silent = True  # whether the current message has no delta yet

    @property
    def done(self) -> bool:
        """Whether the reply has ended, so that no more ids are wanted."""
        return self._state is _State.DONE

    def push(self, token_ids: Sequence[int]) -> list[Delta]:
        """Read the next ids and return what they say.

        Raises:
            MalformedOutput: If the reply cannot go on like this. Where something
                well-formed precedes the fault, that is returned and the next call raises.
        """
        if self._failure:
            raise self._failure
        deltas: list[Delta] = []
        try:
            for token in token_ids:
                self._take(token, deltas)
            self._flush(deltas)
        except MalformedOutput as failure:
            self._failure = failure
            if not deltas:
                raise
        return deltas

    def finish(self, *, hit_limit: bool, input_tokens: int = 0, cached_tokens: int = 0) -> Finish:
        """Return how the reply ended, after the last id.

        Args:
            hit_limit: Whether the model was stopped at the token limit.
            input_tokens: For the usage, as the prompt was rendered.
            cached_tokens: For the usage, how many of them were in the engine's cache.

        Raises:
            MalformedOutput: If the reply broke off without having hit the limit, or an
                earlier `push` found a fault.
        """
        if self._failure:
            raise self._failure
        whole = self.done or (self._state is _State.BETWEEN and not hit_limit)
        if not whole and not hit_limit:
            raise MalformedOutput(f"the reply ends inside a message {self._state.value}")
        reason = FinishReason.LENGTH
        if whole:
            reason = FinishReason.TOOL_CALLS if self._called else FinishReason.STOP
        usage = Usage(input_tokens, self.output_tokens, self.reasoning_tokens, cached_tokens)
        return Finish(reason, usage)

    def _take(self, token: int, deltas: list[Delta]) -> None:
        self.output_tokens += 1
        if self._state is _State.CONTENT:
            if 0 <= token < self._control.first:
                self._run.append(token)
            else:
                self._flush(deltas)
                self._end_message(token, deltas)
        elif self._state is _State.HEADER:
            self._take_header(token)
        elif self._state is _State.BETWEEN:
            self._take_start(token)
        elif token not in (self._control.end_of_text, self._control.return_):
            raise MalformedOutput("the reply goes on after its end")

    def _take_start(self, token: int) -> None:
        if token == self._control.start:
            self._state = _State.HEADER
        elif token in (self._control.end_of_text, self._control.return_):
            self._state = _State.DONE
        else:
            raise MalformedOutput("a message does not begin with `<|start|>`")

    def _take_header(self, token: int) -> None:
        if token != self._control.message:
            self._header.append(token)
            if len(self._header) > _MAX_HEADER_TOKENS:
                raise MalformedOutput("a message header does not end")
            if token in (self._control.end_of_text, self._control.return_):
                raise MalformedOutput("the reply ends inside a message header")
            return
        self._channel, self._tool = self._read_header(self._header)
        self._header = []
        self._first_header = False
        self._state = _State.CONTENT
        self._message += 1
        self._silent = True

    def _read_header(self, token_ids: list[int]) -> tuple[Channel, str | None]:
        author, channel, constraint = self._segments(token_ids)
        if not self._first_header and author[:1] != ["assistant"]:
            raise MalformedOutput("a message is not from the assistant")
        recipients = author if self._first_header else author[1:]
        name, *rest = channel or [""]
        if name not in _CHANNELS:
            raise MalformedOutput("a message has no known channel")
        if not recipients and rest[:1] and rest[0].startswith("to="):
            recipients, rest = rest[:1], rest[1:]
        if constraint not in (None, ["json"]) or (constraint and rest):
            raise MalformedOutput("a message has an unknown content type")
        if not recipients and not rest:
            return _CHANNELS[name], None
        return self._read_call(recipients, name, rest)

    def _read_call(
        self, recipients: list[str], channel: str, content_type: list[str]
    ) -> tuple[Channel, str]:
        if len(recipients) != 1 or recipients[0] not in self._recipients:
            raise MalformedOutput("a message is addressed to a function that was not offered")
        if content_type not in _CONTENT_TYPES:
            raise MalformedOutput("a message header has unexpected words")
        if _CHANNELS[channel] not in _CALLING:
            raise MalformedOutput("a call is made on the final channel")
        return Channel.COMMENTARY, self._recipients[recipients[0]]

    def _segments(
        self, token_ids: list[int]
    ) -> tuple[list[str], list[str] | None, list[str] | None]:
        """Split a header into the words before, after `<|channel|>` and `<|constrain|>`."""
        segments: list[list[int]] = [[], [], []]
        seen = 0
        for token in token_ids:
            if token == self._control.channel and seen == 0:
                seen = 1
            elif token == self._control.constrain and seen == 1:
                seen = 2
            elif 0 <= token < self._control.first:
                segments[seen].append(token)
            else:
                raise MalformedOutput("a message header has an unexpected control token")
        words = [self._decode(segment).decode(errors="replace").split() for segment in segments]
        return words[0], words[1] if seen >= 1 else None, words[2] if seen == 2 else None

    def _end_message(self, token: int, deltas: list[Delta]) -> None:
        if token == self._control.end:
            self._state = _State.BETWEEN
        elif token in self._enders():
            self._state = _State.DONE
        else:
            raise MalformedOutput("a control token stands inside a message")
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        if rest or self._silent:
            self._say(rest, deltas)
        self._called = self._called or self._tool is not None

    def _enders(self) -> tuple[int, ...]:
        ends = (self._control.return_, self._control.end_of_text)
        return ends if self._tool is None else (*ends, self._control.call)

    def _flush(self, deltas: list[Delta]) -> None:
        if not self._run:
            return
        if self._channel is Channel.ANALYSIS:
            self.reasoning_tokens += len(self._run)
        run, self._run = self._run, []
        text = self._utf8.decode(self._decode(run))
        if text:
            self._say(text, deltas)

    def _say(self, text: str, deltas: list[Delta]) -> None:
        self._silent = False
        deltas.append(Delta(self._channel, text, self._message, self._tool))

    def _decode(self, token_ids: list[int]) -> bytes:
        # The public `decode` is lossless with this error handler: a character split over
        # tokens arrives as its bytes.
        text = self._encoding.decode(token_ids, errors="surrogateescape")
        return text.encode("utf-8", "surrogateescape")
