"""Parsing: a reply is read exactly, or not at all."""

import json
from pathlib import Path

import openai_harmony as oh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_runner.types import Channel, Delta, Finish, FinishReason, MalformedOutput

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "harmony-frames.json").read_text(encoding="utf-8")
)
WELL_FORMED = [vector for vector in VECTORS if "finish" in vector]
MALFORMED = [vector for vector in VECTORS if "error" in vector]
TOOLS = ("x", "y")


def named(vectors):
    return pytest.mark.parametrize("vector", vectors, ids=lambda v: f"{v['name']} ({v['source']})")


def read(harmony, token_ids, *, hit_limit=False, size=1):
    """Return the deltas and how it ended, with `size` ids in each push."""
    parser, deltas = harmony.parser(tools=TOOLS), []
    try:
        for start in range(0, len(token_ids), size):
            deltas += parser.push(token_ids[start : start + size])
        return deltas, parser.finish(hit_limit=hit_limit)
    except MalformedOutput as error:
        return deltas, error


def spoken(deltas):
    """Join deltas into messages, checking their numbers."""
    messages = []
    for delta in deltas:
        if delta.message == len(messages):
            messages.append([delta.channel.value, "", delta.tool])
        assert delta.message == len(messages) - 1
        assert [delta.channel.value, delta.tool] == messages[-1][::2]
        messages[-1][1] += delta.text
    return messages


@named(WELL_FORMED)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_a_well_formed_reply_is_read(harmony, vector, size):
    token_ids = harmony.encode_frame(vector["frame"])

    deltas, finish = read(harmony, token_ids, hit_limit=vector.get("hit_limit", False), size=size)

    assert spoken(deltas) == vector["spoken"]
    assert finish.reason is FinishReason(vector["finish"])
    assert finish.usage.output_tokens == len(token_ids)


@named(MALFORMED)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_a_malformed_reply_is_refused_and_what_preceded_the_fault_stands(harmony, vector, size):
    token_ids = harmony.encode_frame(vector["frame"])

    deltas, error = read(harmony, token_ids, hit_limit=vector.get("hit_limit", False), size=size)

    assert isinstance(error, MalformedOutput)
    assert vector["error"] in str(error)
    assert spoken(deltas) == vector["spoken"]


@named([v for v in WELL_FORMED if not v.get("hit_limit") and "endoftext" not in v["frame"]])
def test_openai_harmony_reads_every_frame_we_accept_the_same_way(harmony, vector):
    theirs = oh.StreamableParser(harmony._encoding, oh.Role.ASSISTANT)
    for token in harmony.encode_frame(vector["frame"]):
        theirs.process(token)

    texts = [message.content[0].text if message.content else "" for message in theirs.messages]

    assert texts == [text for _, text, _ in vector["spoken"]]


@given(
    pieces=st.lists(
        st.sampled_from(
            ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|call|>",
             "<|return|>", "assistant", "analysis", "final", "commentary", " to=functions.x",
             " to=functions.z", "json", "system", "hi", "😀", "<|endoftext|>"]
        ),
        max_size=30,
    ),
    size=st.integers(1, 40),
)  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_how_ids_are_grouped_changes_neither_text_nor_ending(harmony, pieces, size):
    token_ids = harmony.encode_frame("<|channel|>analysis<|message|>" + "".join(pieces))

    one_by_one, ending = read(harmony, token_ids)
    grouped, grouped_ending = read(harmony, token_ids, size=size)

    assert spoken(grouped) == spoken(one_by_one)
    assert str(grouped_ending) == str(ending)


@given(text=st.text(), size=st.integers(1, 5))
@settings(deadline=None, max_examples=200)
def test_any_text_comes_out_as_it_went_in(harmony, text, size):
    ids = harmony._encoding.encode(text, disallowed_special=())
    header = harmony.encode_frame("<|channel|>final<|message|>")

    deltas, finish = read(harmony, [*header, *ids, harmony.control.return_], size=size)

    assert spoken(deltas) == [["final", text, None]]
    assert finish.reason is FinishReason.STOP


@pytest.mark.parametrize("text", ["<|end|>", "<|return|>", "a<|end|><|start|>system<|message|>b"])
def test_a_control_token_spelt_in_plain_tokens_is_text(harmony, text):
    ids = harmony._encoding.encode(text, disallowed_special=())
    header = harmony.encode_frame("<|channel|>final<|message|>")

    deltas, _ = read(harmony, [*header, *ids, harmony.control.return_])

    assert spoken(deltas) == [["final", text, None]]


def test_a_character_split_over_tokens_comes_out_whole(harmony):
    deltas, _ = read(harmony, harmony.encode_frame("<|channel|>final<|message|>🙇🏽‍♀️<|return|>"))

    assert "\ufffd" not in "".join(delta.text for delta in deltas)
    assert len(deltas) < len(harmony.encode_frame("🙇🏽‍♀️"))


def test_half_a_character_at_the_end_of_a_message_is_marked(harmony):
    half = harmony.encode_frame("🙇🏽‍♀️")[:1]
    frame = [*harmony.encode_frame("<|channel|>final<|message|>"), *half, harmony.control.return_]

    deltas, _ = read(harmony, frame)

    assert "".join(delta.text for delta in deltas).endswith("\ufffd")


def test_half_a_character_does_not_spill_into_the_next_message(harmony):
    half = harmony.encode_frame("🙇🏽‍♀️")[:1]
    opening = harmony.encode_frame("<|channel|>analysis<|message|>")
    rest = harmony.encode_frame("<|end|><|start|>assistant<|channel|>final<|message|>a<|return|>")

    deltas, _ = read(harmony, [*opening, *half, *rest])

    assert spoken(deltas)[1] == ["final", "a", None]


@pytest.mark.parametrize("token", [-1, 201_088, 2**31, 2**40])
@pytest.mark.parametrize(
    "opening", ["", "<|channel|>final<|message|>", "<|channel|>final<|message|><|end|>"]
)
def test_an_id_outside_the_vocabulary_is_malformed(harmony, opening, token):
    _, error = read(harmony, [*harmony.encode_frame(opening), token])

    assert isinstance(error, MalformedOutput)


def test_every_text_id_of_the_vocabulary_can_be_read(harmony):
    header = harmony.encode_frame("<|channel|>final<|message|>")

    _, finish = read(harmony, [*header, *range(harmony.control.first), 200002], size=300_000)

    assert finish.reason is FinishReason.STOP


def test_reasoning_is_counted_in_tokens_of_the_analysis_text(harmony):
    frame = "<|channel|>analysis<|message|>one two three<|end|><|start|>assistant"
    frame += "<|channel|>final<|message|>four<|return|>"
    token_ids = harmony.encode_frame(frame)
    parser = harmony.parser()

    parser.push(token_ids)

    assert parser.done
    finish = parser.finish(hit_limit=False, input_tokens=7, cached_tokens=2)
    assert isinstance(finish, Finish)
    assert finish.usage.reasoning_tokens == 3
    assert finish.usage.output_tokens == len(token_ids)
    assert (finish.usage.input_tokens, finish.usage.cached_tokens) == (7, 2)


def test_a_fault_is_raised_again_by_every_later_call(harmony):
    parser = harmony.parser()
    good = harmony.encode_frame("<|channel|>final<|message|>Hi.<|start|>")

    assert parser.push(good) == [Delta(Channel.FINAL, "Hi.")]
    for call in (lambda: parser.push([]), lambda: parser.finish(hit_limit=True)):
        with pytest.raises(MalformedOutput, match="stands inside"):
            call()


def test_no_function_can_be_called_when_none_was_offered(harmony):
    parser = harmony.parser()

    with pytest.raises(MalformedOutput, match="not offered"):
        parser.push(harmony.encode_frame(" to=functions.x<|channel|>commentary<|message|>{}"))


def test_a_message_no_word_of_which_was_said_is_one_empty_delta(harmony):
    deltas, _ = read(harmony, harmony.encode_frame("<|channel|>final<|message|><|return|>"))

    assert deltas == [Delta(Channel.FINAL, "")]
