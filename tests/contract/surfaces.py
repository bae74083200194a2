"""One question, asked on any of the four surfaces, and its answer in one shape.

Every answer is checked strictly (`tests.contract.wire`) before a test sees it, and every
header and log entry that each response owes is checked here, for all tests.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property

import openai

from tests.contract import wire
from tests.contract.live import is_terminal

SURFACES = ["responses", "responses-stream", "chat", "chat-stream"]
WEATHER = {
    "name": "get_weather",
    "description": "Get the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@dataclass(frozen=True)
class Turn:
    """One turn: a role and text, or a `call` or `output` with its id and tool."""

    role: str
    text: str
    id: str = ""
    tool: str = ""
    thought: str = ""


@dataclass
class Answer:
    """What came back, from whichever surface."""

    surface: str
    status: int
    headers: dict
    raw: bytes
    raised: Exception | None
    events: list = field(default_factory=list)
    reply: dict | None = None  # a response, or a completion's choice with its usage
    error: dict | None = None
    log: list = field(default_factory=list)

    @property
    def is_chat(self):
        return self.surface.startswith("chat")

    @cached_property
    def text(self):
        """Everything the end user may read, refusals apart."""
        if self.reply is None:
            return ""
        if self.is_chat:
            return self.reply["message"].get("content") or ""
        return "".join(part["text"] for part in self._parts("output_text"))

    @cached_property
    def refusal(self):
        if self.reply is None:
            return None
        if self.is_chat:
            return self.reply["message"].get("refusal") or None
        return "".join(part["refusal"] for part in self._parts("refusal")) or None

    @cached_property
    def reasoning(self):
        if self.is_chat:
            return self.reply["message"].get("reasoning") or ""
        items = [item for item in self.reply["output"] if item["type"] == "reasoning"]
        return "".join(part["text"] for item in items for part in item.get("content") or ())

    @cached_property
    def calls(self):
        """(id, name, arguments) of each function call."""
        if self.is_chat:
            made = self.reply["message"].get("tool_calls") or []
            return [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in made]
        return [
            (item["call_id"], item["name"], item["arguments"])
            for item in self.reply["output"]
            if item["type"] == "function_call"
        ]

    @property
    def finish(self):
        """Chat's finish reason, or a response's status and why it is incomplete."""
        if self.is_chat:
            return self.reply["finish_reason"]
        details = self.reply["incomplete_details"]
        return (self.reply["status"], details and details["reason"])

    @property
    def decisions(self):
        """(stage, action, rules) of each recorded decision that did not simply allow."""
        return [
            (e["decision"]["stage"], e["decision"]["action"], tuple(e["determining_rules"]))
            for e in self.log
            if e["type"] == "decision.recorded" and e["decision"]["action"] != "allow"
        ]

    @property
    def outcome(self):
        """The terminal record's type and reason; there is exactly one."""
        [last] = [entry for entry in self.log if is_terminal(entry)]
        return last["type"].partition(".")[2], last["outcome"]["reason"]

    def _parts(self, kind):
        items = [item for item in self.reply["output"] if item["type"] == "message"]
        return [part for item in items for part in item["content"] if part["type"] == kind]


def ask(gateway, surface, turns="Hello!", **options):
    """Ask with the official client and check everything that came back.

    Args:
        gateway: A `Gateway`.
        surface: One of `SURFACES`.
        turns: A user's text, or `Turn`s.
        options: `instructions`, `effort`, `schema`, `max_tokens`, `tools` (functions), and
            fields that both APIs share, such as `metadata` or `moderation`.
    """
    api, _, stream = surface.partition("-")
    if isinstance(turns, str):
        turns = [Turn("user", turns)]
    body = (chat_request if api == "chat" else responses_request)(turns, options)
    client = gateway.client
    create = client.chat.completions.create if api == "chat" else client.responses.create
    if api == "chat" and stream:
        body.setdefault("stream_options", {"include_usage": True})
    raised = None
    try:
        made = create(model=gateway.model, stream=bool(stream), **body)
        if stream:
            for _ in made:
                pass
    except openai.APIError as error:
        raised = error
    tape = gateway.tape
    answer = Answer(
        surface, tape.response.status_code, tape.response.headers, bytes(tape.received), raised
    )
    _read(answer, bool(stream))
    _check_headers(gateway, answer)
    return answer


def chat_request(turns, options):
    messages = [message for turn in turns for message in _chat_messages(turn)]
    if instructions := options.pop("instructions", None):
        messages.insert(0, {"role": "developer", "content": instructions})
    return {"messages": messages, **_translated(options, _CHAT_FIELDS)}


def _chat_messages(turn):
    if turn.role == "call":
        function = {"name": turn.tool, "arguments": turn.text}
        made = {"id": turn.id, "type": "function", "function": function}
        return [{"role": "assistant", "content": None, "tool_calls": [made]}]
    if turn.role == "output":
        return [{"role": "tool", "tool_call_id": turn.id, "content": turn.text}]
    thought = {"reasoning": turn.thought} if turn.thought else {}
    return [{"role": turn.role, "content": turn.text, **thought}]


_CHAT_FIELDS = {
    "tools": lambda tools: {"tools": [{"type": "function", "function": tool} for tool in tools]},
    "effort": lambda effort: {"reasoning_effort": effort},
    "max_tokens": lambda limit: {"max_completion_tokens": limit},
    "schema": lambda schema: {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        }
    },
}


def responses_request(turns, options):
    items = [item for turn in turns for item in _response_items(turn)]
    return {"input": items, **_translated(options, _RESPONSES_FIELDS)}


def _response_items(turn):
    if turn.role == "call":
        called = {"call_id": turn.id, "name": turn.tool, "arguments": turn.text}
        return [{"type": "function_call", **called}]
    if turn.role == "output":
        return [{"type": "function_call_output", "call_id": turn.id, "output": turn.text}]
    said = [{"role": turn.role, "content": turn.text}]
    if turn.thought:
        content = [{"type": "reasoning_text", "text": turn.thought}]
        said.insert(0, {"type": "reasoning", "id": "rs_1", "summary": [], "content": content})
    return said


_RESPONSES_FIELDS = {
    "tools": lambda tools: {"tools": [{"type": "function", "strict": True, **t} for t in tools]},
    "effort": lambda effort: {"reasoning": {"effort": effort}},
    "max_tokens": lambda limit: {"max_output_tokens": limit},
    "schema": lambda schema: {
        "text": {
            "format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
        }
    },
}


def _translated(options, fields):
    """Return the options under the names that one API has for them."""
    named = {}
    for name, value in options.items():
        named |= fields[name](value) if name in fields else {name: value}
    return named


def _read(answer, stream):
    if answer.status != 200:
        answer.error = wire.error(json.loads(answer.raw))
        assert isinstance(answer.raised, openai.APIStatusError)
        assert answer.raised.status_code == answer.status
        assert answer.raised.code == answer.error["code"]
        return
    if answer.is_chat and stream:
        answer.events, answer.reply = wire.chat_chunks(answer.raw)
        if "error" in answer.events[-1]:
            answer.error = wire.error(answer.events[-1])
    elif answer.is_chat:
        whole = json.loads(answer.raw)
        wire.completion(whole)
        answer.reply = {**whole, **whole["choices"][0]}
    elif stream:
        answer.events, answer.reply = wire.response_events(answer.raw)
        answer.error = answer.reply["error"]
    else:
        answer.reply = json.loads(answer.raw)
        wire.response(answer.reply)
        answer.error = answer.reply["error"]


def _check_headers(gateway, answer):
    headers = answer.headers
    request_id = headers["x-request-id"]
    assert headers["openai-processing-ms"].isdigit()
    assert headers["openai-version"]
    found = gateway.show(headers["x-ostiary-decision-id"])
    assert [entry["request"]["id"] for entry in found] == [request_id]
    if found[0]["type"] == "request.denied":
        answer.log = gateway.show(request_id)
    else:
        answer.log = gateway.ended(request_id)
        assert sum(map(is_terminal, answer.log)) == 1
        assert answer.log[0]["type"] == "request.admitted"
        assert is_terminal(answer.log[-1])
    if answer.raised is not None and hasattr(answer.raised, "request_id"):
        assert answer.raised.request_id == request_id
