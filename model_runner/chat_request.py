"""A prompt as a Chat Completions request, for any OpenAI-compatible engine. Pure.

Text cannot become structure: names are checked, and whatever looks like a control token
is broken, because many engines tokenize text so that it would act as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from model_runner.types import Channel, Message, Prompt, PromptRejected, Role, Tool, ToolMode

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

# `<|start|>` and its like, with ASCII or fullwidth bars. JSON writes none of these bytes
# as escapes, so they can be found in a finished body, wherever in it they stand.
_BAR = rb"(?:\||\xef\xbd\x9c)"
_CONTROL_TOKEN = re.compile(rb"<(?=" + _BAR + rb"[^\s|<>]{1,64}?" + _BAR + rb">)")
_BROKEN_BRACKET = "<\u200b".encode()  # a zero-width space


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where servers that call themselves OpenAI-compatible differ.

    Attributes:
        developer_role: What DEVELOPER messages are sent as; most engines know no other
            role than `system`.
        reasoning_field: The field of an assistant message that carries the chain of
            thought between tool calls; empty leaves it out.
        sends_effort: Whether `reasoning_effort` is sent.
    """

    developer_role: str = "system"
    reasoning_field: str = "reasoning"
    sends_effort: bool = True


COMMON = Dialect()  # vLLM, llama.cpp, Ollama, SGLang


def chat_request(prompt: Prompt, model: str, dialect: Dialect) -> bytes:
    """Write `prompt` as the JSON body of a streamed Chat Completions request.

    Args:
        prompt: What is asked.
        model: The model's name at the engine.
        dialect: How this engine differs.

    Raises:
        PromptRejected: If a tool has a name that cannot be written safely, or an output
            without a call id answers no call.
    """
    sampling = prompt.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": list(_messages(prompt.messages, dialect)),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    optional = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "reasoning_effort": prompt.effort.value if dialect.sends_effort else None,
        "response_format": _response_format(prompt.json_schema),
        "tools": [_tool(tool) for tool in prompt.tools] or None,
        "tool_choice": _tool_choice(prompt),
    }
    body.update((key, setting) for key, setting in optional.items() if setting is not None)
    return _CONTROL_TOKEN.sub(_BROKEN_BRACKET, _encoded(body))


def offered_names(prompt: Prompt) -> frozenset[str]:
    """Return the names of the functions that a reply to `prompt` may call."""
    if prompt.tool_mode is ToolMode.NONE:
        return frozenset()
    return frozenset(tool.name for tool in prompt.tools)


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as error:  # a lone surrogate, or an integer of more than 64 bits
        raise PromptRejected("the prompt holds a value that JSON cannot carry") from error


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": _checked(tool.name, "tools")}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(prompt: Prompt) -> str | dict[str, Any] | None:
    if not prompt.tools:
        return None  # engines refuse a choice among nothing
    if prompt.tool_choice is not None:
        name = _checked(prompt.tool_choice, "tool_choice")
        return {"type": "function", "function": {"name": name}}
    return prompt.tool_mode.value


def _response_format(schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if schema is None:
        return None
    if not schema:
        return {"type": "json_object"}
    named = {"name": "reply", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def _checked(name: str, param: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise PromptRejected("a tool name must be 1 to 64 letters, digits, `_` or `-`", param=param)
    return name


def _messages(messages: tuple[Message, ...], dialect: Dialect) -> Iterator[dict[str, Any]]:
    calls = _CallIds()
    last_answer = _index_of_last_answer(messages)
    turn: dict[str, Any] | None = None  # thought and calls of one turn are one message
    for index, message in enumerate(messages):
        if message.channel is Channel.ANALYSIS and index < last_answer:
            continue  # harmony drops the thoughts of turns that are over
        piece = _message(message, dialect, calls)
        if turn is not None and _joined(turn, piece):
            continue
        if turn is not None:
            yield turn
        turn = piece
    if turn is not None:
        yield turn


def _index_of_last_answer(messages: tuple[Message, ...]) -> int:
    answers = (
        index
        for index, message in enumerate(messages)
        if message.role is Role.USER
        or (message.role is Role.ASSISTANT and message.channel in (None, Channel.FINAL))
    )
    return max(answers, default=-1)


def _message(message: Message, dialect: Dialect, calls: _CallIds) -> dict[str, Any]:
    if message.role is Role.ASSISTANT:
        return _assistant(message, dialect, calls)
    if message.role is Role.TOOL:
        call_id = message.call_id or calls.answered(message.tool)
        return {"role": "tool", "tool_call_id": call_id, "content": message.text}
    is_developer = message.role is Role.DEVELOPER
    role = dialect.developer_role if is_developer else message.role.value
    return {"role": role, "content": message.text}


def _assistant(message: Message, dialect: Dialect, calls: _CallIds) -> dict[str, Any]:
    if message.tool is not None:
        function = {"name": _checked(message.tool, "messages"), "arguments": message.text}
        call_id = message.call_id or calls.made(message.tool)
        call = {"id": call_id, "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if message.channel is Channel.ANALYSIS:
        thought = {dialect.reasoning_field: message.text} if dialect.reasoning_field else {}
        return {"role": "assistant", "content": None, **thought}
    return {"role": "assistant", "content": message.text}


def _joined(turn: dict[str, Any], piece: dict[str, Any]) -> bool:
    """Add `piece` to the assistant message `turn`, if that keeps their order readable."""
    if turn["role"] != "assistant" or piece["role"] != "assistant":
        return False
    if "tool_calls" in piece:
        turn.setdefault("tool_calls", []).extend(piece["tool_calls"])
        return True
    if piece["content"] is not None and turn["content"] is None and "tool_calls" not in turn:
        turn["content"] = piece["content"]
        return True
    return False


@dataclass(slots=True)
class _CallIds:
    """Ids for calls whose caller gave none, tied to outputs by name and order."""

    count: int = 0
    unanswered: dict[str | None, list[str]] = field(default_factory=dict)

    def made(self, tool: str) -> str:
        self.count += 1
        call_id = f"call_{self.count}"
        self.unanswered.setdefault(tool, []).append(call_id)
        return call_id

    def answered(self, tool: str | None) -> str:
        waiting = self.unanswered.get(tool)
        if not waiting:
            raise PromptRejected("a tool output answers no call", param="messages")
        return waiting.pop(0)
