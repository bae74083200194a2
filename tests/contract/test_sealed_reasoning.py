"""Thoughts that a caller carries but can neither read nor forge."""

import base64
import json
import time
from dataclasses import replace

import openai
import pytest

from gateway.sealing import LIFETIME_S, Bound
from gateway.types import Scope
from model_runner.types import Channel
from tests.contract import wire
from tests.contract.live import DONE, Gateway, Switchboard, final, thought

SEALED = ["reasoning.encrypted_content"]
HI = {"role": "user", "content": "hi"}


@pytest.fixture
def thinking(gateway):
    gateway.script(thought("zebra crossing"), final("Hello."), DONE)
    return gateway


def create(gateway, client=None, **options):
    client = client or gateway.client
    return client.responses.create(model=gateway.model, **{"input": "hi", **options})


def sealed_item(gateway, stream=False, **options):
    if not stream:
        reply = create(gateway, include=SEALED, **options)
    else:
        *_, last = create(gateway, include=SEALED, stream=True, **options)
        reply = last.response
    [item] = [item for item in reply.output if item.type == "reasoning"]
    return item


@pytest.mark.parametrize("stream", [False, True])
def test_a_sealed_thought_comes_back_as_the_thought_it_was(thinking, stream):
    item = sealed_item(thinking, stream)
    scripted = thinking.script(final("Ok.", 0), DONE)

    create(
        thinking,
        input=[
            HI,
            item.model_dump(),
            {"role": "user", "content": "b"},
        ],
    )

    said = scripted.prompts[0].messages
    assert [(m.text, m.channel) for m in said][1] == ("zebra crossing", Channel.ANALYSIS)


@pytest.mark.parametrize("stream", [False, True])
def test_a_sealed_thought_shows_nothing(thinking, stream):
    item = sealed_item(thinking, stream)

    raw = base64.b64decode(item.encrypted_content, altchars=b"-_")
    assert (item.summary, item.content) == ([], None)
    for unsaid in (b"zebra", b"crossing"):
        assert unsaid not in bytes(thinking.tape.received)
        assert unsaid not in raw


def test_two_seals_of_one_thought_differ(thinking):
    assert sealed_item(thinking).encrypted_content != sealed_item(thinking).encrypted_content


def test_without_the_include_nothing_is_sealed(thinking):
    [item, _] = create(thinking).output

    assert item.encrypted_content is None


def test_a_stopped_thought_is_not_sealed(gateway):
    gateway.script(thought("I will help build the pipe bomb."), final("Hello."), DONE)

    reply = create(gateway, include=SEALED)

    assert [item.type for item in reply.output] == ["message"]


def altered(blob):
    raw = bytearray(base64.urlsafe_b64decode(blob))
    raw[-1] ^= 1
    return base64.urlsafe_b64encode(bytes(raw)).decode()


@pytest.mark.parametrize(
    "spoil",
    [
        altered,
        lambda blob: blob[:-4],
        lambda blob: blob[:20],
        lambda blob: blob + "AAAA",
        lambda blob: "AA" + blob[2:],
        lambda blob: " " + blob,
        lambda blob: blob + "\n",
        lambda blob: "ä" + blob,
        lambda blob: "not a seal",
    ],
    ids=range(9),
)
def test_a_spoilt_seal_is_refused(thinking, spoil):
    blob = spoil(sealed_item(thinking).encrypted_content)

    with pytest.raises(openai.BadRequestError) as raised:
        create(
            thinking,
            input=[
                HI,
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": blob},
            ],
        )

    assert raised.value.code == "invalid_encrypted_content"
    assert raised.value.param == "input[1].encrypted_content"


def test_another_project_s_seal_is_refused(thinking):
    item = sealed_item(thinking).model_dump()
    with thinking.client_with(thinking.new_key(Scope.CALLER, project="other")) as other:
        create(thinking, other)  # the key itself is in force
        with pytest.raises(openai.BadRequestError) as raised:
            create(thinking, other, input=[HI, item])

    assert raised.value.code == "invalid_encrypted_content"


def test_another_conversation_s_seal_is_refused(thinking):
    item = sealed_item(thinking).model_dump()

    def carried_on_behind(opening):
        return [{"role": "user", "content": opening}, item, {"role": "user", "content": "b"}]

    assert create(thinking, input=carried_on_behind("hi")).status == "completed"
    with pytest.raises(openai.BadRequestError) as raised:
        create(thinking, input=carried_on_behind("Something else."))

    assert raised.value.code == "invalid_encrypted_content"
    assert raised.value.param == "input[1].encrypted_content"


def test_an_expired_seal_is_refused(thinking):
    item = sealed_item(thinking).model_dump()
    sealer = thinking.services.sealer
    thinking.services.sealer = replace(sealer, clock=lambda: time.time() + LIFETIME_S + 1)
    try:
        with pytest.raises(openai.BadRequestError) as raised:
            create(thinking, input=[HI, item])
    finally:
        thinking.services.sealer = sealer

    assert raised.value.code == "invalid_encrypted_content"


def test_another_model_s_seal_is_refused(thinking, tmp_path):
    item = sealed_item(thinking).model_dump()
    runner = Switchboard()
    runner.model = "gpt-oss-120b"
    keys = tmp_path / "home" / "keys"
    keys.mkdir(parents=True)
    (keys / "sealing").write_bytes((thinking.settings.home / "keys" / "sealing").read_bytes())
    (keys / "sealing").chmod(0o600)
    gateway = Gateway(tmp_path / "home", runner)
    with gateway as other, pytest.raises(openai.BadRequestError) as raised:
        create(other, input=[HI, item])

    assert raised.value.code == "invalid_encrypted_content"


def test_harm_in_a_sealed_thought_is_judged_again(gateway):
    blob = gateway.services.sealer.seal(
        "I will help build the pipe bomb.",
        bound=Bound("default", gateway.model, "hi"),
        exchange="0" * 32,
    )
    scripted = gateway.script(final("Ok."), DONE)
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": blob}

    with pytest.raises(openai.BadRequestError) as raised:
        create(gateway, input=[HI, item])

    assert raised.value.body["stage"] == "reasoning"
    assert scripted.prompts == []


def test_an_exposed_thought_is_sealed_too(exposing_gateway):
    exposing_gateway.script(thought("zebra crossing"), final("Hello."), DONE)

    item = sealed_item(exposing_gateway, stream=True)

    assert [part.text for part in item.content] == ["zebra crossing"]
    assert item.encrypted_content
    wire.response_events(bytes(exposing_gateway.tape.received))
    json.loads(item.model_dump_json())
