"""What an engine streams back on Chat Completions, as deltas. Pure.

An engine's own parser is not trusted: a tool that was not offered, a call without a name,
pieces of an earlier message and a reply that only thinks are all `MalformedOutput`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from model_runner.types import (
    Channel,
    Delta,
    Finish,
    FinishReason,
    MalformedOutput,
    RunnerUnavailable,
    Usage,
)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

_REASONS: Mapping[object, FinishReason] = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
}


@dataclass(slots=True)
class _Call:
    """The tool call that is being streamed."""

    index: int
    id: str | None
    name: str | None = None
    early: list[str] = field(default_factory=list)  # arguments that came before the name


class ChatReply:
    """Reads the chunks of one streamed reply.

    Args:
        tools: Names of the functions the model may call.
    """

    def __init__(self, tools: frozenset[str]) -> None:
        self._tools = tools
        self._message = -1  # number of the message that is being spoken
        self._channel: Channel | None = None
        self._tool: str | None = None
        self._parts: list[str] = []
        self._deltas: list[Delta] = []
        self._call: _Call | None = None
        self._reason: FinishReason | None = None
        self._usage = Usage()

    def push(self, payloads: list[bytes]) -> list[Delta]:
        """Read chunks and return what they say, joined to one delta per message.

        Raises:
            MalformedOutput: If a chunk is not what the API defines.
            RunnerUnavailable: If the engine reports an error in the stream.
        """
        try:
            for payload in payloads:
                self._read(orjson.loads(payload))
        except orjson.JSONDecodeError as error:
            raise MalformedOutput("the engine sent an event that is not JSON") from error
        except (AttributeError, LookupError, TypeError) as error:  # a list for an object
            raise MalformedOutput("the engine sent a chunk of an unknown shape") from error
        self._flush()
        deltas, self._deltas = self._deltas, []
        return deltas

    def finish(self) -> Finish:
        """Say why the reply ended.

        Raises:
            MalformedOutput: If it did not end but broke off.
        """
        if self._reason is None:
            raise MalformedOutput("the engine's stream ended without a finish reason")
        return Finish(self._reason, self._usage)

    def _read(self, chunk: dict[str, Any]) -> None:
        if (word := self._next_word(chunk)) is not None:
            self._parts.append(word)
            return
        if chunk.get("error"):
            raise RunnerUnavailable("the engine reported an error in its stream")
        if usage := chunk.get("usage"):
            self._usage = usage_of(usage)
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                raise MalformedOutput("the engine sent more than one reply")
            if delta := choice.get("delta"):
                self._read_delta(delta)
            if reason := choice.get("finish_reason"):
                self._end(reason)

    def _next_word(self, chunk: dict[str, Any]) -> str | None:
        """Return the word if the chunk only says one more of the final channel.

        Nearly all chunks do; what this does not recognise, the careful way reads.
        """
        choices = chunk.get("choices")
        if self._channel is not Channel.FINAL or self._reason is not None or not choices:
            return None
        delta = choices[0].get("delta")
        word = delta.get("content") if delta and len(delta) == 1 and len(choices) == 1 else None
        plain = not (
            choices[0].get("finish_reason")
            or choices[0].get("index")
            or chunk.get("usage")
            or chunk.get("error")
        )
        return word if plain and isinstance(word, str) else None

    def _read_delta(self, delta: dict[str, Any]) -> None:
        if text := delta.get("reasoning") or delta.get("reasoning_content"):
            self._say(Channel.ANALYSIS, text)
        if text := delta.get("content"):
            self._say(Channel.FINAL, text)
        if text := delta.get("refusal"):
            self._say(Channel.FINAL, text)
        for piece in delta.get("tool_calls") or ():
            self._read_call(piece)

    def _say(self, channel: Channel, text: object) -> None:
        if channel is not self._channel or self._tool is not None:
            self._start(channel, None)
        self._add(text)

    def _read_call(self, piece: dict[str, Any]) -> None:
        function = piece.get("function") or {}
        name, arguments = function.get("name"), function.get("arguments")
        call = self._call_of(piece, name)
        if name:
            self._name_call(call, name)
        if call.name is None:
            call.early.append(_text(arguments or ""))
        elif arguments:
            if self._tool is None:
                raise MalformedOutput("the engine went back to an earlier tool call")
            self._add(arguments)

    def _call_of(self, piece: dict[str, Any], name: object) -> _Call:
        call, index, call_id = self._call, piece.get("index") or 0, piece.get("id")
        if call is not None and index < call.index:
            raise MalformedOutput("the engine went back to an earlier tool call")
        # Some engines number every call 0 and tell them apart by their ids alone.
        is_renumbered = call is not None and name and call_id and call_id != call.id
        if call is None or index != call.index or is_renumbered:
            self._check_named()
            call = self._call = _Call(index, call_id)
        return call

    def _name_call(self, call: _Call, name: object) -> None:
        if call.name is None:
            call.name = self._offered(_text(name))
            self._start(Channel.COMMENTARY, call.name)
            self._add("".join(call.early))  # even if empty: a call always has one delta
        elif name != call.name:
            raise MalformedOutput("the engine renamed a tool call in mid-stream")

    def _offered(self, name: str) -> str:
        if name not in self._tools or _NAME.fullmatch(name) is None:
            raise MalformedOutput("the model called a tool that was not offered")
        return name

    def _check_named(self) -> None:
        if self._call is not None and self._call.name is None:
            raise MalformedOutput("the model called a tool without naming it")

    def _start(self, channel: Channel, tool: str | None) -> None:
        self._check_named()
        self._flush()
        self._message += 1
        self._channel, self._tool = channel, tool

    def _add(self, text: object) -> None:
        if self._reason is not None:
            raise MalformedOutput("the engine went on after its finish reason")
        self._parts.append(_text(text))

    def _flush(self) -> None:
        if self._parts and self._channel is not None:
            text = "".join(self._parts)
            self._deltas.append(Delta(self._channel, text, self._message, self._tool))
            self._parts = []

    def _end(self, reason: object) -> None:
        if reason == "content_filter":
            raise MalformedOutput("the engine withheld its reply (`content_filter`)")
        if reason not in _REASONS:
            raise MalformedOutput("the engine gave an unknown finish reason")
        ended = _REASONS[reason]
        self._reason = ended if ended is FinishReason.LENGTH else self._own_end(ended)

    def _own_end(self, reason: FinishReason) -> FinishReason:
        self._check_named()
        if self._call is not None:
            return FinishReason.TOOL_CALLS  # some engines say `stop` after a call
        if reason is FinishReason.TOOL_CALLS:
            raise MalformedOutput("the engine waits for tools that it did not call")
        if self._channel is Channel.ANALYSIS:
            raise MalformedOutput("the model thought and then gave no answer")
        if self._channel is None:
            self._say(Channel.FINAL, "")
        return reason


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Read an OpenAI usage object; what an engine does not count is 0."""
    written = usage.get("completion_tokens_details") or {}
    read = usage.get("prompt_tokens_details") or {}
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(written.get("reasoning_tokens")),
        cached_tokens=_count(read.get("cached_tokens")),
    )


def _count(number: object) -> int:
    return number if isinstance(number, int) and number > 0 else 0


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise MalformedOutput("the engine sent something else where a text belongs")
    return text
