"""Both request formats: what they mean, and what they refuse by name."""

from dataclasses import replace

import pytest

from gateway.api.call import Reader
from gateway.api.chat_request import read_chat_request
from gateway.api.responses_request import read_responses_request
from gateway.errors import BadRequest, UnsupportedParameter
from gateway.sealing import Bound, Sealer
from model_runner.types import Channel, Effort, Message, Role, ToolMode

EXCHANGE = "0123456789abcdef" * 2
SEALER = Sealer(b"k" * 32)
OURS = Bound("acme", "m", "")
READER = Reader(max_messages=3, accept_reasoning=False, sealer=SEALER, project="acme")
OPEN_READER = Reader(max_messages=9, accept_reasoning=True, sealer=SEALER, project="acme")
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
PNG = "data:image/png;base64,AAAA"


def responses(reader=READER, **fields):
    return read_responses_request({"model": "m", "input": "hi", **fields}, reader)


def chat(reader=READER, **fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return read_chat_request(body, reader)


def refused(read, **fields):
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    return caught.value


def test_a_plain_string_is_one_user_message():
    assert responses().prompt.messages == (Message(Role.USER, "hi"),)


def test_instructions_come_first_and_as_the_developer():
    messages = responses(instructions="be brief").prompt.messages

    assert messages[0] == Message(Role.DEVELOPER, "be brief")


def test_a_whole_tool_turn_is_read_from_responses_items():
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "rain?"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ]

    assert responses(input=items).prompt.messages == (
        Message(Role.USER, "rain?"),
        Message(Role.ASSISTANT, "{}", Channel.COMMENTARY, "weather", "c1"),
        Message(Role.TOOL, "sunny", tool="weather", call_id="c1"),
    )


def test_the_same_tool_turn_is_read_from_chat_messages():
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "rain?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
    ]

    assert chat(messages=messages).prompt.messages == (
        Message(Role.USER, "rain?"),
        Message(Role.ASSISTANT, "{}", Channel.COMMENTARY, "weather", "c1"),
        Message(Role.TOOL, "sunny", tool="weather", call_id="c1"),
    )


def test_each_call_of_a_message_counts_against_the_limit_of_messages():
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for n in range(3)
    ]
    user = {"role": "user", "content": "hi"}

    at_most = chat(messages=[user, {"role": "assistant", "tool_calls": calls[:2]}])
    error = refused(chat, messages=[user, {"role": "assistant", "tool_calls": calls}])

    assert len(at_most.prompt.messages) == READER.max_messages
    assert (error.param, str(error)) == ("messages", "`messages` has more than 3 messages")


def test_sealed_reasoning_comes_back_as_the_thought_it_was():
    blob = SEALER.seal("I should ask for the city", bound=OURS, exchange=EXCHANGE)
    items = [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": blob}]

    thought = responses(input=items).prompt.messages[0]

    assert thought == Message(Role.ASSISTANT, "I should ask for the city", Channel.ANALYSIS)


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(
            SEALER.seal("x", bound=replace(OURS, project="other"), exchange=EXCHANGE),
            id="another project's",
        ),
        pytest.param(
            SEALER.seal("x", bound=replace(OURS, model="n"), exchange=EXCHANGE),
            id="another model's",
        ),
        pytest.param(
            SEALER.seal("x", bound=OURS, exchange=EXCHANGE)[:-4] + "AAAA",
            id="altered",
        ),
        pytest.param("not base64 at all!", id="not a blob"),
        pytest.param("", id="empty is no blob and no thought"),
    ],
)
def test_a_thought_that_was_not_sealed_here_is_never_believed(blob):
    items = [
        {"type": "reasoning", "summary": [], "encrypted_content": blob},
        {"role": "user", "content": "hi"},
    ]
    if not blob:
        assert responses(input=items).prompt.messages == (Message(Role.USER, "hi"),)
        return

    error = refused(responses, input=items)

    assert (error.code, error.param) == (
        "invalid_encrypted_content",
        "input[0].encrypted_content",
    )


def test_raw_reasoning_is_dropped_unless_the_operator_exposes_it():
    raw = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]}
    items = [raw, {"role": "user", "content": "hi"}]
    said = [{"role": "assistant", "content": "a", "reasoning": "t"}]

    assert [m.channel for m in responses(input=items).prompt.messages] == [None]
    assert [m.channel for m in chat(messages=said).prompt.messages] == [Channel.FINAL]
    assert responses(OPEN_READER, input=items).prompt.messages[0].channel is Channel.ANALYSIS
    assert chat(OPEN_READER, messages=said).prompt.messages[0].channel is Channel.ANALYSIS


@pytest.mark.parametrize(
    ("named", "meant"),
    [("none", "low"), ("minimal", "low"), ("medium", "medium"), ("xhigh", "high"), ("max", "high")],
)
def test_every_effort_maps_to_one_of_the_three(named, meant):
    assert responses(reasoning={"effort": named}).prompt.effort is Effort(meant)
    assert chat(reasoning_effort=named).prompt.effort is Effort(meant)


def test_a_named_function_is_a_required_one():
    tool = {"type": "function", "name": "weather", "parameters": WEATHER}
    prompt = responses(tools=[tool], tool_choice={"type": "function", "name": "weather"}).prompt

    assert (prompt.tool_mode, prompt.tool_choice) == (ToolMode.REQUIRED, "weather")
    assert prompt.tools[0].parameters == WEATHER


def test_both_apis_read_a_json_schema():
    on_responses = {"format": {"type": "json_schema", "name": "w", "schema": WEATHER}}
    on_chat = {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER}}

    assert responses(text=on_responses).prompt.json_schema == WEATHER
    assert chat(response_format=on_chat).prompt.json_schema == WEATHER
    assert chat(response_format={"type": "json_object"}).prompt.json_schema == {}


def test_unknown_fields_are_ignored():
    assert responses(brand_new_field={"a": 1}).prompt.messages
    assert chat(brand_new_field=7).prompt.messages


@pytest.mark.parametrize(
    ("read", "field", "value"),
    [
        (responses, "background", True),
        (responses, "previous_response_id", "resp_1"),
        (responses, "conversation", "conv_1"),
        (responses, "truncation", "auto"),
        (responses, "prompt", {"id": "p"}),
        (chat, "n", 2),
        (chat, "logprobs", True),
        (chat, "functions", [{"name": "f"}]),
        (chat, "frequency_penalty", 0.5),
        (chat, "audio", {"voice": "x"}),
    ],
)
def test_an_unsupported_field_is_refused_by_name(read, field, value):
    error = refused(read, **{field: value})

    assert isinstance(error, UnsupportedParameter)
    assert error.param == field
    assert f"`{field}`" in str(error)


@pytest.mark.parametrize(
    ("read", "fields", "param"),
    [
        (responses, {"model": None}, "model"),
        (responses, {"input": 7}, "input"),
        (responses, {"input": []}, "input"),
        (responses, {"input": [{"role": "user", "content": "x"}] * 4}, "input"),
        (responses, {"input": [{"role": "king", "content": "x"}]}, "input[0].role"),
        (responses, {"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        (responses, {"temperature": 3}, "temperature"),
        (responses, {"temperature": "hot"}, "temperature"),
        (responses, {"max_output_tokens": 0}, "max_output_tokens"),
        (responses, {"metadata": {"k": 1}}, "metadata.k"),
        (responses, {"safety_identifier": "x" * 129}, "safety_identifier"),
        (responses, {"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        (responses, {"include": ["file_search_call.results"]}, "include"),
        (responses, {"tools": [{"type": "web_search"}]}, "tools[0].type"),
        (responses, {"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        (responses, {"tool_choice": "sometimes"}, "tool_choice"),
        (responses, {"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        (responses, {"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        (chat, {"messages": []}, "messages"),
        (chat, {"messages": [{"role": "user", "content": "x"}] * 4}, "messages"),
        (chat, {"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        (chat, {"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        (chat, {"stop": [""]}, "stop"),
        (chat, {"top_p": 0}, "top_p"),
        (chat, {"stream": "yes"}, "stream"),
    ],
)
def test_a_bad_field_is_refused_by_its_path(read, fields, param):
    assert refused(read, **fields).param == param


def test_an_output_without_its_call_is_refused():
    on_responses = [{"type": "function_call_output", "call_id": "c9", "output": "x"}]
    on_chat = [{"role": "tool", "tool_call_id": "c9", "content": "x"}]

    assert refused(responses, input=on_responses).param == "input[0].call_id"
    assert refused(chat, messages=on_chat).param == "messages[0].tool_call_id"


@pytest.mark.parametrize(
    ("read", "field", "part"),
    [
        (responses, "input", {"type": "input_image", "image_url": PNG}),
        (chat, "messages", {"type": "image_url", "image_url": {"url": PNG}}),
    ],
)
def test_an_image_is_refused_because_the_model_reads_text_only(read, field, part):
    error = refused(read, **{field: [{"role": "user", "content": [part]}]})

    assert "text-only model" in str(error)
    assert error.param == f"{field}[0].content[0].type"


def test_an_error_never_quotes_what_the_caller_wrote():
    error = refused(responses, input=[{"role": "user", "content": {"secret": "hunter2"}}])

    assert "hunter2" not in str(error)
