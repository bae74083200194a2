"""Reads what the gateway sends as strictly as the `openai` package's types allow.

The SDK itself constructs its models without validation: a wrong type or a missing field
passes it unseen and breaks somebody's application later. Here every byte is checked, and
the events of a stream must add up to the reply they end in.
"""

import json
import typing

from openai import BaseModel
from openai.types import Model, ModerationCreateResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

# What we send beside OpenAI's fields: ours, and gpt-oss's convention for thoughts on Chat.
OWN_FIELDS = {"ostiary", "reasoning"}
UNTYPED = {"store"}  # in every reply of the hosted API, not in the SDK's types
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


def _event_types():
    union = typing.get_args(ResponseStreamEvent)[0]
    return {
        typing.get_args(each.model_fields["type"].annotation)[0]: each
        for each in typing.get_args(union)
    }


EVENT_TYPES = _event_types()


def strict(kind, raw):
    """Return `raw` as `kind`; fails on a wrong type, a missing field or one of nobody's."""
    model = kind.model_validate_json(json.dumps(raw), strict=True)
    unknown = set(_unknown_fields(model, kind.__name__))
    assert not unknown, f"fields that OpenAI does not have: {sorted(unknown)}"
    return model


def response(raw):
    return strict(Response, raw)


def completion(raw):
    return strict(ChatCompletion, raw)


def moderation(raw):
    return strict(ModerationCreateResponse, raw)


def model(raw):
    return strict(Model, raw)


def sse(raw):
    """Return the events of a stream as (name, data) pairs; comments are left out."""
    assert raw.endswith(b"\n\n"), "a stream ends with a whole event"
    events = []
    for block in raw.decode().split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if lines:
            fields = dict(line.split(": ", 1) for line in lines)
            events.append((fields.get("event"), fields["data"]))
    return events


def response_events(raw):
    """Check a Responses stream; return its events and the response they end in."""
    events = []
    for name, text in sse(raw):
        event = json.loads(text)
        assert name == event["type"]
        strict(EVENT_TYPES[name], event)
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert [kind for kind in kinds if kind in TERMINAL] == [kinds[-1]]
    final = events[-1]["response"]
    assert events[-1]["type"] == f"response.{final['status']}"
    for event in events[:2]:
        assert event["response"]["status"] == "in_progress"
        assert event["response"]["output"] == []
        assert event["response"]["id"] == final["id"]
    assert _fold(events[2:-1]) == final["output"]
    return events, final


def chat_chunks(raw):
    """Check a Chat stream; return its chunks and the completion they add up to.

    A stream that failed half-way ends in a chunk with `error`, and without `[DONE]`.
    """
    texts = [text for name, text in sse(raw) if name is None]
    done = texts[-1] == "[DONE]"
    chunks = [json.loads(text) for text in (texts[:-1] if done else texts)]
    failed = [chunk for chunk in chunks if "error" in chunk]
    assert failed == ([] if done else chunks[-1:])
    whole = chunks if done else chunks[:-1]
    for chunk in whole:
        strict(ChatCompletionChunk, chunk)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in whole}) <= 1
    return chunks, _fold_chunks(whole, complete=done)


def error(raw):
    """Return the error object of an error body, if it has OpenAI's shape."""
    found = raw["error"]
    assert {"message", "type", "param", "code"} <= set(found)
    assert isinstance(found["message"], str)
    assert found["message"]
    assert isinstance(found["type"], str)
    return found


def _unknown_fields(value, path):
    if isinstance(value, BaseModel):
        for name in value.model_extra or {}:
            if name not in OWN_FIELDS | UNTYPED:
                yield f"{path}.{name}"
        for name in type(value).model_fields:
            yield from _unknown_fields(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _unknown_fields(item, f"{path}[]")


def _fold(events):
    """Put a stream's items together as a client would; fails where events contradict."""
    items, open_index = [], None
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert open_index is None, "an item was added before the one before it was done"
            assert event["output_index"] == len(items)
            open_index = len(items)
            items.append(dict(event["item"]))
            continue
        assert event["output_index"] == open_index
        item = items[open_index]
        if kind == "response.output_item.done":
            _check_done(item, event["item"])
            items[open_index] = event["item"]
            open_index = None
            continue
        assert event["item_id"] == item["id"]
        _fold_into(item, event)
    assert open_index is None, "the last item was never done"
    return items


def _fold_into(item, event):
    kind = event["type"]
    if kind == "response.function_call_arguments.delta":
        item["arguments"] += event["delta"]
    elif kind == "response.function_call_arguments.done":
        assert event["arguments"] == item["arguments"]
        assert event.get("name", item["name"]) == item["name"]
    elif kind.endswith("_part.added"):
        where, index = _place(event)
        assert index == len(item[where])
        item[where] = [*item[where], dict(event["part"])]
        item["open_part"] = True
    else:
        where, index = _place(event)
        part = item[where][index]
        field = "refusal" if part["type"] == "refusal" else "text"
        assert item["open_part"], "a part was written to after it was done"
        if kind.endswith(".delta"):
            assert kind == _DELTA_OF[part["type"]]
            assert event["delta"], "an empty delta"
            part[field] += event["delta"]
        elif kind.endswith("_part.done"):
            assert event["part"] == part
            item["open_part"] = False
        else:
            assert kind == _DELTA_OF[part["type"]].replace(".delta", ".done")
            assert event[field] == part[field]


def _place(event):
    """Return the list that a part is in, and where."""
    if "summary_index" in event:
        return "summary", event["summary_index"]
    return "content", event["content_index"]


_DELTA_OF = {
    "summary_text": "response.reasoning_summary_text.delta",
    "output_text": "response.output_text.delta",
    "reasoning_text": "response.reasoning_text.delta",
    "refusal": "response.refusal.delta",
}


def _check_done(folded, done):
    assert not folded.pop("open_part", False), "an item was done before its part"
    may_change = {"status", "encrypted_content"}
    for name in (set(folded) | set(done)) - may_change:
        assert folded.get(name) == done.get(name), f"`{name}` is not what the events said"
    if "status" in done:
        assert done["status"] in {"completed", "incomplete"}


def _fold_chunks(chunks, *, complete):
    message = {"content": "", "refusal": "", "reasoning": "", "tool_calls": []}
    finish, usage, extra = None, None, {}
    for number, chunk in enumerate(chunks):
        usage = chunk.get("usage") or usage
        extra |= {name: chunk[name] for name in ("moderation", "ostiary") if name in chunk}
        if not chunk["choices"]:
            assert finish is not None, "a chunk without a choice came before the end"
            continue
        assert finish is None, "a choice came after its end"
        [choice] = chunk["choices"]
        assert choice["index"] == 0
        delta = choice["delta"]
        assert delta.get("role") == ("assistant" if number == 0 else None)
        for name in ("content", "refusal", "reasoning"):
            message[name] += delta.get(name) or ""
        for call in delta.get("tool_calls", ()):
            _fold_call(message["tool_calls"], call)
        finish = choice["finish_reason"]
    assert (finish is not None) == complete, "a stream ends with one finish reason"
    return {"message": message, "finish_reason": finish, "usage": usage, **extra}


def _fold_call(calls, part):
    if part["index"] == len(calls):
        assert part["type"] == "function"
        assert part["id"]
        calls.append({**part, "function": dict(part["function"])})
        return
    assert part["index"] == len(calls) - 1
    assert "id" not in part
    calls[-1]["function"]["arguments"] += part["function"]["arguments"]
