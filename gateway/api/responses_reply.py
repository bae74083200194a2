"""What the pipeline yields -> Responses API items and events. Decides nothing.

A hidden thought leaves no trace before it is whole and judged: its item appears when
the thought has ended, and a thought that was stopped never appears.

Source: `openai.types.responses`, openai 3.54; contract tests read every event with it.
"""

from __future__ import annotations

import time
from typing import Any

from gateway.api.call import Call, Event
from gateway.api.moderation_result import moderation_of
from gateway.api.refused import refusal_error
from gateway.api.warned import add_warnings
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.pipeline import Admitted, Refusal, Reply
from gateway.refusing import refusal_text
from gateway.sealing import Bound, Sealer, opening_of
from model_runner.types import Channel, Delta, Finish, FinishReason, Usage
from policies.effects import STOPPED

_TERMINAL_CODES = frozenset(
    {"bio_policy", "cyber_policy", "invalid_prompt", STOPPED}
)  # a client must not send these again: the reply ends as `failed`, not `incomplete`


class ResponsesWriter:
    """Writes one response; see `gateway.api.call.Writer`."""

    def __init__(self, call: Call, exchange: Exchange, sealer: Sealer, *, expose: bool):
        self._call = call
        self._exchange = exchange
        self._sealer = sealer
        self._expose = expose
        self._suffix = exchange.id.removeprefix("req_")
        self._sequence = 0
        self._open: Delta | None = None  # the message being written; its text is in _text
        self._item: dict[str, Any] = {}
        self._text: list[str] = []
        self._response = _skeleton(call, f"resp_{self._suffix}")

    def write(self, item: Reply) -> list[Event]:
        """Take one item; return the events it causes, in order."""
        if isinstance(item, Delta):
            return self._delta(item)
        if isinstance(item, Finish):
            return self._finish(item)
        if isinstance(item, Refusal):
            return self._refuse(item)
        assert isinstance(item, Admitted)  # noqa: S101 - the four kinds of Reply
        return [
            self._event("response.created", response=dict(self._response)),
            self._event("response.in_progress", response=dict(self._response)),
        ]

    def fail(self, error: GatewayError) -> list[Event]:
        """End a half-sent stream; the code is one that the SDK knows."""
        code = {400: "invalid_prompt", 429: "rate_limit_exceeded"}.get(error.status, "server_error")
        self._response["error"] = {"code": code, "message": str(error), "type": error.code}
        return [*self._close("incomplete"), self._end("failed")]

    def result(self) -> dict[str, Any]:
        """Return the finished response."""
        return self._response

    def _delta(self, delta: Delta) -> list[Event]:
        events: list[Event] = []
        if self._open is None or delta.message != self._open.message:
            events += self._close("completed")
            events += self._begin(delta)
        self._text.append(delta.text)
        if not delta.text:
            return events
        if delta.tool is not None:
            events.append(self._on_item("response.function_call_arguments.delta", delta=delta.text))
        elif delta.channel is not Channel.ANALYSIS:
            events.append(
                self._on_part("response.output_text.delta", delta=delta.text, logprobs=[])
            )
        elif self._expose:
            events.append(self._on_part("response.reasoning_text.delta", delta=delta.text))
        return events

    def _begin(self, delta: Delta) -> list[Event]:
        self._open, self._text = delta, []
        if delta.channel is Channel.ANALYSIS and delta.tool is None:
            return self._begin_thought()
        if delta.tool is not None:
            return self._add_item(
                {
                    "type": "function_call",
                    "id": self._item_id("fc"),
                    "call_id": self._item_id("call"),
                    "name": delta.tool,
                    "arguments": "",
                    "status": "in_progress",
                }
            )
        phase = "commentary" if delta.channel is Channel.COMMENTARY else "final_answer"
        return [*self._begin_message(phase), self._add_part(_output_text(""))]

    @property
    def _is_hidden(self) -> bool:
        """Whether a thought is open that the caller has not seen the beginning of."""
        return not self._expose and "summary" in self._item

    def _begin_thought(self) -> list[Event]:
        thought = {"type": "reasoning", "id": self._item_id("rs"), "summary": []}
        if not self._expose:
            self._item = thought  # kept back until it is whole
            return []
        events = self._add_item({**thought, "status": "in_progress", "content": []})
        return [*events, self._add_part({"type": "reasoning_text", "text": ""})]

    def _begin_message(self, phase: str) -> list[Event]:
        return self._add_item(
            {
                "type": "message",
                "id": self._item_id("msg"),
                "role": "assistant",
                "status": "in_progress",
                "phase": phase,
                "content": [],
            }
        )

    def _close(self, status: str) -> list[Event]:
        """Close the open item, whatever it is."""
        if self._open is None:
            return []
        delta, text = self._open, "".join(self._text)
        self._open = None
        if delta.tool is not None:
            self._item["arguments"] = text
            done = self._on_item("response.function_call_arguments.done", arguments=text)
            return [done, self._item_done(status)]
        if delta.channel is not Channel.ANALYSIS:
            done = self._on_part("response.output_text.done", text=text, logprobs=[])
            return [done, self._part_done(_output_text(text)), self._item_done(status)]
        return self._close_thought(delta.message, text, status)

    def _close_thought(self, message: int, text: str, status: str) -> list[Event]:
        if self._call.seal_reasoning:
            prompt = self._call.prompt
            bound = Bound(
                self._exchange.principal.project, prompt.model, opening_of(prompt.messages)
            )
            self._item["encrypted_content"] = self._sealer.seal(
                text,
                bound=bound,
                exchange=self._suffix,
                trace=self._exchange.steps.trace(),
            )
        if self._expose:
            part = {"type": "reasoning_text", "text": text}
            done = self._on_part("response.reasoning_text.done", text=text)
            told = self._tell_summary(message) if status == "completed" else []
            return [done, self._part_done(part), *told, self._item_done(status)]
        if status != "completed":
            return []  # a thought that was stopped leaves no trace
        return [*self._add_item(self._item), *self._tell_summary(message), self._item_done(None)]

    def _tell_summary(self, message: int) -> list[Event]:
        """Tell what may be read of a thought, if anything was asked for and anything may."""
        summary = self._exchange.summary
        text = summary.of(message) if summary is not None else ""
        if not text:
            return []
        part = {"type": "summary_text", "text": text}
        self._item["summary"] = [part]
        kind, first = "response.reasoning_summary_", {"summary_index": 0}
        return [
            self._on_item(f"{kind}part.added", part={**part, "text": ""}, **first),
            self._on_item(f"{kind}text.delta", delta=text, **first),
            self._on_item(f"{kind}text.done", text=text, **first),
            self._on_item(f"{kind}part.done", part=part, **first),
        ]

    def _finish(self, finish: Finish) -> list[Event]:
        cut = finish.reason is FinishReason.LENGTH
        events = self._close("incomplete" if cut and not self._is_hidden else "completed")
        self._response["usage"] = _usage(finish.usage)
        if cut:
            self._response["incomplete_details"] = {"reason": "max_output_tokens"}
            return [*events, self._end("incomplete")]
        return [*events, self._end("completed")]

    def _refuse(self, refusal: Refusal) -> list[Event]:
        decision = refusal.decision
        self._response["ostiary"] = {
            "decision_id": refusal.decision_id,
            "code": decision.code,
            "policy": decision.policy_id,
            "rules": list(decision.determining_rules),
        }
        if decision.code in _TERMINAL_CODES:
            error = refusal_error(refusal)
            error["message"] = decision.developer_message or error["message"]
            self._response["error"] = error
            return [*self._close("incomplete"), self._end("failed")]
        self._response["incomplete_details"] = {"reason": "content_filter"}
        return [*self._say_refusal(refusal_text(decision)), self._end("incomplete")]

    def _say_refusal(self, text: str) -> list[Event]:
        events = self._close("incomplete")
        events += self._begin_message("final_answer")
        events.append(self._add_part({"type": "refusal", "refusal": ""}))
        events.append(self._on_part("response.refusal.delta", delta=text))
        events.append(self._on_part("response.refusal.done", refusal=text))
        events.append(self._part_done({"type": "refusal", "refusal": text}))
        return [*events, self._item_done("completed")]

    def _end(self, status: str) -> Event:
        self._response["status"] = status
        add_warnings(self._response, self._exchange)
        if status == "completed":
            self._response["completed_at"] = time.time()
        if self._call.moderation is not None:
            decisions = self._exchange.decisions
            self._response["moderation"] = moderation_of(decisions, results_list=False)
        return self._event(f"response.{status}", response=self._response)

    def _add_item(self, item: dict[str, Any]) -> list[Event]:
        self._item = item
        self._response["output"] = [*self._response["output"], item]
        return [
            self._event("response.output_item.added", output_index=self._index, item=dict(item))
        ]

    def _item_done(self, status: str | None) -> Event:
        if status is not None:
            self._item["status"] = status
        return self._event(
            "response.output_item.done", output_index=self._index, item=dict(self._item)
        )

    def _add_part(self, part: dict[str, Any]) -> Event:
        event = self._on_part("response.content_part.added", part=part)
        self._item["content"] = [part]
        return event

    def _part_done(self, part: dict[str, Any]) -> Event:
        self._item["content"] = [part]
        return self._on_part("response.content_part.done", part=part)

    def _on_part(self, kind: str, **fields: object) -> Event:
        return self._on_item(kind, content_index=0, **fields)

    def _on_item(self, kind: str, **fields: object) -> Event:
        return self._event(kind, item_id=self._item["id"], output_index=self._index, **fields)

    def _event(self, kind: str, **fields: object) -> Event:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event

    @property
    def _index(self) -> int:
        return len(self._response["output"]) - 1

    def _item_id(self, kind: str) -> str:
        return f"{kind}_{self._suffix}{len(self._response['output']):04x}"


def _skeleton(call: Call, response_id: str) -> dict[str, Any]:
    return {
        "id": response_id,
        "object": "response",
        "created_at": time.time(),
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
        "background": False,
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        "top_logprobs": 0,
        **call.echo,
    }


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
