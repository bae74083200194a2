"""Engines, runners and databases that fail: no half-judged answer, no lost record, no hang."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import openai
import pytest
from sqlalchemy import text

from model_runner.scripted import Pause
from model_runner.types import (
    MalformedOutput,
    PromptRejected,
    RunnerError,
    RunnerTimeout,
    RunnerUnavailable,
)
from tests.contract.engine import DONE as ENGINE_DONE
from tests.contract.engine import HEAD, Engine, answers, chunk, event, is_silent, says
from tests.contract.live import DONE, MODEL, Gateway, call, final, is_terminal, thought, wait_until
from tests.contract.surfaces import SURFACES, WEATHER, ask

SHORT = "A sentence that is long enough to be let out before the rest of the reply is there. "


@pytest.fixture(params=SURFACES)
def surface(request):
    return request.param


@pytest.fixture(scope="module")
def engine():
    with Engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def upstream(engine, tmp_path_factory):
    """A gateway before an engine that speaks Chat Completions."""
    settings = {"upstream_mode": "chat", "upstream_timeout_s": 0.3, "model": MODEL}
    home = tmp_path_factory.mktemp("upstream")
    with Gateway(home, False, upstream_url=engine.url, **settings) as gateway:
        yield gateway


def check_failed(answer, status, code):
    """Check how a failure after admission shows: as a status, or at the end of a stream."""
    if answer.surface.endswith("-stream"):
        assert answer.status == 200
        if answer.is_chat:
            assert answer.error["code"] == code
            assert isinstance(answer.raised, openai.APIError)
        else:
            assert answer.reply["status"] == "failed"
            assert answer.error["type"] == code
    else:
        assert answer.status == status
        assert answer.error["code"] == code
        assert answer.error["type"] == ("invalid_request_error" if status < 500 else "server_error")
    assert answer.outcome[0] == "error"


def html(status):
    return answers(f"HTTP/1.1 {status} No\r\nconnection: close\r\n\r\n<html>Hello.</html>".encode())


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        pytest.param(html(500), 503, "engine_unavailable", id="an error of its own"),
        pytest.param(html(401), 503, "engine_unavailable", id="our key refused"),
        pytest.param(html(404), 503, "engine_unavailable", id="not an engine"),
        pytest.param(html(302), 503, "engine_unavailable", id="a redirect"),
        pytest.param(html(200), 502, "engine_failed", id="a web page"),
        pytest.param(answers(b""), 503, "engine_unavailable", id="a closed door"),
        pytest.param(answers(b"\x00\x01\x02"), 503, "engine_unavailable", id="no HTTP"),
        pytest.param(is_silent(), 504, "engine_timeout", id="silence"),
        pytest.param(is_silent(HEAD), 504, "engine_timeout", id="a head and silence"),
        pytest.param(
            is_silent(HEAD, chunk(content="Hello.")), 504, "engine_timeout", id="a word and silence"
        ),
        pytest.param(says(b"data: {\n\n"), 502, "engine_failed", id="no JSON"),
        pytest.param(says(event([1])), 502, "engine_failed", id="a list"),
        pytest.param(
            says(event({"choices": [{"delta": {"content": 5}}]})),
            502,
            "engine_failed",
            id="a number",
        ),
        pytest.param(
            says(b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n'),
            502,
            "engine_failed",
            id="half a character",
        ),
        pytest.param(says(chunk(content="Hello.")), 502, "engine_failed", id="no end"),
        pytest.param(
            says(chunk(content="Hello."), ENGINE_DONE), 502, "engine_failed", id="no reason"
        ),
        pytest.param(
            says(chunk("because", content="Hello.")), 502, "engine_failed", id="a new reason"
        ),
        pytest.param(
            says(chunk("content_filter", content="Hello.")),
            502,
            "engine_failed",
            id="its own filter",
        ),
        pytest.param(
            says(chunk(reasoning="Hm."), chunk("stop")), 502, "engine_failed", id="only a thought"
        ),
        pytest.param(
            says(
                chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "rm"}}]),
                chunk("stop"),
            ),
            502,
            "engine_failed",
            id="a call of nobody's",
        ),
        pytest.param(
            says(event({"error": {"message": "Hello."}})),
            503,
            "engine_unavailable",
            id="an error in the stream",
        ),
    ],
)
def test_an_engine_that_fails_gives_no_half_an_answer(
    upstream, engine, surface, behaviour, status, code
):
    engine.play(behaviour)

    answer = ask(upstream, surface)

    check_failed(answer, status, code)
    assert b"Hello." not in answer.raw


def test_an_engine_s_good_answer_arrives(upstream, engine, surface):
    engine.play(
        says(
            chunk(reasoning="Hm."), chunk(content="Hel"), chunk("stop", content="lo."), ENGINE_DONE
        )
    )

    answer = ask(upstream, surface)

    assert answer.text == "Hello."
    assert answer.outcome == ("completed", None)


def test_an_engine_cut_off_in_mid_stream_ends_the_stream_in_an_error(upstream, engine, surface):
    engine.play(says(chunk(content=SHORT * 2), chunk(content="and then")))

    answer = ask(upstream, surface)

    check_failed(answer, 502, "engine_failed")
    assert b"and then" not in answer.raw
    if answer.surface.endswith("-stream"):
        assert answer.text == SHORT * 2


def test_an_engine_that_is_not_there_is_a_503(tmp_path, surface):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with Gateway(tmp_path, False, upstream_url=url, upstream_mode="chat") as gateway:
            answer = ask(gateway, surface)
            ready = gateway.http.get("/readyz")

    check_failed(answer, 503, "engine_unavailable")
    assert (ready.status_code, ready.json()["checks"]["model"]) == (503, False)
    if not answer.surface.endswith("-stream"):
        assert answer.headers["retry-after"]


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (RunnerTimeout("secret"), 504, "engine_timeout"),
        (RunnerUnavailable("secret"), 503, "engine_unavailable"),
        (MalformedOutput("secret"), 502, "engine_failed"),
        (RunnerError("secret"), 502, "engine_failed"),
        (ZeroDivisionError("secret"), 500, "internal_error"),
        (
            PromptRejected("too long", code="context_length_exceeded"),
            400,
            "context_length_exceeded",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_runner_that_fails_is_an_error_without_details(gateway, surface, failure, status, code):
    gateway.script(thought("Hm."), final("zebra "), failure)

    answer = ask(gateway, surface)

    check_failed(answer, status, code)
    assert b"secret" not in answer.raw
    assert b"zebra" not in answer.raw


def test_a_prompt_that_the_model_cannot_take_is_not_called_our_failure(gateway):
    gateway.script(PromptRejected("too long", code="context_length_exceeded"))

    answer = ask(gateway, "responses-stream")

    assert answer.error["code"] == "invalid_prompt"


def test_a_reply_that_was_cut_off_by_its_runner_is_an_error(gateway, surface):
    gateway.script(final("zebra"))

    answer = ask(gateway, surface)

    check_failed(answer, 502, "engine_failed")
    assert b"zebra" not in answer.raw


def test_half_a_character_from_a_runner_is_an_error(gateway, surface):
    gateway.script(final("zebra \ud800 crossing"), DONE)

    answer = ask(gateway, surface)

    check_failed(answer, 502, "engine_failed")


def test_a_runner_that_says_nothing_more_is_cut_at_the_time_limit(new_gateway):
    gateway = new_gateway(generation_timeout_s=0.1)
    for surface in SURFACES:
        for script in ([], [thought("Hm.")], [final("zebra")], [call("get_weather", "{")]):
            scripted = gateway.script(*script, Pause(float("inf")))

            answer = ask(gateway, surface, tools=[WEATHER])

            check_failed(answer, 504, "engine_timeout")
            assert b"zebra" not in answer.raw
            wait_until(lambda scripted=scripted: scripted.finished)


async def rename(database, old, new):
    async with database.write() as connection:
        await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


@contextmanager
def log_away(gateway):
    """While this is open the log's table is not there."""
    database = gateway.services.database
    gateway.run(rename(database, "audit_entries", "hidden"))
    try:
        yield
    finally:
        gateway.run(rename(database, "hidden", "audit_entries"))


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("forgetful")) as gateway:
        yield gateway


def post(gateway, surface):
    api, _, stream = surface.partition("-")
    said = {"messages": [{"role": "user", "content": "hi"}]} if api == "chat" else {"input": "hi"}
    path = "/v1/chat/completions" if api == "chat" else "/v1/responses"
    return gateway.http.post(path, json={"model": MODEL, "stream": bool(stream), **said})


def until_served(gateway):
    """Wait until the log is written again: it is tried anew after a pause."""
    gateway.script(final("Ok."), DONE)
    wait_until(lambda: post(gateway, "chat").is_success)


def test_without_a_log_nothing_is_released(forgetful, surface):
    until_served(forgetful)
    scripted = forgetful.script(final("zebra"), DONE)

    with log_away(forgetful):
        answer = post(forgetful, surface)

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "audit_unavailable"
    assert scripted.prompts == [] or not surface.endswith("-stream")
    assert b"zebra" not in answer.content


def test_a_log_that_goes_away_in_mid_reply_releases_nothing_more(forgetful, surface):
    until_served(forgetful)
    scripted = forgetful.script(final(SHORT * 2), Pause(0.4), final("zebra " * 100), DONE)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, forgetful, surface)
        wait_until(lambda: scripted.produced)
        with log_away(forgetful):
            answer = asked.result()

    assert b"zebra" not in answer.content
    if surface.endswith("-stream"):
        assert answer.status_code == 200
        assert b"audit_unavailable" in answer.content
    else:
        assert answer.status_code == 503
        assert b"A sentence" not in answer.content
    until_served(forgetful)
    entries = forgetful.ended(answer.headers["x-request-id"])
    assert sum(map(is_terminal, entries)) == 1
    assert entries[-1]["type"] == "request.error"
