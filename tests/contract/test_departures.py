"""Callers that hang up: the model stops, and the record says who left."""

import json

import pytest

from model_runner.scripted import Pause
from tests.contract.live import (
    CALLS,
    DONE,
    call,
    connection,
    final,
    is_terminal,
    send_head,
    thought,
    wait_until,
)
from tests.contract.surfaces import SURFACES

FOREVER = Pause(float("inf"))
SHORT = "A sentence that is long enough to be let out before the rest of the reply is there. "


@pytest.fixture(params=SURFACES)
def surface(request):
    return request.param


def begin(gateway, surface, sock):
    """Send a whole request on a socket of its own."""
    api, _, stream = surface.partition("-")
    said = {"messages": [{"role": "user", "content": "hi"}]} if api == "chat" else {"input": "hi"}
    body = json.dumps({"model": gateway.model, "stream": bool(stream), **said}).encode()
    path = "/v1/chat/completions" if api == "chat" else "/v1/responses"
    send_head(gateway, sock, path, f"content-length: {len(body)}")
    sock.sendall(body)


def record_of(gateway, surface):
    """Return the entries of the surface's last request, once it has ended."""
    return gateway.ended(gateway.last_request(surface.partition("-")[0]))


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([], id="before the first word"),
        pytest.param([thought("Hm.")], id="in a thought"),
        pytest.param([thought("Hm."), final(SHORT)], id="in the reply"),
        pytest.param([call("get_weather", "{")], id="in a call"),
    ],
)
def test_a_caller_that_hangs_up_stops_the_model(gateway, surface, script):
    scripted = gateway.script(*script, FOREVER)

    with connection(gateway) as sock:
        begin(gateway, surface, sock)
        wait_until(lambda: scripted.prompts and scripted.produced == len(script))

    wait_until(lambda: scripted.finished)
    assert scripted.stopped_early
    entries = record_of(gateway, surface)
    assert [e["type"] for e in entries if is_terminal(e)] == ["request.client_disconnected"]
    wait_until(lambda: gateway.services.in_flight == 0)


def test_a_caller_that_hangs_up_at_once_leaves_no_request_open(gateway, surface):
    gateway.script(thought("Hm."), final(SHORT * 40), DONE)

    for _ in range(10):
        with connection(gateway) as sock:
            begin(gateway, surface, sock)

    wait_until(lambda: gateway.services.in_flight == 0)
    assert gateway.http.get("/readyz").is_success


def test_a_reader_that_stops_reading_and_leaves_stops_the_model(gateway):
    scripted = gateway.script(*[final(SHORT) for _ in range(40_000)], DONE)

    with connection(gateway) as sock:
        begin(gateway, "chat-stream", sock)
        sock.recv(1024)

    wait_until(lambda: scripted.finished)
    assert scripted.stopped_early
    terminal = record_of(gateway, "chat")[-1]
    assert terminal["type"] == "request.client_disconnected"


def test_a_caller_that_closes_the_sdk_s_stream_stops_the_model(gateway):
    scripted = gateway.script(final(SHORT * 2), FOREVER)

    stream = gateway.client.responses.create(model=gateway.model, input="hi", stream=True)
    for event in stream:
        if event.type == "response.output_text.delta":
            break
    stream.close()

    wait_until(lambda: scripted.finished)
    assert record_of(gateway, "responses")[-1]["type"] == "request.client_disconnected"


def test_what_was_released_before_the_caller_left_is_in_the_record(gateway):
    gateway.script(final(SHORT * 2), FOREVER)

    with gateway.client.chat.completions.create(
        model=gateway.model, messages=[{"role": "user", "content": "hi"}], stream=True
    ) as stream:
        said = next(chunk for chunk in stream if chunk.choices[0].delta.content)

    released = record_of(gateway, "chat")[-1]["outcome"]["released_chars"]
    assert released >= len(said.choices[0].delta.content)


def test_two_requests_on_one_connection_are_answered_in_turn(gateway):
    gateway.script(call("get_weather", "{}"), CALLS)

    with connection(gateway) as sock:
        for _ in range(2):
            begin(gateway, "responses", sock)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 2 or received.count(b'"completed_at"') < 2:
            received += sock.recv(65536)

    assert received.count(b"x-request-id") == 2
