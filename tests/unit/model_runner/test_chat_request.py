import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runner.chat_request import COMMON, Dialect, chat_request, offered_names
from model_runner.types import (
    Channel,
    Effort,
    Message,
    Prompt,
    PromptRejected,
    Role,
    Sampling,
    Tool,
    ToolMode,
)

ASK = Message(Role.USER, "hello")
WEATHER = Tool("weather", "tells the weather", {"type": "object"}, strict=True)


def thought(text):
    return Message(Role.ASSISTANT, text, Channel.ANALYSIS)


def call(arguments, call_id=None, tool="weather"):
    return Message(Role.ASSISTANT, arguments, Channel.COMMENTARY, tool, call_id)


def output(text, call_id=None, tool="weather"):
    return Message(Role.TOOL, text, tool=tool, call_id=call_id)


def sent(*messages, dialect=COMMON, **fields):
    prompt = Prompt("gpt-oss", messages or (ASK,), **fields)
    return json.loads(chat_request(prompt, "engine-name", dialect))


def test_a_plain_question_is_a_streamed_request_with_usage():
    assert sent() == {
        "model": "engine-name",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning_effort": "medium",
    }


def test_sampling_and_effort_are_passed_on():
    sampling = Sampling(temperature=0.0, top_p=0.5, max_tokens=9, seed=0, stop=("END",))

    body = sent(sampling=sampling, effort=Effort.HIGH)

    assert body["temperature"] == 0.0
    assert body["top_p"] == 0.5
    assert body["max_tokens"] == 9
    assert body["seed"] == 0
    assert body["stop"] == ["END"]
    assert body["reasoning_effort"] == "high"


def test_an_engine_that_knows_no_effort_is_not_sent_one():
    assert "reasoning_effort" not in sent(dialect=Dialect(sends_effort=False))


@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_are_sent_in_the_role_the_engine_knows(role):
    body = sent(Message(Role.DEVELOPER, "be brief"), ASK, dialect=Dialect(developer_role=role))

    assert body["messages"][0] == {"role": role, "content": "be brief"}


def test_tools_are_offered_with_their_schema():
    function = {
        "name": "weather",
        "description": "tells the weather",
        "parameters": {"type": "object"},
        "strict": True,
    }

    assert sent(tools=(WEATHER,))["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "auto"),
        ({"tool_mode": ToolMode.NONE}, "none"),
        ({"tool_mode": ToolMode.REQUIRED}, "required"),
        ({"tool_choice": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_the_choice_of_a_tool_is_passed_on(fields, expected):
    assert sent(tools=(WEATHER,), **fields)["tool_choice"] == expected


def test_no_choice_is_sent_where_there_are_no_tools():
    assert "tool_choice" not in sent(tool_mode=ToolMode.NONE)


def test_no_tool_is_offered_when_none_may_be_called():
    prompt = Prompt("m", (ASK,), tools=(WEATHER,), tool_mode=ToolMode.NONE)

    assert offered_names(prompt) == frozenset()


def test_a_schema_is_asked_for_by_name_and_an_empty_one_as_any_object():
    assert sent(json_schema={})["response_format"] == {"type": "json_object"}
    assert sent(json_schema={"type": "array"})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": {"type": "array"}, "strict": True},
    }


def test_the_thought_and_the_calls_of_a_turn_become_one_message():
    body = sent(ASK, thought("hm"), call("{}", "a"), call("[]", "b"), output("sun", "a"))

    assert body["messages"][1] == {
        "role": "assistant",
        "content": None,
        "reasoning": "hm",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "weather", "arguments": "[]"}},
        ],
    }
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "a", "content": "sun"}


def test_thoughts_of_turns_that_are_over_are_left_out():
    body = sent(ASK, thought("old"), Message(Role.ASSISTANT, "hi"), ASK)

    assert "old" not in json.dumps(body)


def test_calls_without_ids_are_tied_to_their_outputs_in_order():
    body = sent(ASK, call("1"), call("2"), output("one"), output("two"))

    made = [call["id"] for call in body["messages"][1]["tool_calls"]]
    assert [message["tool_call_id"] for message in body["messages"][2:]] == made
    assert len(set(made)) == 2


def test_an_output_that_answers_no_call_is_refused():
    with pytest.raises(PromptRejected, match="answers no call"):
        sent(ASK, output("sun"))


@pytest.mark.parametrize("name", ["", "a" * 65, "weather<|channel|>analysis", "get weather", "a\n"])
def test_a_tool_name_that_is_not_a_plain_name_is_refused(name):
    with pytest.raises(PromptRejected):
        sent(tools=(Tool(name),))
    with pytest.raises(PromptRejected):
        sent(ASK, call("{}", "a", tool=name))
    with pytest.raises(PromptRejected):
        sent(tools=(WEATHER,), tool_choice=name)


def test_a_text_that_is_not_unicode_is_refused():
    with pytest.raises(PromptRejected, match="JSON cannot carry"):
        sent(Message(Role.USER, "\ud800"))


TOKENS = ["<|start|>", "<|end|>", "<|im_start|>", "<\uff5cend_of_sentence\uff5c>"]


@given(st.lists(st.sampled_from([*TOKENS, "<", "|", ">", "a", "<|", "|>", "\\", '"']), max_size=12))
def test_no_text_carries_a_control_token_to_the_engine(pieces):
    text = "".join(pieces)
    schema = {"type": "object", "description": text}

    body = sent(
        Message(Role.USER, text), call(text, "a"), output(text, "a"),
        tools=(Tool("weather", text, schema),), json_schema=schema,
    )  # fmt: skip

    assert not any(token in json.dumps(body, ensure_ascii=False) for token in TOKENS)
    assert body["messages"][0]["content"].replace("\u200b", "") == text


def test_an_operator_made_of_the_same_signs_is_left_alone():
    assert sent(Message(Role.USER, "f <| g |> h"))["messages"][0]["content"] == "f <| g |> h"
