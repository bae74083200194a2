import asyncio
import json
from contextlib import aclosing

import pytest

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
    RunnerTimeout,
    RunnerUnavailable,
    Sampling,
    Usage,
)
from model_runner.upstream import Engine, UpstreamChat

SECRET = "hello, this is secret"
ASK = Prompt("gpt-oss", (Message(Role.USER, SECRET),))


def event(finish_reason=None, **delta):
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


HI = event(content="Hi")
STOP = event("stop")
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


def answering(*pieces, status="200 OK", more=""):
    async def script(call):
        await call.start(status, more)
        await call.send(*pieces)

    return script


def stalling(*pieces):
    async def script(call):
        if pieces:
            await call.start()
            await call.send(*pieces)
        await asyncio.sleep(60)

    return script


@pytest.fixture
async def runner(engine):
    upstream = UpstreamChat(Engine(engine.url, "gpt-oss", "engine-name", "key-1", timeout_s=0.3))
    yield upstream
    await upstream.aclose()


async def collect(runner, prompt=ASK):
    return [item async for item in runner.generate(prompt)]


def text(items):
    return "".join(item.text for item in items if isinstance(item, Delta))


async def test_a_reply_is_streamed_and_then_finished(engine, runner):
    engine.scripts = [answering(event(reasoning="hm"), HI, STOP, USAGE, DONE)]

    assert await collect(runner) == [
        Delta(Channel.ANALYSIS, "hm", 0),
        Delta(Channel.FINAL, "Hi", 1),
        Finish(FinishReason.STOP, Usage(3, 2)),
    ]


async def test_the_engine_gets_its_own_key_and_model_name_and_no_more(engine, runner):
    engine.scripts = [answering(HI, STOP, DONE)]

    await collect(runner)

    call = engine.calls[0]
    assert call.path == "/v1/chat/completions"
    assert "authorization: bearer key-1" in call.head
    assert call.body["model"] == "engine-name"
    names = {line.partition(":")[0] for line in call.head.split("\r\n")[1:] if line}
    assert names == {
        "host", "content-type", "content-length", "accept", "accept-encoding", "user-agent",
        "authorization",
    }  # fmt: skip


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([HI, STOP], id="finished, but not [DONE]"),
        pytest.param([HI, STOP.rstrip()], id="no blank line at the end"),
        pytest.param([(HI + STOP + DONE).replace(b"\n", b"\r\n")], id="CRLF"),
        pytest.param([b": ping\n\n", HI, b":\n\n", STOP, DONE], id="comments"),
        pytest.param([b'data: {"choices":\ndata: []}\n\n', HI, STOP, DONE], id="several lines"),
        pytest.param([HI[:9], HI[9:20], HI[20:] + STOP[:-1], b"\n", DONE], id="split events"),
        pytest.param([HI, STOP, DONE, b"data: garbage\n\n"], id="something after [DONE]"),
    ],
)
async def test_a_reply_is_understood_in_any_framing(engine, runner, pieces):
    engine.scripts = [answering(*pieces)]

    items = await collect(runner)

    assert text(items) == "Hi"
    assert isinstance(items[-1], Finish)


async def test_a_character_split_between_packets_arrives_whole(engine, runner):
    whole = event(content="é€🦊")
    engine.scripts = [answering(*(whole[i : i + 1] for i in range(len(whole))), STOP, DONE)]

    assert text(await collect(runner)) == "é€🦊"


async def test_an_engine_that_stays_open_after_done_does_not_hold_the_reply_up(engine, runner):
    engine.scripts = [stalling(HI, STOP, DONE)]

    items = await collect(runner)

    assert isinstance(items[-1], Finish)


async def test_a_stop_text_that_the_engine_lets_through_is_cut(engine, runner):
    engine.scripts = [answering(HI, event(content=" E"), event(content="ND."), STOP, DONE)]
    prompt = Prompt("gpt-oss", ASK.messages, sampling=Sampling(stop=("END",)))

    assert text(await collect(runner, prompt)) == "Hi "
    assert engine.calls[0].body["stop"] == ["END"]


async def test_what_only_began_like_a_stop_text_is_said_at_the_end(engine, runner):
    engine.scripts = [answering(HI, event(content=" EN"), STOP, DONE)]
    prompt = Prompt("gpt-oss", ASK.messages, sampling=Sampling(stop=("END",)))

    assert text(await collect(runner, prompt)) == "Hi EN"


async def test_one_connection_serves_many_requests():
    seen = []

    async def serve(reader, writer):
        seen.append(1)
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            body = HI + STOP + DONE
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reused = UpstreamChat(Engine(f"http://127.0.0.1:{port}/v1/", "gpt-oss"))
    for _ in range(3):
        await collect(reused)
    await reused.aclose()
    server.close()

    assert len(seen) == 1


async def test_an_idle_connection_that_the_engine_closed_is_replaced(engine, runner):
    async def hang_up(call):
        pass

    engine.scripts = [hang_up, answering(HI, STOP, DONE)]

    assert text(await collect(runner)) == "Hi"


async def test_closing_the_stream_early_hangs_up_on_the_engine(engine, runner):
    engine.scripts = [stalling(HI)]

    async with aclosing(runner.generate(ASK)) as items:
        await anext(items)

    async with asyncio.timeout(10):
        await engine.left.wait()


async def test_an_engine_that_is_not_there_is_unavailable():
    nobody = UpstreamChat(Engine("http://127.0.0.1:9/v1", "gpt-oss", timeout_s=1))

    with pytest.raises(RunnerUnavailable, match="cannot be reached"):
        await collect(nobody)
    assert not await nobody.ready()
    await nobody.aclose()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("429 Too Many Requests", "429"),
        ("500 Internal Server Error", "500"),
        ("503 Service Unavailable", "503"),
        ("401 Unauthorized", "401: check `upstream_api_key`"),
        ("404 Not Found", "404: check `upstream_url` and `upstream_model`"),
        ("302 Found", "302"),
    ],
)
async def test_an_engine_that_refuses_work_is_unavailable(engine, runner, status, message):
    engine.scripts = [answering(SECRET.encode(), status=status, more="Location: /v1/elsewhere\r\n")]

    with pytest.raises(RunnerUnavailable, match=message) as raised:
        await collect(runner)

    assert SECRET not in str(raised.value)
    assert len(engine.calls) == 1  # in particular, no redirect was followed


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error":{"code":"context_length_exceeded"}}', "context_length_exceeded"),
        (b"This model's maximum context length is 4096 tokens.", "context_length_exceeded"),
        (b"the request exceeds the available context size", "context_length_exceeded"),
        (b"bad schema, prompt was: " + SECRET.encode(), "invalid_prompt"),
    ],
)
async def test_a_prompt_the_engine_cannot_take_is_rejected(engine, runner, body, code):
    engine.scripts = [answering(body, status="400 Bad Request")]

    with pytest.raises(PromptRejected) as raised:
        await collect(runner)

    assert raised.value.code == code
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("pieces", [[], [HI]], ids=["before the reply", "within it"])
async def test_an_engine_that_falls_silent_times_out(engine, runner, pieces):
    engine.scripts = [stalling(*pieces)]

    with pytest.raises(RunnerTimeout, match=r"silent for 0\.3 s"):
        await collect(runner)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([], id="nothing"),
        pytest.param([HI], id="no finish reason"),
        pytest.param([HI, DONE], id="[DONE] without a finish reason"),
        pytest.param([b"<html><body>Bad gateway</body></html>\n\n"], id="HTML"),
        pytest.param([b'{"choices":[{"message":{"content":"Hi"}}]}\n'], id="no stream"),
        pytest.param([HI, b"data: {garbage\n\n", STOP], id="not JSON"),
        pytest.param([HI, b"data: " + b"x" * (1 << 20) + b"\n\n"], id="too long a line"),
        pytest.param([event(reasoning="hm"), STOP, DONE], id="only a thought"),
        pytest.param([b"\xff\xfe\n\n"], id="not UTF-8"),
        pytest.param([b'data: {"choices":[],"x":"\xff"}\n\n'], id="JSON that is not UTF-8"),
    ],
)
async def test_a_reply_that_is_not_well_formed_is_refused(engine, runner, pieces):
    engine.scripts = [answering(*pieces)]

    with pytest.raises(MalformedOutput):
        await collect(runner)


async def test_what_came_before_a_fault_was_yielded(engine, runner):
    engine.scripts = [answering(HI, b"data: {garbage\n\n")]
    items = []

    with pytest.raises(MalformedOutput):
        async for item in runner.generate(ASK):
            items.append(item)

    assert text(items) == "Hi"


async def test_an_error_in_the_stream_means_the_engine_failed(engine, runner):
    engine.scripts = [answering(HI, b'data: {"error":{"message":"out of memory"}}\n\n', DONE)]

    with pytest.raises(RunnerUnavailable, match="reported an error"):
        await collect(runner)


async def test_a_body_that_breaks_off_means_the_engine_failed(engine, runner):
    async def script(call):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        await call.send(head, b"%x\r\n%s\r\n" % (len(HI), HI), b"ff\r\nda")

    engine.scripts = [script]

    with pytest.raises(RunnerUnavailable, match="broke"):
        await collect(runner)


async def test_proxy_settings_of_the_environment_are_ignored(engine, runner, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    engine.scripts = [answering(HI, STOP, DONE)]

    assert text(await collect(runner)) == "Hi"


async def test_readiness_is_asked_for_at_most_once_a_second(engine, runner):
    engine.scripts = [answering(b'{"data":[{"id":"engine-name"}]}')]

    assert [await runner.ready() for _ in range(3)] == [True, True, True]
    assert [call.path for call in engine.calls] == ["/v1/models"]


@pytest.mark.parametrize(
    ("body", "status"), [(b'{"data":[]}', "503 Busy"), (b"<html>", "200 OK"), (b"[]", "200 OK")]
)
async def test_an_engine_that_answers_nonsense_is_not_ready(engine, runner, body, status):
    engine.scripts = [answering(body, status=status)]

    assert not await runner.ready()
