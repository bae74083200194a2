"""What a caller gets on each of the four surfaces when nothing is in the way."""

import json

import pytest

from model_runner.types import Channel, Effort, Role
from tests.contract.live import CALLS, DONE, TOO_LONG, call, final, preamble, thought
from tests.contract.surfaces import SURFACES, WEATHER, Turn, ask

SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
TIME = {"name": "get_time", "description": "Get the time.", "parameters": {"type": "object"}}


@pytest.fixture(params=SURFACES)
def surface(request):
    return request.param


def finished(surface):
    return "stop" if surface.startswith("chat") else ("completed", None)


def test_a_plain_reply_arrives_whole(gateway, surface):
    gateway.script(final("Hello. ", 0), final("How are you?", 0), DONE)

    answer = ask(gateway, surface)

    assert (answer.text, answer.refusal, answer.calls) == ("Hello. How are you?", None, [])
    assert answer.finish == finished(surface)
    assert answer.outcome == ("completed", None)


def test_a_hidden_thought_leaves_no_byte_of_itself(gateway, surface):
    gateway.script(thought("zebra "), thought("crossing"), final("Hello."), DONE)

    answer = ask(gateway, surface)

    assert answer.text == "Hello."
    assert b"zebra" not in answer.raw
    assert b"crossing" not in answer.raw


def test_an_exposed_thought_is_apart_from_the_reply(exposing_gateway, surface):
    exposing_gateway.script(thought("zebra "), thought("crossing"), final("Hello."), DONE)

    answer = ask(exposing_gateway, surface)

    assert (answer.reasoning, answer.text) == ("zebra crossing", "Hello.")


def test_usage_is_the_models(gateway, surface):
    usage = ask(gateway, surface).reply["usage"]

    names = ("prompt", "completion") if surface.startswith("chat") else ("input", "output")
    assert (usage[f"{names[0]}_tokens"], usage[f"{names[1]}_tokens"]) == (7, 9)
    assert usage["total_tokens"] == 16
    assert usage[f"{names[0]}_tokens_details"]["cached_tokens"] == 1
    assert usage[f"{names[1]}_tokens_details"]["reasoning_tokens"] == 4


def test_a_function_call_and_the_turn_that_answers_it(gateway, surface):
    gateway.script(
        thought("Weather."), call("get_weather", '{"city":'), call("get_weather", '"Oslo"}'), CALLS
    )
    first = ask(gateway, surface, "Weather in Oslo?", tools=[WEATHER])
    [(call_id, name, arguments)] = first.calls
    assert (name, json.loads(arguments)) == ("get_weather", {"city": "Oslo"})
    assert first.text == ""
    assert first.finish == ("tool_calls" if first.is_chat else ("completed", None))

    scripted = gateway.script(final("Rain.", 0), DONE)
    turns = [
        Turn("user", "Weather in Oslo?"),
        Turn("call", arguments, call_id, name),
        Turn("output", '{"sky": "rain"}', call_id, name),
    ]
    second = ask(gateway, surface, turns, tools=[WEATHER])

    assert second.text == "Rain."
    [prompt] = scripted.prompts
    assert [(m.role, m.tool, m.call_id) for m in prompt.messages[1:]] == [
        (Role.ASSISTANT, "get_weather", call_id),
        (Role.TOOL, "get_weather", call_id),
    ]


def test_parallel_calls_keep_their_order_and_have_ids_of_their_own(gateway, surface):
    gateway.script(
        call("get_weather", '{"city":"Oslo"}', 0),
        call("get_time", "{}", 1),
        call("get_weather", '{"city":"Rome"}', 2),
        CALLS,
    )

    answer = ask(gateway, surface, tools=[WEATHER, TIME])

    assert [name for _, name, _ in answer.calls] == ["get_weather", "get_time", "get_weather"]
    assert len({call_id for call_id, _, _ in answer.calls}) == 3


def test_a_preamble_is_said_before_the_call(gateway, surface):
    gateway.script(thought("Look."), preamble("Let me look."), call("get_weather", "{}", 2), CALLS)

    answer = ask(gateway, surface, tools=[WEATHER])

    assert answer.text == "Let me look."
    assert [name for _, name, _ in answer.calls] == ["get_weather"]
    if not answer.is_chat:
        kinds = [(item["type"], item.get("phase")) for item in answer.reply["output"]]
        assert kinds[-2:] == [("message", "commentary"), ("function_call", None)]


def test_an_empty_reply_is_a_reply(gateway, surface):
    gateway.script(thought("Silence."), final(""), DONE)

    answer = ask(gateway, surface)

    assert (answer.text, answer.refusal) == ("", None)
    assert answer.finish == finished(surface)


def test_a_reply_that_ran_out_of_tokens_says_so(gateway, surface):
    scripted = gateway.script(final("Once upon", 0), TOO_LONG)

    answer = ask(gateway, surface, max_tokens=20)

    assert answer.text == "Once upon"
    assert answer.finish == ("length" if answer.is_chat else ("incomplete", "max_output_tokens"))
    assert scripted.prompts[0].sampling.max_tokens == 20


def test_what_was_cut_off_is_marked_as_incomplete(gateway):
    for cut in (final("Once upon", 0), thought("Let me"), call("get_weather", '{"ci')):
        gateway.script(cut, TOO_LONG)

        answer = ask(gateway, "responses-stream", tools=[WEATHER])

        assert answer.reply["output"][-1].get("status", "incomplete") == "incomplete"


def test_a_schema_and_an_effort_reach_the_model(gateway, surface):
    scripted = gateway.script(final('{"ok":true}', 0), DONE)

    answer = ask(gateway, surface, schema=SCHEMA, effort="high")

    assert json.loads(answer.text) == {"ok": True}
    assert scripted.prompts[0].json_schema == SCHEMA
    assert scripted.prompts[0].effort is Effort.HIGH


def test_roles_keep_their_rank(gateway, surface):
    scripted = gateway.script(final("Ok.", 0), DONE)
    turns = [
        Turn("system", "one"),
        Turn("developer", "two"),
        Turn("user", "three"),
        Turn("assistant", "four"),
        Turn("user", "five"),
    ]

    ask(gateway, surface, turns, instructions="zero")

    assert [(m.role, m.text) for m in scripted.prompts[0].messages] == [
        (Role.DEVELOPER, "zero"),
        (Role.SYSTEM, "one"),
        (Role.DEVELOPER, "two"),
        (Role.USER, "three"),
        (Role.ASSISTANT, "four"),
        (Role.USER, "five"),
    ]


def test_metadata_comes_back(gateway, surface):
    answer = ask(gateway, surface, metadata={"ticket": "17"})

    if surface != "chat-stream":  # its chunks have no place for it
        assert answer.reply["metadata"] == {"ticket": "17"}


def test_a_thought_is_taken_back_only_where_thoughts_are_shown(gateway, exposing_gateway, surface):
    turns = [Turn("user", "a"), Turn("assistant", "b", thought="zebra"), Turn("user", "c")]
    for house, expected in ((gateway, []), (exposing_gateway, ["zebra"])):
        scripted = house.script(final("Ok.", 0), DONE)

        ask(house, surface, turns)

        said = scripted.prompts[0].messages
        assert [m.text for m in said if m.channel is Channel.ANALYSIS] == expected


def test_every_reply_says_what_is_left_of_the_quota(gateway, surface):
    headers = ask(gateway, surface).headers

    for what in ("limit", "remaining", "reset"):
        assert headers[f"x-ratelimit-{what}-requests"]
        assert headers[f"x-ratelimit-{what}-tokens"]


def test_a_tool_without_its_optional_fields_is_echoed_as_the_type_wants_it(gateway):
    bare = {"type": "function", "name": "f"}

    for given in ([bare], [{**bare, "parameters": {"type": "object"}}]):
        raw = gateway.http.post(
            "/v1/responses", json={"model": gateway.model, "input": "hi", "tools": given}
        ).json()
        from tests.contract import wire

        wire.response(raw)
