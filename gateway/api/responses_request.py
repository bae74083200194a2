"""`POST /v1/responses`: the request body -> Call. Nothing is decided here.

Source: `openai.types.responses.ResponseCreateParams`, openai 3.54.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.api.call import Call, Reader
from gateway.api.called import Called
from gateway.api.fields import (
    CommonRequest,
    ToolName,
    Wire,
    check_tool_choice,
    checked,
    effort_of,
    refuse_unsupported,
    require_function,
    text_of,
    tool_mode_of,
)
from gateway.conversation import issued_ids
from gateway.errors import BadRequest, UnsupportedParameter
from gateway.sealing import Bound, SealBroken, opening_of
from model_runner.types import Channel, Message, Prompt, Role, Sampling, Tool

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "background": (False,),
    "context_management": ([],),
    "conversation": (),
    "max_tool_calls": (),
    "previous_response_id": (),
    "prompt": (),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
_TEXT_PARTS = frozenset({"input_text", "output_text", "text", "refusal"})
_INCLUDABLE = "reasoning.encrypted_content"


class _Reasoning(Wire):
    effort: str | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None  # its older name


class _Format(Wire):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class _Text(Wire):
    format: _Format | None = None
    verbosity: str | None = None


class _FunctionTool(Wire):
    type: Literal["function"]
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _ToolChoice(Wire):
    type: Literal["function"]
    name: ToolName


class _Request(CommonRequest):
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    include: list[str] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning: _Reasoning | None = None
    text: _Text | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None


class _MessageItem(Wire):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Any]
    phase: Literal["commentary", "final_answer"] | None = None


class _CallItem(Wire):
    name: ToolName
    arguments: str
    call_id: str


class _OutputItem(Wire):
    call_id: str
    output: str | list[Any]
    name: str | None = None


class _ReasoningText(Wire):
    type: Literal["reasoning_text"]
    text: str


class _ReasoningItem(Wire):
    encrypted_content: str | None = None
    content: list[_ReasoningText] | None = None


def read_responses_request(body: dict[str, Any], reader: Reader) -> Call:
    """Return the call that `body` makes.

    Raises:
        BadRequest: For a field that is malformed, out of range or not offered here.
    """
    refuse_unsupported(body, _NEUTRAL)
    request = checked(_Request, body)
    tools = tuple(_tool(tool, f"tools[{n}]") for n, tool in enumerate(request.tools or ()))
    mode, choice = tool_mode_of(request.tool_choice, _chosen)
    check_tool_choice(mode, choice, tools)
    read = _history(request, reader)
    messages = tuple(read.messages)
    if not messages:
        raise BadRequest("`input` says nothing", param="input")
    reasoning, text = request.reasoning or _Reasoning(), request.text or _Text()
    prompt = Prompt(
        model=request.model,
        messages=messages,
        tools=tools,
        tool_mode=mode,
        tool_choice=choice,
        effort=effort_of(reasoning.effort, "reasoning.effort"),
        sampling=Sampling(request.temperature, request.top_p, request.max_output_tokens),
        json_schema=_json_schema(text.format),
    )
    return Call(
        prompt=prompt,
        stream=bool(request.stream),
        safety_identifier=request.safety_identifier or request.user,
        moderation=request.moderation,
        access_programs=request.access_programs,
        echo=_echo(body, request),
        seal_reasoning=_seals(request.include or []),
        summary=reasoning.summary or reasoning.generate_summary,
        issued=tuple(read.issued),
        traces=tuple(read.traces),
    )


@dataclass(slots=True)
class _Read:
    """What was read of `input` so far.

    Attributes:
        messages: The messages.
        called: Calls, for the outputs that follow.
        issued: Exchanges whose ids came with an item, and at which message.
        traces: Of what sealed thoughts had read, likewise.
    """

    messages: list[Message] = field(default_factory=list)
    called: Called = field(default_factory=Called)
    issued: list[tuple[int, str]] = field(default_factory=list)
    traces: list[tuple[int, bytes]] = field(default_factory=list)

    def note(self, *values: object) -> None:
        """Note the exchanges that these ids, if they are any of ours, come from."""
        self.issued += [(len(self.messages), each) for each in issued_ids(*values)]


def _history(request: _Request, reader: Reader) -> _Read:
    read = _Read()
    if request.instructions:
        read.messages.append(Message(Role.DEVELOPER, request.instructions))
    if isinstance(request.input, str):
        read.messages.append(Message(Role.USER, request.input))
        return read
    if len(request.input) > reader.max_messages:
        raise BadRequest(f"`input` has more than {reader.max_messages} items", param="input")
    if not request.input:
        raise BadRequest("`input` must not be empty", param="input")
    for n, item in enumerate(request.input):
        where = f"input[{n}]"
        kind = item.get("type", "message")
        if not isinstance(kind, str) or kind not in _ITEMS:
            raise UnsupportedParameter(
                f"`{where}.type`: `{str(kind)[:40]}` is not supported by this gateway",
                param=f"{where}.type",
            )
        message = _ITEMS[kind](item, where, read, request.model, reader)
        read.note(item.get("id"), item.get("call_id"))
        if message is not None:
            read.messages.append(message)
    return read


def _message(item: dict[str, Any], where: str, read: _Read, model: str, reader: Reader) -> Message:
    entry = checked(_MessageItem, item, where)
    text = text_of(entry.content, f"{where}.content", _TEXT_PARTS)
    if entry.role != "assistant":
        return Message(Role(entry.role), text)
    spoken = Channel.COMMENTARY if entry.phase == "commentary" else Channel.FINAL
    return Message(Role.ASSISTANT, text, spoken)


def _function_call(
    item: dict[str, Any], where: str, read: _Read, model: str, reader: Reader
) -> Message:
    entry = checked(_CallItem, item, where)
    read.called.made(entry.call_id, entry.name, f"{where}.call_id")
    return Message(Role.ASSISTANT, entry.arguments, Channel.COMMENTARY, entry.name, entry.call_id)


def _function_output(
    item: dict[str, Any], where: str, read: _Read, model: str, reader: Reader
) -> Message:
    entry = checked(_OutputItem, item, where)
    tool = read.called.answered(entry.call_id, f"{where}.call_id", (entry.name, f"{where}.name"))
    text = text_of(entry.output, f"{where}.output", _TEXT_PARTS)
    return Message(Role.TOOL, text, tool=tool, call_id=entry.call_id)


def _reasoning(
    item: dict[str, Any], where: str, read: _Read, model: str, reader: Reader
) -> Message | None:
    """Return the thought a caller sends back, if it is one we may believe.

    Only a sealed copy is proof that the model thought it; raw text is accepted where
    the operator shows raw text to callers, and otherwise dropped.
    """
    entry = checked(_ReasoningItem, item, where)
    if entry.encrypted_content:
        try:
            bound = Bound(reader.project, model, opening_of(read.messages))
            thought = reader.sealer.open(entry.encrypted_content, bound=bound)
        except SealBroken as broken:
            raise BadRequest(
                f"`{where}.encrypted_content` was not sealed here for this project, model and "
                "conversation",
                param=f"{where}.encrypted_content",
                code="invalid_encrypted_content",
            ) from broken
        read.note(f"rs_{thought.exchange}")
        if thought.trace:
            read.traces.append((len(read.messages), thought.trace))
        return Message(Role.ASSISTANT, thought.text, Channel.ANALYSIS)
    if entry.content and reader.accept_reasoning:
        text = "".join(part.text for part in entry.content)
        return Message(Role.ASSISTANT, text, Channel.ANALYSIS)
    return None


_ITEMS: dict[str, Callable[..., Message | None]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _function_output,
    "reasoning": _reasoning,
}


def _tool(tool: dict[str, Any], where: str) -> Tool:
    require_function(tool, where)
    entry = checked(_FunctionTool, tool, where)
    return Tool(entry.name, entry.description or "", entry.parameters, bool(entry.strict))


def _chosen(choice: dict[str, Any]) -> str:
    return checked(_ToolChoice, choice, "tool_choice").name


def _json_schema(wanted: _Format | None) -> dict[str, Any] | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {}
    if wanted.schema_ is None:
        raise BadRequest("`text.format.schema` is required", param="text.format.schema")
    return wanted.schema_


def _seals(include: list[str]) -> bool:
    for wanted in include:
        if wanted != _INCLUDABLE:
            raise UnsupportedParameter(
                f"`include`: `{wanted[:60]}` is not supported by this gateway", param="include"
            )
    return bool(include)


def _echo(body: dict[str, Any], request: _Request) -> dict[str, Any]:
    """Return the request fields that a response repeats, as they came."""
    return {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "model": request.model,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "safety_identifier": request.safety_identifier,
        "temperature": request.temperature,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or [],
        "top_p": request.top_p,
        "user": request.user,
    }
