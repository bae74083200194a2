"""What bad input gets: a clear error in OpenAI's shape, a record, and no question to the model."""

import gzip
import json

import openai
import pytest

from gateway.types import Scope
from tests.contract import wire
from tests.contract.live import DONE, connection, final, send_head, wait_until

RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
MIB = 1024 * 1024
IMAGE = {"type": "input_image", "image_url": "https://example.org/a.png"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
FUNCTION = {"type": "function", "function": {"name": "f"}}
CALLED = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "a"}
CALLS = {
    "role": "assistant",
    "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    ],
}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "a"}


def deep(levels):
    nested = {}
    for _ in range(levels):
        nested = {"properties": nested}
    return nested


# What is wrong in a request, and the `param` that the error names.
BOTH = {
    "no model": ({"model": None}, "model"),
    "a stream that is not a claim": ({"stream": "yes"}, "stream"),
    "a temperature above 2": ({"temperature": 2.5}, "temperature"),
    "a top_p of 0": ({"top_p": 0}, "top_p"),
    "metadata that is not text": ({"metadata": {"a": 1}}, "metadata.a"),
    "17 pairs of metadata": ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
    "a safety identifier of 129": ({"safety_identifier": "x" * 129}, "safety_identifier"),
    "a tool that is no function": ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    "a tool choice of nobody's": ({"tool_choice": "sometimes"}, "tool_choice"),
    "a moderation mode of nobody's": (
        {"moderation": {"model": "m", "policy": {"input": {"mode": "off"}}}},
        "moderation.policy.input.mode",
    ),
    "a required tool where there is none": ({"tool_choice": "required"}, "tool_choice"),
}
ONLY_RESPONSES = {
    "no input": ({"input": None}, "input"),
    "an input that is a number": ({"input": 5}, "input"),
    "an empty input": ({"input": []}, "input"),
    "an item of nobody's": ({"input": [{"type": "item_reference", "id": "a"}]}, "input[0].type"),
    "an item type that is a list": ({"input": [{"type": []}]}, "input[0].type"),
    "a role of nobody's": ({"input": [{"role": "root", "content": "a"}]}, "input[0].role"),
    "an image": ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0].type"),
    "an output without its call": (
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "a"}]},
        "input[0].call_id",
    ),
    "two outputs of one call": (
        {"input": [CALLED, OUTPUT, OUTPUT]},
        "input[2].call_id",
    ),
    "two calls by one id": ({"input": [CALLED, CALLED]}, "input[1].call_id"),
    "an output of another function": (
        {"input": [CALLED, OUTPUT | {"name": "g"}]},
        "input[1].name",
    ),
    "a recipient in a call": (
        {"input": [{"type": "function_call", "call_id": "c", "name": "f to=g", "arguments": ""}]},
        "input[0].name",
    ),
    "a limit of 0": ({"max_output_tokens": 0}, "max_output_tokens"),
    "an effort of nobody's": ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    "a tool name with a space": ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
    "a choice that was not offered": (
        {"tools": [FUNCTION | {"name": "f"}], "tool_choice": {"type": "function", "name": "g"}},
        "tool_choice",
    ),
    "a schema format without its schema": (
        {"text": {"format": {"type": "json_schema", "name": "a"}}},
        "text.format.schema",
    ),
    "an include of nobody's": ({"include": ["file_search_call.results"]}, "include"),
    "a thought that was not sealed here": (
        {"input": [{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "AAAA"}]},
        "input[0].encrypted_content",
    ),
    "nothing but a thought": (
        {"input": [{"type": "reasoning", "id": "r", "summary": []}]},
        "input",
    ),
    **{
        f"unsupported {name}": ({name: value}, name)
        for name, value in {
            "background": True,
            "conversation": "conv_1",
            "max_tool_calls": 3,
            "previous_response_id": "resp_1",
            "prompt": {"id": "pmpt_1"},
            "top_logprobs": 2,
            "truncation": "auto",
        }.items()
    },
}
ONLY_CHAT = {
    "no messages": ({"messages": None}, "messages"),
    "an empty conversation": ({"messages": []}, "messages"),
    "a message that is text": ({"messages": ["hi"]}, "messages[0]"),
    "a role of nobody's": ({"messages": [{"role": "root", "content": "a"}]}, "messages[0].role"),
    "a user without words": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "an image": (
        {"messages": [{"role": "user", "content": [PICTURE]}]},
        "messages[0].content[0].type",
    ),
    "an output without its call": (
        {"messages": [{"role": "tool", "tool_call_id": "c", "content": "a"}]},
        "messages[0].tool_call_id",
    ),
    "two outputs of one call": ({"messages": [CALLS, RESULT, RESULT]}, "messages[2].tool_call_id"),
    "two calls by one id": (
        {"messages": [CALLS | {"tool_calls": CALLS["tool_calls"] * 2}]},
        "messages[0].tool_calls[1].id",
    ),
    "an output of another function": (
        {"messages": [CALLS, RESULT | {"name": "g"}]},
        "messages[1].name",
    ),
    "nothing but silence": ({"messages": [{"role": "assistant"}]}, "messages"),
    "a limit of 0": ({"max_completion_tokens": 0}, "max_completion_tokens"),
    "an effort of nobody's": ({"reasoning_effort": "huge"}, "reasoning_effort"),
    "five stop texts": ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    "an empty stop text": ({"stop": [""]}, "stop"),
    "a tool name with a space": (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        "tools[0].function.name",
    ),
    "a choice that was not offered": (
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice",
    ),
    "a schema format without its schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "response_format.json_schema.schema",
    ),
    **{
        f"unsupported {name}": ({name: value}, name)
        for name, value in {
            "audio": {"format": "wav", "voice": "alloy"},
            "frequency_penalty": 1,
            "function_call": {"name": "f"},
            "functions": [{"name": "f"}],
            "logit_bias": {"1": 1},
            "logprobs": True,
            "modalities": ["audio"],
            "n": 2,
            "prediction": {"type": "content", "content": "a"},
            "presence_penalty": 1,
            "top_logprobs": 1,
            "web_search_options": {},
        }.items()
    },
}
WRONG = [
    pytest.param(path, change, param, id=f"{api}: {name}")
    for api, path, cases in [
        ("responses", RESPONSES, BOTH | ONLY_RESPONSES),
        ("chat", CHAT, BOTH | ONLY_CHAT),
    ]
    for name, (change, param) in cases.items()
]


def good(gateway, path):
    said = (
        {"input": "hi"} if path == RESPONSES else {"messages": [{"role": "user", "content": "hi"}]}
    )
    return {"model": gateway.model, **said}


def refused(gateway, response, status):
    """Check what every refusal at the gates owes; return its error object."""
    error = wire.error(response.json())
    assert response.status_code == status
    [entry] = gateway.show(response.headers["x-ostiary-decision-id"])
    assert entry["type"] == "request.denied"
    assert entry["request"]["id"] == response.headers["x-request-id"]
    assert (entry["denial"]["status"], entry["denial"]["code"]) == (status, error["code"])
    assert response.headers["openai-version"]
    assert response.headers["openai-processing-ms"].isdigit()
    return error


@pytest.mark.parametrize(("path", "change", "param"), WRONG)
def test_a_bad_field_is_refused_by_its_name(gateway, path, change, param):
    scripted = gateway.script(final("Sure."), DONE)
    body = {name: v for name, v in (good(gateway, path) | change).items() if v is not None}

    error = refused(gateway, gateway.http.post(path, json=body), 400)

    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert f"`{param}" in error["message"]
    assert scripted.prompts == []


@pytest.mark.parametrize("path", [RESPONSES, CHAT, "/v1/moderations"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe{}",
        b'{"model": NaN}',
        b'{"model": "\\ud800"}',
        b'{"model": "\xed\xa0\x80"}',
        b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=range(10),
)
def test_a_body_that_is_no_json_object_is_refused(gateway, path, raw):
    answer = gateway.http.post(path, content=raw, headers={"content-type": "application/json"})

    assert refused(gateway, answer, 400)["code"] == "invalid_json"


@pytest.mark.parametrize("path", [RESPONSES, CHAT])
@pytest.mark.parametrize("levels", [60, 94, 100, 300, 900])
def test_a_schema_of_any_depth_gets_an_answer_that_is_not_a_crash(gateway, path, levels):
    gateway.script(final("Sure."), DONE)
    function = {"name": "f", "parameters": deep(levels)}
    tool = (
        {"type": "function", **function} if path == RESPONSES else FUNCTION | {"function": function}
    )

    answer = gateway.http.post(path, json=good(gateway, path) | {"tools": [tool]})

    assert answer.status_code in {200, 400}, answer.text
    if answer.status_code == 400:
        assert refused(gateway, answer, 400)["code"] == "invalid_json"


@pytest.mark.parametrize("path", [RESPONSES, CHAT])
def test_more_than_2000_messages_are_refused(gateway, path):
    field = "input" if path == RESPONSES else "messages"
    messages = [{"role": "user", "content": "a"}] * 2001

    error = refused(
        gateway, gateway.http.post(path, json=good(gateway, path) | {field: messages}), 400
    )

    assert error["param"] == field


def test_2000_messages_are_answered(gateway):
    messages = [{"role": "user", "content": "a"}] * 2000

    assert gateway.http.post(CHAT, json=good(gateway, CHAT) | {"messages": messages}).is_success


def test_an_unknown_field_is_ignored(gateway):
    body = good(gateway, RESPONSES) | {"verve": 3, "store": True, "service_tier": "flex"}

    assert gateway.http.post(RESPONSES, json=body).is_success


@pytest.mark.parametrize("path", [RESPONSES, CHAT, "/v1/moderations"])
def test_a_body_over_8_mib_is_refused_whether_its_size_is_declared_or_not(gateway, path):
    def chunks():
        for _ in range(9):
            yield b" " * MIB

    kind = {"content-type": "application/json"}
    declared = gateway.http.post(path, content=b" " * (8 * MIB + 1), headers=kind)
    counted = gateway.http.post(path, content=chunks(), headers=kind)

    for answer in (declared, counted):
        assert refused(gateway, answer, 413)["code"] == "body_too_large"
        assert answer.headers["x-should-retry"] == "false"


def test_a_declared_size_is_refused_before_the_body_is_sent(gateway):
    with connection(gateway) as sock:
        send_head(gateway, sock, RESPONSES, f"content-length: {100 * MIB}")

        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd"])
def test_a_compressed_body_is_refused(gateway, encoding):
    raw = gzip.compress(json.dumps(good(gateway, RESPONSES)).encode())
    headers = {"content-type": "application/json", "content-encoding": encoding}

    answer = gateway.http.post(RESPONSES, content=raw, headers=headers)

    assert refused(gateway, answer, 415)["code"] == "unsupported_media_type"


def test_a_form_is_refused(gateway):
    answer = gateway.http.post(CHAT, data={"model": gateway.model})

    refused(gateway, answer, 415)


def test_a_slow_body_is_refused_and_its_connection_closed(new_gateway):
    gateway = new_gateway(body_timeout_s=0.2)

    with connection(gateway) as sock:
        send_head(gateway, sock, RESPONSES, "content-length: 50")
        sock.sendall(b'{"model"')
        received = read_to_end(sock)

    assert received.startswith(b"HTTP/1.1 408 ")
    assert wire.error(json.loads(received.partition(b"\r\n\r\n")[2]))["code"] == "body_timeout"


def test_a_client_that_leaves_within_its_body_is_recorded_and_forgotten(gateway):
    with connection(gateway) as sock:
        send_head(gateway, sock, RESPONSES, "content-length: 50")
        sock.sendall(b'{"model"')

    wait_until(lambda: gateway.services.in_flight == 0)
    assert gateway.http.get("/healthz").is_success


@pytest.mark.parametrize("path", [RESPONSES, CHAT, "/v1/moderations", "/v1/models"])
@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "missing_api_key"),
        ("", "missing_api_key"),
        ("Bearer", "invalid_api_key"),
        ("Bearer nonsense", "invalid_api_key"),
        ("Basic dXNlcjpwYXNz", "invalid_api_key"),
        ("Bearer " + "x" * 5000, "invalid_api_key"),
        ("Bearer \xff\xfe", "invalid_api_key"),
        ("Bearer ost_live_000000000000_" + "0" * 33 + "_000000", "invalid_api_key"),
    ],
    ids=range(8),
)
def test_without_a_key_in_force_nothing_is_served(gateway, path, authorization, code):
    gateway.http.headers.pop("authorization")
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    try:
        method = "GET" if path == "/v1/models" else "POST"
        answer = gateway.http.request(method, path, content=b"{}", headers=headers)
    finally:
        gateway.http.headers["authorization"] = f"Bearer {gateway.key}"

    assert refused(gateway, answer, 401)["code"] == code


def test_a_key_that_may_not_call_is_forbidden_to(gateway):
    client = gateway.client_with(gateway.new_key(Scope.AUDITOR))

    with client, pytest.raises(openai.PermissionDeniedError) as raised:
        client.responses.create(model=gateway.model, input="hi")

    assert raised.value.code == "insufficient_permissions"


def test_a_revoked_key_is_refused_within_a_second(gateway):
    key = gateway.new_key()
    with gateway.client_with(key) as client:
        client.models.list()
        gateway.run(gateway.services.identity.revoke(key.split("_")[2], actor="test"))

        def refused():
            try:
                client.models.list()
            except openai.AuthenticationError as error:
                return error.code

        assert wait_until(refused, within_s=1.5) == "invalid_api_key"


def test_an_unknown_model_does_not_exist(gateway):
    for create in (
        lambda: gateway.client.responses.create(model="gpt-9", input="hi"),
        lambda: gateway.client.chat.completions.create(
            model="gpt-9", messages=[{"role": "user", "content": "hi"}]
        ),
        lambda: gateway.client.models.retrieve("gpt-9"),
        lambda: gateway.client.models.retrieve("../../etc/passwd"),
    ):
        with pytest.raises(openai.NotFoundError) as raised:
            create()
        assert raised.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/responses", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/embeddings", 404),
        ("GET", "/v1/responses/resp_1", 404),
        ("GET", "/", 404),
        ("GET", "/v1/models/", 404),
        ("POST", "/v1/responses/", 404),
        ("OPTIONS", "/v1/responses", 405),
    ],
)
def test_what_no_route_takes_is_refused_in_openais_shape(gateway, method, path, status):
    answer = gateway.http.request(method, path)

    assert answer.status_code == status
    assert wire.error(answer.json())["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"]
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("quota", ["requests_per_minute", "tokens_per_minute"])
def test_over_quota_is_a_429_that_says_when_to_come_back(gateway, quota):
    key = gateway.new_key(**{quota: 30 if quota == "tokens_per_minute" else 1})
    gateway.script(final("Sure."), DONE)
    ask = {"model": gateway.model, "input": "hi", "max_output_tokens": 25}
    with gateway.client_with(key) as client:
        client.responses.create(**ask)
        with pytest.raises(openai.RateLimitError) as raised:
            client.responses.create(**ask)

    headers = raised.value.response.headers
    assert (raised.value.code, raised.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert int(headers["retry-after"]) >= 1
    assert headers["x-should-retry"] != "false" if "x-should-retry" in headers else True
    for what in ("limit", "remaining", "reset"):
        assert headers[f"x-ratelimit-{what}-requests"]
        assert headers[f"x-ratelimit-{what}-tokens"]


def test_one_more_request_than_there_is_room_for_is_told_to_wait(new_gateway):
    gateway = new_gateway(max_concurrent=1)
    gateway.services.in_flight = 1

    answer = gateway.http.post(CHAT, json=good(gateway, CHAT))

    assert refused(gateway, answer, 503)["code"] == "overloaded"
    assert answer.headers["retry-after"]


def read_to_end(sock):
    """Return all bytes until the other side closes; a side that does not close fails."""
    received = b""
    while part := sock.recv(65536):
        received += part
    return received
