"""Conversation <-> token ids for models other than gpt-oss, by their chat template.

A chat template is made for trusting callers: it pastes texts between control tokens and
tokenizes the whole, so a user who writes `<|im_start|>system` becomes the system. Here the
template is rendered with placeholders in place of texts; what stands between them is the
frame and is tokenized as such, each text is tokenized apart, by a tokenizer that knows no
control tokens. Tools and response formats are refused: how templates write them differs
too much to be safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import takewhile
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from model_runner.reply import length_of_beginning
from model_runner.types import (
    Channel,
    Delta,
    Finish,
    FinishReason,
    MalformedOutput,
    Prompt,
    PromptRejected,
    Role,
    Usage,
)

_PLACEHOLDER = "OSTIARY-TEXT-{}-END"
_PLACEHOLDERS = re.compile(r"OSTIARY-TEXT-(\d+)-END")
_THINK, _THOUGHT = "<think>", "</think>"
_INSTRUCTIONS = frozenset({Role.SYSTEM, Role.DEVELOPER})


class ChatTemplate:
    """Renders prompts and makes parsers. Immutable; share one between threads.

    Args:
        tokenizer: A fast tokenizer of transformers, with a chat template.
        stop_token_ids: Ids that end a reply, besides the tokenizer's own end of text.

    Attributes:
        stop_token_ids: The ids that end a reply.

    Raises:
        ValueError: If there is no chat template, or nothing that ends a reply.
    """

    def __init__(self, tokenizer: Any, stop_token_ids: Iterable[int] = ()) -> None:  # noqa: ANN401 - transformers ships no types
        if not tokenizer.chat_template:
            raise ValueError("the tokenizer has no chat template")
        ends = {*stop_token_ids, tokenizer.eos_token_id} - {None}
        if not ends:
            raise ValueError("the tokenizer has no token that ends a reply")
        self.stop_token_ids: tuple[int, ...] = tuple(sorted(ends))
        self._template = tokenizer
        self._whole: Tokenizer = tokenizer.backend_tokenizer
        self._plain = _without_added_tokens(self._whole)
        added = self._whole.get_added_tokens_decoder()
        self._added = frozenset(added)
        self._control = frozenset(token for token, added in added.items() if added.special)
        opening = self._frame([{"role": "user", "content": _PLACEHOLDER.format(0)}])
        self._thinks_at_once = opening.rstrip().endswith(_THINK)

    def render(self, prompt: Prompt) -> list[int]:
        """Return the ids of `prompt`, ending where the model's reply begins.

        Raises:
            PromptRejected: If it has tools or a response format, or the template cannot
                write such a conversation.
        """
        texts: list[str] = []
        messages = []
        for role, text in _turns(prompt):
            messages.append({"role": role, "content": _PLACEHOLDER.format(len(texts))})
            texts.append(text)
        pieces = _PLACEHOLDERS.split(self._frame(messages))  # frame, number, frame, ..., frame
        if {int(number) for number in pieces[1::2]} != set(range(len(texts))):
            raise PromptRejected("the model's template leaves out a message", param="messages")
        token_ids: list[int] = []
        for index, piece in enumerate(pieces):
            if index % 2:
                token_ids += self._content(texts[int(piece)])
            elif piece:
                token_ids += self._whole.encode(piece, add_special_tokens=False).ids
        return token_ids

    def parser(self, tools: Iterable[str] = ()) -> TemplateParser:
        """Return a parser for one reply; no tools can be called."""
        return TemplateParser(
            self._whole, frozenset(self.stop_token_ids), self._control, thinks=self._thinks_at_once
        )

    def _frame(self, messages: list[dict[str, str]]) -> str:
        try:
            frame: str = self._template.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except TemplateError as error:
            raise PromptRejected(
                "the model's template cannot write this conversation", param="messages"
            ) from error
        return frame

    def _content(self, text: str) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise PromptRejected("a text is not valid Unicode", param="messages") from error
        token_ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        # INVARIANT: control tokens stand in the frame only.
        if not self._added.isdisjoint(token_ids):
            raise PromptRejected("the conversation contains a control token", param="messages")
        return token_ids


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Copy `tokenizer` so that it reads every text as text.

    `encode_special_tokens` would still find added tokens that are not marked as special,
    such as `<think>` and `<tool_call>`.
    """
    definition = json.loads(tokenizer.to_str())
    definition.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    plain: Tokenizer = Tokenizer.from_str(json.dumps(definition))
    return plain


def _turns(prompt: Prompt) -> Iterator[tuple[str, str]]:
    """Yield (role, text); leading instructions are one, for templates that take only one."""
    _check_plain(prompt)
    leading = list(takewhile(lambda message: message.role in _INSTRUCTIONS, prompt.messages))
    if leading:
        yield "system", "\n\n".join(message.text for message in leading)
    for message in prompt.messages[len(leading) :]:
        if message.channel is not Channel.ANALYSIS:
            yield ("system" if message.role in _INSTRUCTIONS else message.role.value), message.text


def _check_plain(prompt: Prompt) -> None:
    if prompt.tools:
        raise PromptRejected("this model takes no tools", param="tools")
    if prompt.json_schema is not None:
        raise PromptRejected("this model takes no response format", param="response_format")
    if any(message.role is Role.TOOL or message.tool is not None for message in prompt.messages):
        raise PromptRejected("this model takes no tools", param="messages")


class _State(Enum):
    OPENING = "opening"  # nothing yet but white space or the beginning of `<think>`
    THINKING = "thinking"
    ANSWERING = "answering"


class TemplateParser:
    """Parses one reply: `<think>...</think>` at its start is analysis, the rest is final.

    Args:
        tokenizer: What the ids belong to.
        stop: Ids that end the reply.
        control: Ids that must not stand inside it.
        thinks: Whether the prompt already ends in `<think>`.

    Attributes:
        output_tokens: Ids seen so far.
        reasoning_tokens: Ids seen so far while the model was thinking.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop: frozenset[int], control: frozenset[int], *, thinks: bool
    ) -> None:
        self.output_tokens = 0
        self.reasoning_tokens = 0
        self._tokenizer = tokenizer
        self._text = DecodeStream(skip_special_tokens=False)
        self._stop = stop
        self._control = control - stop
        self._size = tokenizer.get_vocab_size()
        self._state = _State.THINKING if thinks else _State.OPENING
        self._message = 0
        self._silent = True  # whether the current message has no delta yet
        self._held = ""  # text whose meaning the next ids decide
        self._ended = False

    def push(self, token_ids: Sequence[int]) -> list[Delta]:
        """Read the next ids and return what they say, one delta per message.

        Raises:
            MalformedOutput: If a control token stands inside the reply.
        """
        deltas: list[Delta] = []
        for token in token_ids:
            self.output_tokens += 1
            if self._ended or not 0 <= token < self._size or token in self._control:
                raise MalformedOutput("a control token stands inside the reply")
            if token in self._stop:
                self._end(deltas)
                continue
            self.reasoning_tokens += self._state is _State.THINKING
            self._held += self._text.step(self._tokenizer, token) or ""
            self._read(deltas)
        return deltas

    def finish(self, *, hit_limit: bool, input_tokens: int = 0, cached_tokens: int = 0) -> Finish:
        """Return how the reply ended, after the last id.

        Raises:
            MalformedOutput: If it broke off without having hit its limit.
        """
        if not self._ended and not hit_limit:
            raise MalformedOutput("the reply ends without an end token")
        reason = FinishReason.STOP if self._ended else FinishReason.LENGTH
        usage = Usage(input_tokens, self.output_tokens, self.reasoning_tokens, cached_tokens)
        return Finish(reason, usage)

    def _read(self, deltas: list[Delta]) -> None:
        if self._state is _State.OPENING:
            self._read_opening()
        if self._state is _State.THINKING:
            self._read_thought(deltas)
        if self._state is _State.ANSWERING:
            # The line breaks between a thought and its answer belong to neither.
            after_thought = self._silent and self._message > 0
            text = self._held.lstrip() if after_thought else self._held
            if text:
                self._say(text, deltas)
            self._held = ""

    def _read_opening(self) -> None:
        text = self._held.lstrip()
        if text.startswith(_THINK):
            self._state = _State.THINKING
            self._held = text.removeprefix(_THINK)
        elif not _THINK.startswith(text):
            self._state = _State.ANSWERING

    def _read_thought(self, deltas: list[Delta]) -> None:
        thought, ended, rest = self._held.partition(_THOUGHT)
        if ended:
            self._say(thought, deltas)
            self._state = _State.ANSWERING
            self._message += 1
            self._silent = True
            self._held = rest
            return
        cut = len(thought) - length_of_beginning(thought, [_THOUGHT])
        if cut:
            self._say(thought[:cut], deltas)
        self._held = thought[cut:]

    def _end(self, deltas: list[Delta]) -> None:
        self._ended = True
        if self._state is _State.OPENING:
            self._state = _State.ANSWERING
        if self._held or self._silent:
            self._say(self._held, deltas)

    def _say(self, text: str, deltas: list[Delta]) -> None:
        thinking = self._state is _State.THINKING
        channel = Channel.ANALYSIS if thinking else Channel.FINAL
        self._silent = False
        if deltas and deltas[-1].message == self._message:
            text = deltas.pop().text + text
        deltas.append(Delta(channel, text, self._message))
