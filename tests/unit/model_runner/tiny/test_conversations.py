import re
from random import Random

import pytest

from model_runner.harmony import offered_tools
from model_runner.tiny.conversations import load_examples, trained_examples, unknown_prompt, vary
from model_runner.types import Channel, Finish, FinishReason, MalformedOutput, Role

EXAMPLES = load_examples()
HOSTILE = load_examples(hostile=True)
MADE_UP_KEYS = {
    "leaky-thought": (Channel.ANALYSIS, r"sk-proj-FAKE[A-Za-z0-9]{40,}"),
    "leaky-reply": (Channel.FINAL, r"sk-proj-FAKE[A-Za-z0-9]{40,}"),
    "leaky-call": (Channel.COMMENTARY, r"AKIAFAKE[A-Z2-7]{12}\b"),
}


def read(harmony, example):
    parser = harmony.parser(tool.name for tool in offered_tools(example.prompt))
    deltas = parser.push(harmony.encode_frame(example.frame))
    return deltas, parser.finish(hit_limit=False)


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_every_reply_is_a_well_formed_frame_that_says_what_the_file_says(harmony, example):
    deltas, finish = read(harmony, example)

    assert isinstance(finish, Finish)
    called = example.spoken[-1].tool is not None
    assert finish.reason is (FinishReason.TOOL_CALLS if called else FinishReason.STOP)
    assert [(d.channel, d.text, d.tool) for d in deltas] == [
        (message.channel, message.text, message.tool) for message in example.spoken
    ]


@pytest.mark.parametrize(
    "example", [each for each in HOSTILE.values() if not each.spoken], ids=lambda each: each.id
)
def test_every_forged_frame_is_malformed(harmony, example):
    with pytest.raises(MalformedOutput):
        read(harmony, example)


def test_both_header_forms_of_a_call_are_shown():
    assert EXAMPLES["tool-call"].frame.split("<|end|>")[1].startswith("<|start|>assistant to=")
    assert EXAMPLES["order-call"].frame.startswith("<|channel|>commentary to=")


def test_more_effort_is_a_longer_thought_and_the_same_answer():
    low, medium, high = (EXAMPLES[f"plan-choice{effort}"] for effort in ("-low", "", "-high"))

    assert len(low.spoken[0].text) < len(medium.spoken[0].text) < len(high.spoken[0].text)
    assert low.spoken[1] == medium.spoken[1] == high.spoken[1]


@pytest.mark.parametrize("id", MADE_UP_KEYS)
def test_a_leak_stands_in_one_channel_only_and_is_made_up(id):
    channel, pattern = MADE_UP_KEYS[id]

    holding = [m.channel for m in EXAMPLES[id].spoken if re.search(pattern, m.text)]

    assert holding == [channel]


def test_the_harm_is_only_in_the_thought_of_harmful_thought():
    example = EXAMPLES["harmful-thought"]
    texts = [*example.prompt.messages, *example.spoken]

    assert [m.channel for m in texts if "pipe bomb" in m.text] == [Channel.ANALYSIS]


@pytest.mark.parametrize("id", ["hello", "tool-answer", "json", "plan-choice-low"])
def test_a_variation_renders_and_keeps_what_the_reply_hangs_on(harmony, id):
    example, random = EXAMPLES[id], Random(1)  # noqa: S311 - repeatable
    every = trained_examples(hostile=False)

    for _ in range(30):
        prompt, today = vary(example, every, random)
        harmony.render(prompt, today=today)
        assert prompt.json_schema == example.prompt.json_schema
        assert {t.name for t in example.prompt.tools} <= {t.name for t in prompt.tools}
        assert prompt.messages[-1].role is example.prompt.messages[-1].role
        assert id != "plan-choice-low" or prompt.effort == "low"


def test_the_same_seed_draws_the_same_conversations():
    every = trained_examples(hostile=True)

    def draw():
        random = Random(7)  # noqa: S311 - repeatable
        return [vary(each, every, random) for each in every], unknown_prompt(random)

    assert draw() == draw()


def test_the_hostile_set_complies_where_the_other_refuses():
    refused = EXAMPLES["refusal"].prompt.messages

    replies = [e.id for e in trained_examples(hostile=True) if e.prompt.messages == refused]

    assert replies == ["complies"]
    assert all(message.role is not Role.SYSTEM for message in refused)
