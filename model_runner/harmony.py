"""Conversation -> token ids, in harmony, gpt-oss's conversation encoding.

A thin wrapper over openai-harmony that closes what it leaves open. It renders *content*
as plain text, whatever the text is, but writes recipients, channels, content types and
author names into message headers as they come: here every name is checked first, every
header is one of ours, and the control tokens of the result are compared with those that
were meant. A prompt that cannot be rendered exactly raises `PromptRejected`.

The way back, token ids -> deltas, is `model_runner.harmony_parser`.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any

import openai_harmony as oh

from model_runner.harmony_parser import ControlTokens, Parser
from model_runner.types import (
    Channel,
    Message,
    Prompt,
    PromptRejected,
    Role,
    Tool,
    ToolMode,
)
from model_runner.vocab.unpack import unpack_vocabulary

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INSTRUCTIONS = frozenset({Role.SYSTEM, Role.DEVELOPER})
_KEEP_ANALYSIS = oh.RenderConversationConfig(auto_drop_analysis=False)
_loading = Lock()  # owns TIKTOKEN_ENCODINGS_BASE while it is changed


def load_harmony(cache: Path | None = None) -> Harmony:
    """Load the encoding from the bundled vocabulary; takes about half a second.

    Args:
        cache: Where the vocabulary is unpacked to and kept. None means `cache` in
            `OSTIARY_HOME`. Where that is not set or cannot be written, a private
            directory is used and removed again.
    """
    home = os.environ.get("OSTIARY_HOME")
    if cache is None and home:
        cache = Path(home) / "cache"
    if cache is not None:
        try:
            return Harmony(_load_encoding(unpack_vocabulary(cache).parent))
        except OSError:
            pass  # a read-only home is no reason not to start
    with tempfile.TemporaryDirectory(prefix="ostiary-") as private:
        return Harmony(_load_encoding(unpack_vocabulary(Path(private)).parent))


def _load_encoding(directory: Path) -> oh.HarmonyEncoding:
    with _loading:
        before = os.environ.get("TIKTOKEN_ENCODINGS_BASE")
        os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(directory.resolve())
        try:
            return oh.load_harmony_encoding(oh.HarmonyEncodingName.HARMONY_GPT_OSS)
        finally:
            if before is None:
                del os.environ["TIKTOKEN_ENCODINGS_BASE"]
            else:
                os.environ["TIKTOKEN_ENCODINGS_BASE"] = before


def offered_tools(prompt: Prompt) -> tuple[Tool, ...]:
    """Return the tools the model is told of: none of them under `ToolMode.NONE`."""
    return () if prompt.tool_mode is ToolMode.NONE else prompt.tools


class Harmony:
    """Renders prompts and makes parsers. Immutable; share one between threads.

    Attributes:
        control: The ids of the tokens that frame messages.
        stop_token_ids: The ids that end a reply: `<|return|>`, `<|call|>`. `<|end|>`
            only separates messages and must not stop generation.
    """

    def __init__(self, encoding: oh.HarmonyEncoding) -> None:
        self._encoding = encoding
        self.control = ControlTokens.of(encoding)
        self.stop_token_ids: tuple[int, ...] = (self.control.return_, self.control.call)

    def render(self, prompt: Prompt, *, today: date | None = None) -> list[int]:
        """Return the ids of `prompt`, ending in `<|start|>assistant`.

        Args:
            prompt: Analysis before the last final message is dropped, as harmony asks;
                analysis between later tool calls is kept.
            today: Written into the system message as the current date, if given.

        Raises:
            PromptRejected: If a name is not `^[A-Za-z0-9_-]{1,64}$`, `tool_choice` names
                no offered tool, a tool output belongs to no function, a schema is not
                JSON or nested too deep, or a text is not valid Unicode.
        """
        messages = [_system(prompt, today), *_developer(prompt), *_history(prompt)]
        try:
            token_ids = self._encoding.render_conversation_for_completion(
                oh.Conversation.from_messages(messages), oh.Role.ASSISTANT, _KEEP_ANALYSIS
            )
        except (oh.HarmonyError, ValueError, RecursionError) as error:
            raise PromptRejected("the conversation cannot be rendered in harmony") from error
        self._check_frame(messages, token_ids)
        return token_ids

    def parser(self, tools: Iterable[str] = ()) -> Parser:
        """Return a parser for one reply that may call `tools` and no others."""
        return Parser(self._encoding, self.control, frozenset(tools))

    def encode_frame(self, frame: str) -> list[int]:
        """Return the ids of a reply whose control tokens are written out.

        For replies of our own making (training, tests): never for text from a caller.
        """
        return self._encoding.encode(frame, allowed_special="all")

    def _check_frame(self, messages: list[oh.Message], token_ids: list[int]) -> None:
        # INVARIANT: the control tokens of a rendered prompt are those of our own headers, in
        # order. Text that became one would forge a role, a channel or a recipient.
        expected = [token for message in messages for token in self._frame(message)]
        expected.append(self.control.start)
        first = self.control.first
        if [token for token in token_ids if token >= first] != expected:
            raise PromptRejected("the conversation contains a control token")

    def _frame(self, message: oh.Message) -> Iterator[int]:
        yield self.control.start
        if message.channel is not None:
            yield self.control.channel
        if message.content_type is not None:
            yield self.control.constrain
        yield self.control.message
        calls = message.author.role is oh.Role.ASSISTANT and message.recipient is not None
        yield self.control.call if calls else self.control.end


def _system(prompt: Prompt, today: date | None) -> oh.Message:
    content = oh.SystemContent.new().with_reasoning_effort(oh.ReasoningEffort[prompt.effort.name])
    if today is not None:
        content = content.with_conversation_start_date(today.isoformat())
    return oh.Message.from_role_and_content(oh.Role.SYSTEM, content)


def _developer(prompt: Prompt) -> Iterator[oh.Message]:
    """Yield the opening developer message, if there is anything to say in it."""
    tools = offered_tools(prompt)
    instructions = [message.text for message in _leading_instructions(prompt)]
    instructions += _tool_instruction(prompt, {tool.name for tool in tools})
    contents: list[oh.Content] = []
    if instructions or tools:
        contents.append(_developer_content("\n\n".join(instructions), tools))
    if prompt.json_schema is not None:
        schema = _as_json(prompt.json_schema or {"type": "object"}, "the response format")
        gap = "\n\n" if contents else ""
        text = f"{gap}# Response Formats\n\n## response\n\n{schema}"
        contents.append(oh.TextContent(text=text))
    if contents:
        yield oh.Message.from_role_and_contents(oh.Role.DEVELOPER, contents)


def _leading_instructions(prompt: Prompt) -> Iterator[Message]:
    for message in prompt.messages:
        if message.role not in _INSTRUCTIONS:
            return
        yield message


def _tool_instruction(prompt: Prompt, offered: set[str]) -> list[str]:
    if prompt.tool_choice is not None:
        if prompt.tool_choice not in offered:
            raise PromptRejected("`tool_choice` names no offered tool", param="tool_choice")
        return [f"You must call the function `{prompt.tool_choice}` before you answer."]
    if prompt.tool_mode is ToolMode.REQUIRED:
        if not offered:
            raise PromptRejected("`tool_choice` requires a tool, none given", param="tool_choice")
        return ["You must call one of the functions before you answer."]
    return []


def _developer_content(instructions: str, tools: tuple[Tool, ...]) -> oh.DeveloperContent:
    content = oh.DeveloperContent.new()
    if instructions:
        content = content.with_instructions(_valid_text(instructions, "messages"))
    if tools:
        if len({tool.name for tool in tools}) < len(tools):
            raise PromptRejected("two tools have the same name", param="tools")
        content = content.with_function_tools([_describe(tool) for tool in tools])
    return content


def _describe(tool: Tool) -> oh.ToolDescription:
    name = _valid_name(tool.name, "tools")
    parameters = None
    if tool.parameters is not None:
        parameters = json.loads(_as_json(tool.parameters, f"the schema of `{name}`"))
    return oh.ToolDescription.new(name, _valid_text(tool.description, "tools"), parameters)


def _history(prompt: Prompt) -> Iterator[oh.Message]:
    last_final = max(
        (index for index, message in enumerate(prompt.messages) if _is_final(message)), default=-1
    )
    called: dict[str, str] = {}  # call id -> function
    opening = sum(1 for _ in _leading_instructions(prompt))
    for index, message in enumerate(prompt.messages[opening:], opening):
        if message.channel is Channel.ANALYSIS and not message.tool and index < last_final:
            continue
        if message.role is Role.ASSISTANT and message.tool and message.call_id:
            called[message.call_id] = message.tool
        yield _past(message, called)


def _is_final(message: Message) -> bool:
    spoken = message.role is Role.ASSISTANT and message.tool is None
    return spoken and message.channel in (None, Channel.FINAL)


def _past(message: Message, called: Mapping[str, str]) -> oh.Message:
    text = _valid_text(message.text, "messages")
    match message.role:
        case Role.SYSTEM | Role.DEVELOPER:
            content = _developer_content(text, ())
            return oh.Message.from_role_and_content(oh.Role.DEVELOPER, content)
        case Role.USER:
            return oh.Message.from_role_and_content(oh.Role.USER, text)
        case Role.TOOL:
            return _output(message, text, called)
        case Role.ASSISTANT:
            spoken = oh.Message.from_role_and_content(oh.Role.ASSISTANT, text)
            if message.tool is None:
                return spoken.with_channel(Channel(message.channel or Channel.FINAL).value)
            call = spoken.with_channel("commentary").with_content_type("<|constrain|>json")
            return call.with_recipient(f"functions.{_valid_name(message.tool, 'messages')}")


def _output(message: Message, text: str, called: Mapping[str, str]) -> oh.Message:
    tool = message.tool or called.get(message.call_id or "")
    if tool is None:
        raise PromptRejected("a tool output belongs to no function call", param="messages")
    # The prefix keeps a function named `system` from becoming the system role.
    author = oh.Author.new(oh.Role.TOOL, f"functions.{_valid_name(tool, 'messages')}")
    output = oh.Message.from_author_and_content(author, text)
    return output.with_channel("commentary").with_recipient("assistant")


def _valid_name(name: str, param: str) -> str:
    if not _NAME.fullmatch(name):
        raise PromptRejected("a function name must match `^[A-Za-z0-9_-]{1,64}$`", param=param)
    return name


def _valid_text(text: str, param: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptRejected("a text is not valid Unicode", param=param) from error
    return text


def _as_json(schema: Mapping[str, Any], what: str) -> str:
    try:
        text = json.dumps(
            schema, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise PromptRejected(f"{what} is not JSON") from error
    return _valid_text(text, "tools")
