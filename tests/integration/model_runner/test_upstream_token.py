import json

import pytest

from model_runner.harmony import load_harmony
from model_runner.types import (
    Channel,
    Delta,
    Finish,
    FinishReason,
    MalformedOutput,
    Message,
    Prompt,
    PromptRejected,
    Role,
    RunnerUnavailable,
    Sampling,
    Tool,
    Usage,
)
from model_runner.upstream import Engine, UpstreamToken

ASK = Prompt("gpt-oss", (Message(Role.USER, "hello"),))
DONE = b"data: [DONE]\n\n"
RETURN, CALL, END = 200002, 200012, 200007


@pytest.fixture(scope="module")
def harmony(tmp_path_factory):
    return load_harmony(tmp_path_factory.mktemp("cache"))


@pytest.fixture
async def runner(engine, harmony):
    upstream = UpstreamToken(Engine(engine.url, "gpt-oss", timeout_s=1), harmony)
    yield upstream
    await upstream.aclose()


@pytest.fixture
def ids(harmony):
    def encode(text):
        return harmony._encoding.encode(text, allowed_special="all")

    return encode


def event(token_ids, finish_reason=None, stop_reason=None):
    choice = {
        "index": 0, "text": "", "token_ids": token_ids,
        "finish_reason": finish_reason, "stop_reason": stop_reason,
    }  # fmt: skip
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def serving(engine, *pieces, max_model_len=4096):
    models = {"data": [{"id": "gpt-oss", "max_model_len": max_model_len}]}

    async def script(call):
        await call.start()
        if call.path == "/v1/models":
            await call.send(json.dumps(models).encode())
        else:
            await call.send(*pieces)

    engine.scripts = [script]


async def collect(runner, prompt=ASK):
    return [item async for item in runner.generate(prompt)]


THOUGHT_AND_ANSWER = (
    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hi you"
)


async def test_token_ids_go_out_and_come_back(engine, runner, harmony, ids):
    reply = ids(THOUGHT_AND_ANSWER + "<|return|>")
    usage = b'data: {"choices":[],"usage":{"prompt_tokens_details":{"cached_tokens":2}}}\n\n'
    serving(engine, event(reply[:4]), event(reply[4:], "stop", RETURN), usage, DONE)

    items = await collect(runner)

    prompt_ids = harmony.render(ASK)
    texts = [(i.channel, i.text) for i in items[:-1]]
    assert texts == [(Channel.ANALYSIS, "hm"), (Channel.FINAL, "Hi you")]
    assert items[-1] == Finish(FinishReason.STOP, Usage(len(prompt_ids), len(reply), 1, 2))
    body = engine.calls[-1].body
    assert body["prompt"] == prompt_ids
    assert body["return_token_ids"] is True
    assert body["skip_special_tokens"] is False
    assert body["add_special_tokens"] is False
    assert set(body["stop_token_ids"]) == {RETURN, CALL}
    assert body["max_tokens"] == 4096 - len(prompt_ids)


@pytest.mark.parametrize("named", [True, False], ids=["among the ids", "by name only"])
async def test_the_stop_token_is_read_once_wherever_it_stands(engine, runner, ids, named):
    call = "<|channel|>commentary to=functions.clock <|constrain|>json<|message|>{}"
    reply = ids(call) + ([CALL] if named else [])
    serving(engine, event(reply), event([], "stop", CALL), DONE)

    items = await collect(runner, Prompt("m", ASK.messages, tools=(Tool("clock"),)))

    assert items[0] == Delta(Channel.COMMENTARY, "{}", 0, "clock")
    assert items[-1].reason is FinishReason.TOOL_CALLS


async def test_a_reply_cut_at_its_limit_says_so(engine, runner, ids):
    serving(engine, event(ids(THOUGHT_AND_ANSWER), "length"), DONE)
    sampling = Sampling(temperature=0.5, top_p=0.9, seed=7, max_tokens=12)

    items = await collect(runner, Prompt("m", ASK.messages, sampling=sampling))

    assert items[-1].reason is FinishReason.LENGTH
    body = engine.calls[-1].body
    assert [body[key] for key in ("temperature", "top_p", "seed", "max_tokens")] == [
        0.5, 0.9, 7, 12,
    ]  # fmt: skip


async def test_a_stop_text_ends_the_reply_and_the_connection(engine, runner, ids):
    serving(engine, event(ids(THOUGHT_AND_ANSWER)), *[event(ids(" more"))] * 1000)

    items = await collect(runner, Prompt("m", ASK.messages, sampling=Sampling(stop=(" you",))))

    assert items[-2].text == "Hi"
    assert items[-1].reason is FinishReason.STOP


async def test_a_prompt_that_fills_the_context_is_rejected_before_it_is_sent(engine, runner):
    serving(engine, max_model_len=8)

    with pytest.raises(PromptRejected) as raised:
        await collect(runner)

    assert raised.value.code == "context_length_exceeded"
    assert [call.path for call in engine.calls] == ["/v1/models"]


async def test_an_engine_that_sends_text_only_is_told_apart(engine, runner):
    serving(engine, b'data: {"choices":[{"index":0,"text":"Hi"}]}\n\n', DONE)

    with pytest.raises(RunnerUnavailable, match="`upstream_mode` to `chat`"):
        await collect(runner)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([], id="nothing"),
        pytest.param([b"data: {garbage\n\n"], id="not JSON"),
        pytest.param([b"data: [1]\n\n"], id="another shape"),
        pytest.param([b'data: {"choices":[{"token_ids":["a"]}]}\n\n'], id="not a number"),
        pytest.param([event([1], "stop"), event([2])], id="goes on after its end"),
        pytest.param([event([END, END], "stop")], id="forged frame"),
        pytest.param([event([-1, 10**9], "stop")], id="no such token"),
        pytest.param([event([RETURN])], id="no finish reason"),
        pytest.param([event([1, 2, 3], "stop")], id="ends within a message"),
    ],
)
async def test_a_reply_that_is_not_well_formed_is_refused(engine, runner, pieces):
    serving(engine, *pieces, DONE)

    with pytest.raises(MalformedOutput):
        await collect(runner)


async def test_an_error_in_the_stream_means_the_engine_failed(engine, runner):
    serving(engine, b'data: {"error":{"message":"hello"}}\n\n')

    with pytest.raises(RunnerUnavailable, match="reported an error"):
        await collect(runner)
