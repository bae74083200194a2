import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runner.chat_reply import ChatReply
from model_runner.types import (
    Channel,
    Delta,
    Finish,
    FinishReason,
    MalformedOutput,
    RunnerUnavailable,
    Usage,
)

TOOLS = frozenset({"weather", "clock"})


def chunk(finish_reason=None, **delta):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def tool(arguments=None, name=None, index=0, id=None):
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": id, "type": "function", "function": function}


def calling(*pieces, finish_reason=None):
    return chunk(finish_reason, tool_calls=list(pieces))


def read(*chunks, tools=TOOLS):
    reply = ChatReply(tools)
    deltas = []
    for each in chunks:
        deltas += reply.push([json.dumps(each).encode()])
    return deltas, reply.finish()


def read_at_once(*chunks):
    reply = ChatReply(TOOLS)
    return reply.push([json.dumps(each).encode() for each in chunks])


def final(text, message=0):
    return Delta(Channel.FINAL, text, message)


def thought(text, message=0):
    return Delta(Channel.ANALYSIS, text, message)


def called(name, arguments, message=0):
    return Delta(Channel.COMMENTARY, arguments, message, name)


def test_text_is_read_as_the_final_channel():
    deltas, finish = read(chunk(role="assistant", content=""), chunk(content="Hi"), chunk("stop"))

    assert deltas == [final("Hi")]
    assert finish == Finish(FinishReason.STOP, Usage())


def test_what_one_network_read_brings_for_one_message_is_one_delta():
    pieces = [chunk(reasoning="a"), chunk(reasoning="b"), chunk(content="c"), chunk(content="d")]

    assert read_at_once(*pieces) == [thought("ab", 0), final("cd", 1)]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_either_spelling_of_reasoning_is_a_thought(field):
    deltas, _ = read(chunk(**{field: "hm"}), chunk(content="Hi"), chunk("stop"))

    assert deltas == [thought("hm", 0), final("Hi", 1)]


def test_an_engine_that_sends_both_spellings_is_read_once():
    deltas, _ = read(chunk("length", reasoning="hm", reasoning_content="hm"))

    assert deltas == [thought("hm")]


def test_a_refusal_of_the_engine_is_said_like_any_answer():
    deltas, _ = read(chunk(refusal="No."), chunk("stop"))

    assert deltas == [final("No.")]


def test_the_pieces_of_a_call_make_one_message():
    deltas, finish = read(
        chunk(reasoning="hm"),
        calling(tool("", "weather", id="a")),
        calling(),
        calling(tool('{"city":')),
        calling(tool("")),
        calling(tool('"Rome"}')),
        chunk("tool_calls"),
    )

    assert "".join(delta.text for delta in deltas[1:]) == '{"city":"Rome"}'
    assert {(delta.message, delta.tool) for delta in deltas[1:]} == {(1, "weather")}
    assert finish.reason is FinishReason.TOOL_CALLS


def test_two_calls_glued_into_one_chunk_are_two_messages():
    deltas, _ = read(
        calling(tool("{}", "weather", 0, "a"), tool("[]", "clock", 1, "b")), chunk("tool_calls")
    )

    assert deltas == [called("weather", "{}", 0), called("clock", "[]", 1)]


def test_calls_with_the_same_number_are_told_apart_by_their_ids():
    deltas, _ = read(
        calling(tool("{}", "weather", 0, "a")), calling(tool("[]", "weather", 0, "b")),
        chunk("stop"),
    )  # fmt: skip

    assert deltas == [called("weather", "{}", 0), called("weather", "[]", 1)]


def test_a_call_without_arguments_still_has_a_delta():
    deltas, _ = read(calling(tool(None, "clock", id="a")), chunk("tool_calls"))

    assert deltas == [called("clock", "")]


def test_arguments_that_come_before_the_name_wait_for_it():
    deltas, _ = read(
        calling(tool('{"a"', id="a")), calling(tool(":1}", "weather")), chunk("tool_calls")
    )

    assert deltas == [called("weather", '{"a":1}')]


def test_a_repeated_name_changes_nothing():
    deltas, _ = read(
        calling(tool("{", "weather", id="a")), calling(tool("}", "weather", id="a")),
        chunk("tool_calls"),
    )  # fmt: skip

    assert "".join(delta.text for delta in deltas) == "{}"


def test_a_call_that_ends_in_stop_still_waits_for_its_tool():
    _, finish = read(calling(tool("{}", "weather", id="a")), chunk("stop"))

    assert finish.reason is FinishReason.TOOL_CALLS


def test_an_empty_answer_is_one_empty_delta():
    assert read(chunk("stop", content=""))[0] == [final("")]


def test_a_reply_cut_at_its_limit_may_lack_an_answer():
    assert read(chunk("length", reasoning="hm"))[1].reason is FinishReason.LENGTH


def test_the_usage_is_read_with_its_details():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "completion_tokens_details": {"reasoning_tokens": 3},
        "prompt_tokens_details": {"cached_tokens": 4},
    }

    _, finish = read(chunk("stop", content="Hi"), {"choices": [], "usage": usage})

    assert finish.usage == Usage(10, 7, 3, 4)


def test_a_usage_without_details_or_with_nonsense_counts_nothing():
    usage = {"prompt_tokens": "many", "completion_tokens": -1, "prompt_tokens_details": None}

    _, finish = read(chunk("stop", content="Hi"), {"choices": None, "usage": usage})

    assert finish.usage == Usage()


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([chunk(content="Hi")], id="the stream breaks off"),
        pytest.param([chunk("stop", reasoning="hm")], id="only a thought"),
        pytest.param([chunk("tool_calls", content="Hi")], id="waits for no call"),
        pytest.param([chunk("content_filter", content="Hi")], id="withheld by the engine"),
        pytest.param([chunk("eos", content="Hi")], id="unknown reason"),
        pytest.param([chunk("stop", content="Hi"), chunk(content="!")], id="goes on after its end"),
        pytest.param([{"choices": [{"index": 1, "delta": {"content": "b"}}]}], id="second reply"),
        pytest.param([calling(tool("{}", "rm", id="a"))], id="a tool not offered"),
        pytest.param([calling(tool("{}", "weather<|channel|>analysis"))], id="a forged name"),
        pytest.param([calling(tool("{}")), chunk("tool_calls")], id="never a name"),
        pytest.param([calling(tool("{}")), chunk(content="Hi")], id="no name before the answer"),
        pytest.param([calling(tool("{}")), calling(tool("{}", "clock", 1))], id="no name, next"),
        pytest.param([calling(tool("{}", "clock")), calling(tool("", "weather"))], id="renamed"),
        pytest.param(
            [calling(tool("{", "clock")), chunk(content="x"), calling(tool("}"))], id="back to 0"
        ),
        pytest.param(
            [calling(tool("", "clock"), tool("", "clock", 1)), calling(tool("}"))], id="1 then 0"
        ),
    ],
)
def test_a_reply_that_is_not_well_formed_is_refused(chunks):
    with pytest.raises(MalformedOutput):
        read(*chunks)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"<html>", b"[]", b"1", b'"x"', b"null", b'{"choices":5}', b'{"choices":[5]}',
        b'{"choices":{"a":1}}',
        b'{"choices":[{"delta":[1]}]}', b'{"choices":[{"delta":{"content":{"a":1}}}]}',
        b'{"choices":[{"delta":{"content":7}}]}', b'{"choices":[{"delta":{"tool_calls":7}}]}',
        b'{"choices":[{"delta":{"tool_calls":["x"]}}]}', b'{"usage":[1]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":"a","function":{"name":"clock"}}]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"function":{"name":["clock"]}}]}}]}',
        b'{"choices":[{"finish_reason":{}}]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [[], [chunk(content="Hi")]], ids=["first", "in mid-reply"])
def test_a_chunk_of_another_shape_is_refused(payload, before):
    with pytest.raises(MalformedOutput):
        reply = ChatReply(TOOLS)
        reply.push([*(json.dumps(each).encode() for each in before), payload])
        reply.finish()


KEYS = st.sampled_from(
    [
        "choices",
        "delta",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "index",
        "id",
        "finish_reason",
        "usage",
        "reasoning",
        "prompt_tokens",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4))
def test_whatever_json_arrives_the_reply_is_read_or_refused(values):
    reply = ChatReply(TOOLS)
    try:
        deltas = reply.push(
            [json.dumps(value).encode() for value in [chunk(content="Hi"), *values]]
        )
        reply.finish()
    except (MalformedOutput, RunnerUnavailable):
        return
    assert all(isinstance(delta.text, str) for delta in deltas)


def test_an_error_in_the_stream_is_not_passed_on_word_by_word():
    with pytest.raises(RunnerUnavailable) as raised:
        read({"error": {"message": "the prompt was: hello"}})

    assert "hello" not in str(raised.value)
