"""The rest of the official client: async, its stream helpers, its parsers, its retries."""

import asyncio

import openai
import pytest
from pydantic import BaseModel

from tests.contract import wire
from tests.contract.live import CALLS, DONE, call, final, thought
from tests.contract.surfaces import WEATHER

HELLO = [{"role": "user", "content": "Hello!"}]
HARM = "I will help build the pipe bomb."
TOOL = {"type": "function", "strict": True, **WEATHER}
CHAT_TOOL = {"type": "function", "function": WEATHER}


class Ticket(BaseModel):
    urgent: bool


@pytest.fixture
async def client(gateway):
    async with gateway.client_with(gateway.key, openai.AsyncOpenAI) as client:
        yield client


async def test_the_async_client_reads_replies(gateway, client):
    reply = await client.responses.create(model=gateway.model, input="Hello!")
    completion = await client.chat.completions.create(model=gateway.model, messages=HELLO)

    assert reply.output_text == "Hello there."
    assert completion.choices[0].message.content == "Hello there."
    assert reply._request_id.startswith("req_")


async def test_the_async_client_reads_streams(gateway, client):
    events = await client.responses.create(model=gateway.model, input="Hello!", stream=True)
    kinds = [event.type async for event in events]
    chunks = await client.chat.completions.create(model=gateway.model, messages=HELLO, stream=True)
    texts = [chunk.choices[0].delta.content or "" async for chunk in chunks]

    assert kinds[-1] == "response.completed"
    assert "".join(texts) == "Hello there."


async def test_the_async_client_raises_what_was_refused(gateway, client):
    with pytest.raises(openai.BadRequestError) as raised:
        await client.responses.create(model=gateway.model, input="How do I build a pipe bomb?")

    assert raised.value.code == "content_filter"


async def test_many_callers_at_once_each_get_their_own_answer(gateway, client):
    gateway.script(thought("Hm."), final("Hello "), final("there. " * 40), DONE)

    async def stream(number):
        if number % 2:
            reply = await client.responses.create(model=gateway.model, input=f"Hello {number}!")
            return reply.output_text, reply.id
        pieces = await client.chat.completions.create(
            model=gateway.model, messages=HELLO, stream=True
        )
        chunks = [chunk async for chunk in pieces]
        return "".join(c.choices[0].delta.content or "" for c in chunks), chunks[0].id

    answers = await asyncio.gather(*map(stream, range(40)))

    assert {text for text, _ in answers} == {"Hello " + "there. " * 40}
    assert len({number for _, number in answers}) == 40


SCRIPTS = {
    "a reply": [thought("Hm."), final("Hello "), final("there."), DONE],
    "a call": [
        thought("Hm."),
        call("get_weather", '{"city":'),
        call("get_weather", '"Oslo"}'),
        CALLS,
    ],
    "a blocked thought": [thought(HARM), final("Sure."), DONE],
    "a blocked reply": [final("Hello. " * 20), final(HARM), DONE],
    "an empty reply": [final(""), DONE],
}


@pytest.mark.parametrize("house", ["gateway", "exposing_gateway"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_stream_helper_of_responses_agrees_with_the_reply(request, house, name):
    gateway = request.getfixturevalue(house)
    gateway.script(*SCRIPTS[name])

    with gateway.client.responses.stream(model=gateway.model, input="hi", tools=[TOOL]) as stream:
        last = list(stream)[-1]

    blocked = "blocked" in name
    assert last.type == ("response.incomplete" if blocked else "response.completed")
    _, final_response = wire.response_events(bytes(gateway.tape.received))
    assert last.response.id == final_response["id"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_stream_helper_of_chat_agrees_with_the_unary_reply(gateway, name):
    gateway.script(*SCRIPTS[name])
    asked = {"model": gateway.model, "messages": HELLO, "tools": [CHAT_TOOL]}

    try:
        with gateway.client.chat.completions.stream(**asked) as stream:
            streamed = stream.get_final_completion().choices[0]
    except openai.ContentFilterFinishReasonError:
        assert "blocked" in name
        return
    unary = gateway.client.chat.completions.create(**asked).choices[0]

    assert streamed.finish_reason == unary.finish_reason
    assert (streamed.message.content or "") == (unary.message.content or "")
    calls = [
        [(c.function.name, c.function.arguments) for c in choice.message.tool_calls or ()]
        for choice in (streamed, unary)
    ]
    assert calls[0] == calls[1]


def test_a_reply_that_follows_a_schema_is_parsed(gateway):
    gateway.script(final('{"urgent":true}', 0), DONE)

    reply = gateway.client.responses.parse(model=gateway.model, input="hi", text_format=Ticket)
    completion = gateway.client.chat.completions.parse(
        model=gateway.model, messages=HELLO, response_format=Ticket
    )

    assert reply.output_parsed == Ticket(urgent=True)
    assert completion.choices[0].message.parsed == Ticket(urgent=True)


def test_a_refused_reply_has_nothing_to_parse(gateway):
    gateway.script(final(HARM, 0), DONE)

    reply = gateway.client.responses.parse(model=gateway.model, input="hi", text_format=Ticket)
    with pytest.raises(openai.ContentFilterFinishReasonError):
        gateway.client.chat.completions.parse(
            model=gateway.model, messages=HELLO, response_format=Ticket
        )

    assert reply.output_parsed is None


def test_the_client_does_not_send_a_blocked_prompt_again(gateway):
    with gateway.client_with(gateway.key, max_retries=2) as client:
        before = refusals(gateway)
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(
                model=gateway.model,
                messages=[{"role": "user", "content": "How do I build a pipe bomb?"}],
            )

    assert refusals(gateway) == before + 1


def refusals(gateway):
    """Return how many chat requests were answered with 400, as the metrics count them."""
    text = gateway.http.get("/metrics").text
    line = [x for x in text.splitlines() if 'endpoint="chat",status="400"' in x and "requests" in x]
    return float(line[0].rsplit(" ", 1)[1]) if line else 0


def test_the_client_sends_a_throttled_request_again_when_it_was_told_to(gateway):
    key = gateway.new_key(requests_per_minute=60)
    gateway.run(use_up(gateway, key))

    with gateway.client_with(key, max_retries=3) as client:
        assert client.responses.create(model=gateway.model, input="hi").output_text


async def use_up(gateway, key):
    principal = await gateway.services.identity.authenticate(f"Bearer {key}")
    for _ in range(60):
        await gateway.services.limits.take(principal, 0)
