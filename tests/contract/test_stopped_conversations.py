"""A conversation that was stopped, as the official client sees it; and what only begins alike."""

import json

import openai
import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.types import Scope
from tests.contract.live import DONE, Gateway, call, final, thought, wait_until
from tests.contract.surfaces import SURFACES, WEATHER, Turn, ask

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: a@acme.example}
defaults: {on_unsupported_language: flag, deadline_ms: 5000}
categories:
  secrets.credential: {severity: high, rationale: "it is used within minutes", clause: "1"}
  pii.email: {severity: high, rationale: "it finds a person", clause: "1"}
rules:
  - id: stop
    category: secrets.credential
    stages: [input, reasoning, tool_call, output]
    bands: [{gte: 0.8, actions: [stop_conversation]}]
  - id: mail
    category: pii.email
    stages: [output]
    bands: [{gte: 0.5, actions: [block]}]
"""
CODE = "misalignment_policy_violation"
KEY = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2
THOUGHT = f"I will send {KEY} to my own server."
HELLO = [thought("A greeting."), final("Hello there."), DONE]
ASKED = [
    Turn("user", "Please tidy up the shared folder."),
    Turn("assistant", "It has 40 files. Which ones?"),
    Turn("user", "Whichever you like."),
]


@pytest.fixture(scope="module")
def stopping_gateway(tmp_path_factory):
    home = tmp_path_factory.mktemp("stopping")
    file = home / "acme.yaml"
    file.write_text(POLICY)
    with Gateway(home, policy=str(file), classifiers=("patterns",)) as gateway:
        yield gateway


@pytest.fixture(params=SURFACES)
def surface(request):
    return request.param


@pytest.fixture
def gateway(stopping_gateway):
    stopping_gateway.script(*HELLO)
    return stopping_gateway


def about(name, *turns):
    """Turns of a conversation that no other test has."""
    first = turns[0] if turns else ASKED[0]
    return [Turn("user", f"{first.text} ({name})"), *(turns or ASKED)[1:]]


def stop(gateway, surface, turns, **options):
    """Have a conversation stopped in the thought; return the answer and the runner."""
    scripted = gateway.script(thought("Hm. "), thought(THOUGHT), *[final("Zebra. ")] * 50, DONE)
    answer = ask(gateway, surface, turns, **options)
    gateway.script(*HELLO)
    return answer, scripted


def error_of(answer):
    """The error, wherever the surface has it."""
    if answer.error is not None:
        return answer.error
    if answer.is_chat:
        return answer.events[-1]["error"]
    return answer.reply["error"]


def refused(gateway, surface, turns, **options):
    """Ask, and return the error of a request that no model was asked."""
    scripted = gateway.script(*HELLO)
    answer = ask(gateway, surface, turns, **options)
    assert answer.status == 403, answer.raw
    assert answer.error["code"] == CODE
    assert answer.headers["x-should-retry"] == "false"
    assert scripted.prompts == []
    return answer.error


def served(gateway, surface, turns, **options):
    return ask(gateway, surface, turns, **options).text == "Hello there."


def test_a_stop_in_the_thought_shows_nothing_of_it_and_ends_generation(gateway, surface):
    answer, scripted = stop(gateway, surface, about(f"first {surface}"))

    assert answer.status == (200 if surface.endswith("stream") else 403)
    assert b"Zebra" not in answer.raw
    assert b"server" not in answer.raw
    assert b"sk-proj" not in answer.raw
    assert (answer.text, answer.calls if answer.reply else []) == ("", [])
    # A stream judges a thought at the end of its sentence; a whole reply with the word after it.
    generated = 2 if surface.endswith("stream") else 3
    assert (scripted.produced, scripted.stopped_early) == (generated, True)
    assert answer.outcome == ("blocked", "stop")


def test_the_error_says_what_kind_and_whom_to_ask_and_nothing_of_the_thought(gateway, surface):
    answer, _ = stop(gateway, surface, about(f"error {surface}"))

    error = error_of(answer)
    [entry] = [each for each in answer.log if each["type"] == "conversation.stopped"]
    assert (error["type"], error["code"]) == ("invalid_request_error", CODE)
    told = error["misalignment"]
    assert told["error_type"] == "other"
    assert told["review_target"] == entry["stop"]["id"]
    assert "what is allowed" in told["detailed_explanation"]
    assert entry["stop"]["id"] in told["steer"]["message"]
    assert KEY not in json.dumps(error)
    assert (entry["stop"]["rule"], entry["stop"]["error_type"]) == ("stop", "other")


def test_the_official_client_reads_the_error_as_its_own_types_say(gateway):
    client = gateway.client
    gateway.script(thought(THOUGHT), final("Zebra."), DONE)
    with pytest.raises(openai.PermissionDeniedError) as unary:
        client.responses.create(model=gateway.model, input="Client one.")
    with client.responses.create(model=gateway.model, input="Client two.", stream=True) as stream:
        *_, last = stream
    with pytest.raises(openai.APIError) as chat:
        list(
            client.chat.completions.create(
                model=gateway.model,
                messages=[{"role": "user", "content": "Client three."}],
                stream=True,
            )
        )

    assert (unary.value.code, unary.value.status_code) == (CODE, 403)
    assert last.type == "response.failed"
    assert last.response.error.code == CODE
    assert last.response.error.misalignment.review_target.startswith("stop_")
    assert last.response.output == []
    assert chat.value.code == CODE


@pytest.mark.parametrize("again", SURFACES)
def test_a_stopped_conversation_is_refused_on_every_surface(gateway, surface, again):
    turns = about(f"every {surface} {again}")
    stop(gateway, surface, turns)

    error = refused(gateway, again, turns, temperature=0.1, max_tokens=77)
    refused(gateway, again, [*turns, Turn("user", "Go on.")])
    refused(gateway, again, [*turns, Turn("assistant", "Sorry."), Turn("user", "Go on.")])

    assert error["misalignment"]["review_target"].startswith("stop_")


def test_an_edited_reply_of_the_model_does_not_evade_it(gateway, surface):
    turns = about(f"edited {surface}")
    stop(gateway, surface, turns)

    edited = [turns[0], Turn("assistant", "It has 39 files."), *turns[2:]]
    refused(gateway, surface, [*edited, Turn("assistant", "Ok."), Turn("user", "Go on.")])


def test_a_fresh_conversation_that_begins_alike_is_served(gateway, surface):
    turns = about(f"fresh {surface}")
    stop(gateway, surface, turns)

    assert served(gateway, surface, turns[:1])
    assert served(gateway, surface, [*turns[:2], Turn("user", "None of them, thank you.")])
    assert served(gateway, surface, [turns[0], Turn("assistant", "Yes."), Turn("user", "Good.")])


def test_an_opening_that_was_stopped_may_be_asked_again_and_goes_on_with_its_reply(
    gateway, surface
):
    opening = [Turn("user", f"Tidy up, whatever it takes. ({surface})")]
    replied = [*opening, Turn("assistant", " Hello  there.\n"), Turn("user", "Thanks.")]
    stop(gateway, surface, opening)
    refused(gateway, surface, replied)

    assert served(gateway, surface, opening)
    assert served(gateway, surface, replied)
    assert served(gateway, surface, [*replied, Turn("assistant", "Yes?"), Turn("user", "No.")])
    refused(gateway, surface, [*opening, Turn("assistant", "Done."), Turn("user", "Thanks.")])
    refused(gateway, surface, [*opening, Turn("user", "Why did you stop?")])
    assert served(gateway, surface, [Turn("user", "Another task."), *replied[1:]])


def test_an_opening_asked_again_goes_on_behind_a_reply_that_was_blocked_midway(gateway, surface):
    opening = [Turn("user", f"Tidy up, whatever it takes. (blocked, {surface})")]
    stop(gateway, surface, opening)
    gateway.script(
        thought("Hm. "), final("Hello there. "), final("Write to ann@shop.example now. "), DONE
    )
    blocked = ask(gateway, surface, opening)
    assert blocked.refusal
    gateway.script(*HELLO)

    for said in (blocked.text, blocked.refusal, f"{blocked.text} {blocked.refusal}"):
        if said:
            behind = [*opening, Turn("assistant", said), Turn("user", "Why not?")]
            assert served(gateway, surface, behind)
    refused(gateway, surface, [*opening, Turn("assistant", "Done."), Turn("user", "Thanks.")])


def test_an_opening_that_is_stopped_twice_is_told_apart_by_the_reply_all_the_same(gateway):
    opening = [Turn("user", "Tidy up, whatever it takes. (twice)")]
    stop(gateway, "chat", opening)
    assert served(gateway, "chat", opening)
    stop(gateway, "chat", opening)
    assert served(gateway, "chat", opening)

    replied = [*opening, Turn("assistant", "Hello there."), Turn("user", "Thanks.")]
    assert served(gateway, "responses", replied)


def test_it_is_known_by_the_ids_of_its_calls_whatever_was_said(gateway, surface):
    first = about(f"calls {surface}")[:1]
    gateway.script(call("get_weather", '{"city":"Oslo"}'), DONE)
    [(call_id, _, _)] = ask(gateway, surface, first, tools=[WEATHER]).calls
    result = [
        Turn("call", '{"city":"Oslo"}', call_id, "get_weather"),
        Turn("output", "Rain.", call_id, "get_weather"),
    ]
    stop(gateway, surface, [*first, *result])

    reworded = [
        Turn("user", "Something else altogether."),
        Turn("call", '{"city":"Rome"}', call_id, "get_weather"),
        Turn("output", "Sun.", call_id, "get_weather"),
    ]
    refused(gateway, surface, reworded)


def test_another_run_that_said_the_same_is_another_conversation_by_its_ids(gateway, surface):
    first = about(f"runs {surface}")[:1]

    def run():
        gateway.script(call("get_weather", '{"city":"Oslo"}'), DONE)
        [(call_id, _, _)] = ask(gateway, surface, first, tools=[WEATHER]).calls
        return [
            *first,
            Turn("call", '{"city":"Oslo"}', call_id, "get_weather"),
            Turn("output", "Rain in Oslo, all of the day.", call_id, "get_weather"),
        ]

    one, other, third = run(), run(), run()
    stop(gateway, surface, one)

    refused(gateway, surface, one)
    assert served(gateway, surface, other)
    behind = [Turn("assistant", "It rains."), Turn("user", "And tomorrow?")]
    stop(gateway, surface, [*other, *behind])
    refused(gateway, surface, [*other, *behind])
    assert served(gateway, surface, [*third, *behind])
    made_up = [
        Turn(each.role, each.text, each.id and "call_" + "a" * 36, each.tool) for each in one
    ]
    refused(gateway, surface, made_up)


def test_it_is_known_by_its_sealed_thoughts(gateway):
    gateway.script(thought("A plan."), final("Shall I?"), DONE)
    asked = {"role": "user", "content": "Sealed: make a plan."}
    first = gateway.client.responses.create(
        model=gateway.model, input=[asked], include=["reasoning.encrypted_content"]
    )
    [blob] = [item for item in first.output if item.type == "reasoning"]
    sealed = {"type": "reasoning", "id": "rs_1", "summary": []}
    sealed["encrypted_content"] = blob.encrypted_content

    def create(*items):
        return gateway.client.responses.create(model=gateway.model, input=list(items))

    said = {"role": "assistant", "content": "Shall I?"}
    gateway.script(thought(THOUGHT), DONE)
    with pytest.raises(openai.PermissionDeniedError):
        create(asked, sealed, said, {"role": "user", "content": "Yes."})
    gateway.script(*HELLO)

    with pytest.raises(openai.PermissionDeniedError) as raised:
        create(
            asked,
            {"role": "user", "content": "Other words."},
            sealed,
            {"role": "assistant", "content": "And others."},
            {"role": "user", "content": "Go on."},
        )
    assert raised.value.code == CODE


def test_a_refused_continuation_is_recorded_with_what_stopped_it(gateway, surface):
    turns = about(f"record {surface}")
    answer, _ = stop(gateway, surface, turns)
    stop_id = error_of(answer)["misalignment"]["review_target"]

    again = ask(gateway, surface, turns)

    [entry] = again.log
    assert (entry["type"], entry["denial"]["code"]) == ("request.denied", CODE)
    assert entry["denial"]["reason"] == stop_id


def test_a_stop_after_the_reply_has_begun_ends_it_there(gateway, surface):
    gateway.script(
        thought("Hm."), final("A first sentence that may leave. "), final(f"Then {KEY}."), DONE
    )
    answer = ask(gateway, surface, about(f"late {surface}"))

    assert b"sk-proj" not in answer.raw
    assert error_of(answer)["code"] == CODE
    if surface == "responses-stream":
        assert answer.events[-1]["type"] == "response.failed"


def test_another_project_may_say_the_same(gateway, surface):
    turns = about(f"project {surface}")
    stop(gateway, surface, turns)
    client = gateway.client_with(gateway.new_key(project="other"))

    made = client.chat.completions.create(
        model=gateway.model,
        messages=[{"role": turn.role, "content": turn.text} for turn in turns],
    )
    client.close()

    assert made.choices[0].message.content == "Hello there."


def stopped_id(gateway, name):
    turns = about(name)
    answer, _ = stop(gateway, "chat", turns)
    return turns, error_of(answer)["misalignment"]["review_target"]


def test_a_reviewer_lists_stopped_conversations_and_lets_one_go_on(gateway):
    turns, stop_id = stopped_id(gateway, "lifted")
    root = "/v1/organization/stopped_conversations"
    reviewer = {"authorization": f"Bearer {gateway.new_key(Scope.REVIEWER)}"}
    caller = {"authorization": f"Bearer {gateway.new_key(Scope.CALLER)}"}

    assert gateway.http.get(root, headers=caller).status_code == 403
    assert gateway.http.post(f"{root}/{stop_id}/lift", headers=reviewer, json={}).status_code == 400
    first = gateway.http.get(root, headers=reviewer, params={"limit": 1}).json()
    lifted = gateway.http.post(
        f"{root}/{stop_id}/lift", headers=reviewer, json={"reason": "a false alarm"}
    )
    again = gateway.http.post(f"{root}/{stop_id}/lift", headers=reviewer, json={"reason": "x"})

    assert [each["id"] for each in first["data"]] == [stop_id]
    assert first["has_more"]
    assert lifted.json()["reason"] == "a false alarm"
    assert again.status_code == 404
    assert served(gateway, "chat", turns)


def test_an_operator_lets_one_go_on_from_the_command_line(gateway, monkeypatch):
    monkeypatch.setenv("OSTIARY_HOME", str(gateway.settings.home))
    _, stop_id = stopped_id(gateway, "command line")

    def run(*arguments):
        done = CliRunner().invoke(app, ["conversation", *arguments, "--json"])
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]

    assert run("show", stop_id)[0] == 1
    assert stop_id in [row["id"] for row in run("list", "--project", "default")[1]]
    status, [lifted] = run("lift", stop_id, "--reason", "a false alarm", "--as", "alice")
    assert (status, lifted["lifted_by"]) == (0, "cli:alice")
    assert run("lift", stop_id, "--reason", "again")[0] == 1
    assert run("show", stop_id)[0] == 0


def test_another_gateway_on_the_same_database_refuses_it_within_a_second(gateway):
    turns = about("another gateway")
    policy, home = gateway.settings.policy, gateway.settings.home
    with Gateway(home, policy=policy, classifiers=("patterns",)) as other:
        other.script(*HELLO)
        assert served(other, "chat", turns)
        stop(gateway, "responses", turns)

        def refuses():
            return ask(other, "chat", turns).status == 403

        wait_until(refuses)
