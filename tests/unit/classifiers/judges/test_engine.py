import asyncio

import pytest
from aiohttp import web

from classifiers.judges.engine import EngineModel
from classifiers.judges.service import Service
from classifiers.judges.text_model import Message, Question, TextModelError

CHAT = Question(messages=(Message("system", "policy"), Message("user", "text")))
RAW = Question(prompt="<bos>text", max_tokens=5, top_logprobs=3)

# As vLLM 0.10 and OpenAI's own server send them.
CHAT_REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "1", "reasoning_content": "It asks."},
            "logprobs": {
                "content": [
                    {
                        "token": "1",
                        "logprob": -0.1,
                        "bytes": [49],
                        "top_logprobs": [
                            {"token": "0", "logprob": -2.4, "bytes": [48]},
                            {"token": "1", "logprob": -0.1, "bytes": [49]},
                        ],
                    }
                ]
            },
            "finish_reason": "stop",
        }
    ],
}
RAW_REPLY = {
    "object": "text_completion",
    "choices": [
        {
            "index": 0,
            "text": "Yes",
            "logprobs": {
                "text_offset": [0],
                "token_logprobs": [-0.2],
                "tokens": ["Yes"],
                "top_logprobs": [{"Yes": -0.2, "No": -1.8}],
            },
            "finish_reason": "length",
        }
    ],
}


async def asked(serve, reply, question, **options):
    bodies = []

    async def handler(request):
        bodies.append((request.path, dict(request.headers), await request.json()))
        return web.json_response(reply)

    service = Service(await serve(handler), **options)
    model = EngineModel(service, "guard")
    try:
        return await model.generate(question), bodies[0]
    finally:
        await model.aclose()


async def test_a_conversation_goes_to_chat_completions(serve):
    question = Question(CHAT.messages, effort="low", top_logprobs=5)

    answer, (path, headers, body) = await asked(serve, CHAT_REPLY, question, api_key="secret")

    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body == {
        "model": "guard",
        "temperature": 0,
        "stream": False,
        "messages": [
            {"role": "system", "content": "policy"},
            {"role": "user", "content": "text"},
        ],
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 5,
    }
    assert (answer.text, answer.ended) == ("1", True)
    assert answer.tokens[0].alternatives == (("1", -0.1), ("0", -2.4))


async def test_a_rendered_prompt_goes_to_completions_as_it_stands(serve):
    answer, (path, headers, body) = await asked(serve, RAW_REPLY, RAW)

    assert path == "/v1/completions"
    assert "Authorization" not in headers
    assert body == {
        "model": "guard",
        "temperature": 0,
        "stream": False,
        "max_tokens": 5,
        "prompt": "<bos>text",
        "add_special_tokens": False,
        "logprobs": 3,
    }
    assert (answer.text, answer.ended) == ("Yes", False)
    assert answer.tokens[0].alternatives == (("Yes", -0.2), ("No", -1.8))


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": [None]},
        {"content": [{"token": "1", "top_logprobs": [{"token": "1", "logprob": 0.7}]}]},
        {"content": [{"token": "1", "top_logprobs": [{"token": "1", "logprob": "high"}, 3]}]},
        {"content": "1"},
    ],
)
async def test_log_probabilities_that_make_no_sense_are_left_out(serve, logprobs):
    choice = {**CHAT_REPLY["choices"][0], "logprobs": logprobs}

    answer, _ = await asked(serve, {"choices": [choice]}, CHAT)

    assert answer.text == "1"
    assert all(token.alternatives == () for token in answer.tokens)


@pytest.mark.parametrize(
    "reply",
    [
        [],
        {},
        {"choices": []},
        {"choices": [{}, {}]},
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": {"content": ["1"]}}]},
        {"choices": "1"},
    ],
)
async def test_a_reply_that_is_none_is_malformed(serve, reply):
    with pytest.raises(TextModelError) as raised:
        await asked(serve, reply, CHAT)

    assert raised.value.reason == "malformed"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "rejected"),
        (401, "rejected"),
        (404, "rejected"),
        (301, "rejected"),
        (408, "timeout"),
        (429, "overloaded"),
        (500, "unavailable"),
        (503, "unavailable"),
    ],
)
async def test_a_status_becomes_a_reason(serve, status, reason):
    async def handler(request):
        return web.Response(status=status, text="the prompt was: text", headers={"Location": "/"})

    model = EngineModel(Service(await serve(handler)), "guard")
    with pytest.raises(TextModelError) as raised:
        await model.generate(CHAT)
    await model.aclose()

    assert raised.value.reason == reason
    assert "text" not in str(raised.value)


async def test_silence_becomes_a_timeout(serve):
    async def handler(request):
        await asyncio.sleep(60)

    model = EngineModel(Service(await serve(handler), timeout_s=0.05), "guard")
    with pytest.raises(TextModelError) as raised:
        await model.generate(CHAT)
    await model.aclose()

    assert raised.value.reason == "timeout"


async def test_a_server_that_is_not_there_is_unavailable():
    model = EngineModel(Service("http://127.0.0.1:9/v1"), "guard")
    with pytest.raises(TextModelError) as raised:
        await model.generate(CHAT)
    await model.aclose()

    assert raised.value.reason == "unavailable"


async def test_an_answer_without_end_is_not_read_to_its_end(serve):
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b" " * 65536)
        return response

    model = EngineModel(Service(await serve(handler), timeout_s=30), "guard")
    with pytest.raises(TextModelError) as raised:
        await model.generate(CHAT)
    await model.aclose()

    assert raised.value.reason == "malformed"


async def test_a_lone_surrogate_is_rejected_before_it_is_sent():
    model = EngineModel(Service("http://127.0.0.1:9/v1"), "guard")
    with pytest.raises(TextModelError) as raised:
        await model.generate(Question(prompt="\ud800"))

    assert raised.value.reason == "rejected"


@pytest.mark.parametrize("url", ["ftp://host/v1", "host:8000/v1", "http://", ""])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="must start with"):
        Service(url)


def test_a_url_with_credentials_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="credentials") as raised:
        Service("https://user:hunter2@host/v1")

    assert "hunter2" not in str(raised.value)


def test_connections_are_opened_anew_on_another_loop():
    model = EngineModel(Service("http://127.0.0.1:9/v1"), "guard")

    async def ask():
        with pytest.raises(TextModelError):
            await model.generate(CHAT)
        await model.aclose()

    asyncio.run(ask())
    asyncio.run(ask())
