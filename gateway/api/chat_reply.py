"""What the pipeline yields -> Chat Completions chunks and message. Decides nothing.

Source: `openai.types.chat`, openai 3.54; contract tests read every chunk with it.
`message.reasoning` and `delta.reasoning` are gpt-oss's convention, not OpenAI's.
"""

from __future__ import annotations

import time
from typing import Any

from gateway.api.call import Call, Event
from gateway.api.moderation_result import moderation_of
from gateway.api.problems import error_object
from gateway.api.refused import refusal_error
from gateway.api.warned import add_warnings
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.holdback import MESSAGE_GAP
from gateway.pipeline import Admitted, Refusal, Reply
from gateway.refusing import refusal_text
from gateway.sealing import Sealer
from model_runner.types import Channel, Delta, Finish, FinishReason, Usage
from policies.effects import STOPPED


class ChatWriter:
    """Writes one chat completion; see `gateway.api.call.Writer`."""

    def __init__(self, call: Call, exchange: Exchange, sealer: Sealer, *, expose: bool):
        del sealer  # Chat has no sealed reasoning
        self._call = call
        self._exchange = exchange
        self._expose = expose
        self._id = f"chatcmpl-{exchange.id.removeprefix('req_')}"
        self._created = int(time.time())
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._call_message = -1  # number of the message whose call is being written
        self._spoken_message = -1  # number of the message, thought or words, being written
        self._refusal: str | None = None
        self._finish_reason = "stop"
        self._usage: dict[str, Any] | None = None
        self._extra: dict[str, Any] = {}

    def write(self, item: Reply) -> list[Event]:
        """Take one item; return the chunks it causes, in order."""
        if isinstance(item, Delta):
            return self._delta(item)
        if isinstance(item, Finish):
            self._usage = _usage(item.usage)
            return self._end("tool_calls" if self._calls else _FINISH[item.reason])
        if isinstance(item, Refusal):
            return self._refuse(item)
        assert isinstance(item, Admitted)  # noqa: S101 - the four kinds of Reply
        return [self._chunk({"role": "assistant", "content": ""})]

    def fail(self, error: GatewayError) -> list[Event]:
        """End a half-sent stream: the SDK raises on a chunk with `error`."""
        return [error_object(error)]

    def result(self) -> dict[str, Any]:
        """Return the whole chat completion."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._content) if self._content else None,
            "refusal": self._refusal,
            "annotations": [],
        }
        if self._reasoning:
            message["reasoning"] = "".join(self._reasoning)
        if self._calls:
            message["tool_calls"] = self._calls
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self._finish_reason,
        }
        return {
            **self._head("chat.completion"),
            **self._call.echo,
            "choices": [choice],
            "usage": self._usage,
            **self._extra,
            **self._moderation(),
        }

    def _delta(self, delta: Delta) -> list[Event]:
        if delta.tool is not None:
            return [self._chunk({"tool_calls": [self._tool_call(delta)]})]
        if delta.channel is Channel.ANALYSIS:
            if not self._expose:
                return []
            return self._speak("reasoning", self._reasoning, delta)
        return self._speak("content", self._content, delta)

    def _speak(self, field: str, said: list[str], delta: Delta) -> list[Event]:
        """Add to one text; Chat has one field for what are several messages of the model."""
        if not delta.text:
            said.append("")  # an empty reply is empty text, not no text
            return []
        text = delta.text
        if self._spoken_message != delta.message and any(said):
            text = MESSAGE_GAP + text  # as it was judged
        self._spoken_message = delta.message
        said.append(text)
        return [self._chunk({field: text})]

    def _tool_call(self, delta: Delta) -> dict[str, Any]:
        """Add to the call being written, or begin the next; return the chunk's part."""
        if delta.message != self._call_message:
            self._call_message = delta.message
            function = {"name": delta.tool, "arguments": delta.text}
            suffix = f"{self._id.removeprefix('chatcmpl-')}{len(self._calls):04x}"
            call = {"id": f"call_{suffix}", "type": "function", "function": function}
            self._calls.append(call)
            return {"index": len(self._calls) - 1, **call, "function": dict(function)}
        self._calls[-1]["function"]["arguments"] += delta.text
        return {"index": len(self._calls) - 1, "function": {"arguments": delta.text}}

    def _refuse(self, refusal: Refusal) -> list[Event]:
        decision = refusal.decision
        if decision.code == STOPPED:  # no turn that a client could go on from: the SDK raises
            return [{"error": {**refusal_error(refusal), "param": None}}]
        self._refusal = refusal_text(decision)
        self._extra["ostiary"] = {
            "decision_id": refusal.decision_id,
            "code": decision.code,
            "policy": decision.policy_id,
            "rules": list(decision.determining_rules),
        }
        return [self._chunk({"refusal": self._refusal}), *self._end("content_filter")]

    def _end(self, reason: str) -> list[Event]:
        self._finish_reason = reason
        add_warnings(self._extra, self._exchange)
        chunks = [{**self._chunk({}, reason), **self._extra}]
        if moderation := self._moderation():
            chunks.append({**self._head("chat.completion.chunk"), "choices": [], **moderation})
        if self._call.include_usage:
            head = self._head("chat.completion.chunk")
            chunks.append({**head, "choices": [], "usage": self._usage})
        return chunks

    def _moderation(self) -> dict[str, Any]:
        if self._call.moderation is None:
            return {}
        return {"moderation": moderation_of(self._exchange.decisions, results_list=True)}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> Event:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._call.prompt.model,
        }


_FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.LENGTH: "length",
}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens": usage.output_tokens,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
