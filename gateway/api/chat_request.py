"""`POST /v1/chat/completions`: the request body -> Call. Nothing is decided here.

Source: `openai.types.chat.CompletionCreateParams`, openai 3.54.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from gateway.errors import BadRequest
from model_runner.types import Channel, Message, Prompt, Role, Sampling, Tool

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0,),
    "top_logprobs": (0,),
    "web_search_options": (),
}
_TEXT_PARTS = frozenset({"text", "refusal"})


class _Function(Wire):
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _FunctionTool(Wire):
    type: Literal["function"]
    function: _Function


class _NamedFunction(Wire):
    name: ToolName


class _ToolChoice(Wire):
    type: Literal["function"]
    function: _NamedFunction


class _CalledFunction(Wire):
    name: ToolName
    arguments: str


class _ToolCall(Wire):
    id: str
    function: _CalledFunction


class _Message(Wire):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class _JsonSchema(Wire):
    name: str
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class _ResponseFormat(Wire):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class _StreamOptions(Wire):
    include_usage: bool | None = None


class _Request(CommonRequest):
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: str | None = None
    response_format: _ResponseFormat | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream_options: _StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None


def read_chat_request(body: dict[str, Any], reader: Reader) -> Call:
    """Return the call that `body` makes.

    Raises:
        BadRequest: For a field that is malformed, out of range or not offered here.
    """
    refuse_unsupported(body, _NEUTRAL)
    request = checked(_Request, body)
    _check_length(request.messages, reader)
    tools = tuple(_tool(tool, f"tools[{n}]") for n, tool in enumerate(request.tools or ()))
    mode, choice = tool_mode_of(request.tool_choice, _chosen)
    check_tool_choice(mode, choice, tools)
    messages, issued = _messages(request.messages, reader)
    prompt = Prompt(
        model=request.model,
        messages=messages,
        tools=tools,
        tool_mode=mode,
        tool_choice=choice,
        effort=effort_of(request.reasoning_effort, "reasoning_effort"),
        sampling=_sampling(request),
        json_schema=_json_schema(request.response_format),
    )
    return Call(
        prompt=prompt,
        stream=bool(request.stream),
        safety_identifier=request.safety_identifier or request.user,
        moderation=request.moderation,
        access_programs=request.access_programs,
        echo={"metadata": request.metadata} if request.metadata else {},
        issued=issued,
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
    )


def _sampling(request: _Request) -> Sampling:
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if "" in stop:
        raise BadRequest("`stop` must not hold an empty string", param="stop")
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        seed=request.seed,
        stop=tuple(stop),
    )


def _messages(
    raw: list[dict[str, Any]], reader: Reader
) -> tuple[tuple[Message, ...], tuple[tuple[int, str], ...]]:
    """Return the messages, and which exchanges' ids came at which of them."""
    messages: list[Message] = []
    issued: list[tuple[int, str]] = []
    called = Called()
    for n, item in enumerate(raw):
        where = f"messages[{n}]"
        entry = checked(_Message, item, where)
        if entry.role == "assistant":
            named = issued_ids(*(call.id for call in entry.tool_calls or ()))
            issued += [(len(messages), exchange) for exchange in named]
            messages.extend(_assistant(entry, where, called, reader))
        elif entry.role == "tool":
            messages.append(_tool_output(entry, where, called))
        else:
            messages.append(Message(Role(entry.role), _content(entry, where)))
        _check_length(messages, reader)  # of one message with many calls there are many
    if not messages:
        raise BadRequest("`messages` says nothing", param="messages")
    return tuple(messages), tuple(issued)


def _check_length(messages: Sequence[object], reader: Reader) -> None:
    if len(messages) > reader.max_messages:
        raise BadRequest(
            f"`messages` has more than {reader.max_messages} messages", param="messages"
        )


def _assistant(entry: _Message, where: str, called: Called, reader: Reader) -> list[Message]:
    """Return what the model said in one turn: thought, words, calls, in that order."""
    said: list[Message] = []
    thought = entry.reasoning or entry.reasoning_content
    if thought and reader.accept_reasoning:
        said.append(Message(Role.ASSISTANT, thought, Channel.ANALYSIS))
    text = _content(entry, where) if entry.content is not None else entry.refusal or ""
    if text:
        spoken = Channel.COMMENTARY if entry.tool_calls else Channel.FINAL
        said.append(Message(Role.ASSISTANT, text, spoken))
    for number, call in enumerate(entry.tool_calls or ()):
        called.made(call.id, call.function.name, f"{where}.tool_calls[{number}].id")
        said.append(
            Message(
                Role.ASSISTANT,
                call.function.arguments,
                Channel.COMMENTARY,
                call.function.name,
                call.id,
            )
        )
    return said


def _tool_output(entry: _Message, where: str, called: Called) -> Message:
    named = (entry.name, f"{where}.name")
    name = called.answered(entry.tool_call_id, f"{where}.tool_call_id", named)
    return Message(Role.TOOL, _content(entry, where), tool=name, call_id=entry.tool_call_id)


def _content(entry: _Message, where: str) -> str:
    return text_of(entry.content, f"{where}.content", _TEXT_PARTS)


def _tool(tool: dict[str, Any], where: str) -> Tool:
    require_function(tool, where)
    entry = checked(_FunctionTool, tool, where).function
    return Tool(entry.name, entry.description or "", entry.parameters, bool(entry.strict))


def _chosen(choice: dict[str, Any]) -> str:
    return checked(_ToolChoice, choice, "tool_choice").function.name


def _json_schema(wanted: _ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {}
    if wanted.json_schema is None or wanted.json_schema.schema_ is None:
        raise BadRequest(
            "`response_format.json_schema.schema` is required",
            param="response_format.json_schema.schema",
        )
    return wanted.json_schema.schema_
