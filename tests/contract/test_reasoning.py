"""What callers see of thoughts: nothing, a moderated summary, or all, as the operator says."""

import openai
import pytest

from gateway.types import Scope
from tests.contract import wire
from tests.contract.live import DONE, final, thought
from tests.contract.surfaces import SURFACES, ask

PLAN = "The user says hello. I look it up. "
ONLY_OUTPUT = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: out, version: 1.0.0, owner: test@ostiary.example}
categories: {illicit/violent: {severity: high, clause: "1", rationale: "As in the baseline."}}
rules:
  - id: violence
    category: illicit/violent
    stages: [output]
    bands: [{gte: 0.9, actions: [block]}]
"""
BOMB = "I will help build the pipe bomb. "


def create(gateway, kind="auto", stream=False, **options):
    options = {"model": gateway.model, "input": "hi", "reasoning": {"summary": kind}} | options
    if not stream:
        return gateway.client.responses.create(**options), []
    events = list(gateway.client.responses.create(stream=True, **options))
    return events[-1].response, events


def summary_of(reply):
    [item] = [item for item in reply.output if item.type == "reasoning"]
    assert not item.content
    return [part.text for part in item.summary]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "text"),
    [("concise", "The user says hello."), ("detailed", "The user says hello. I look it up.")],
)
def test_a_summary_is_sentences_of_the_thought(gateway, stream, kind, text):
    gateway.script(thought(PLAN), final("Hello."), DONE)

    reply, events = create(gateway, kind, stream)

    assert summary_of(reply) == [text]
    assert reply.output_text == "Hello."
    if stream:
        wire.response_events(bytes(gateway.tape.received))
        said = [event for event in events if "reasoning_summary" in event.type]
        assert [event.type.removeprefix("response.reasoning_summary_") for event in said] == [
            "part.added", "text.delta", "text.done", "part.done",
        ]  # fmt: skip
        assert said[1].delta == said[2].text == said[3].part.text == text


@pytest.mark.parametrize("surface", SURFACES)
def test_without_being_asked_for_no_summary_is_told(gateway, surface):
    gateway.script(thought(PLAN), final("Hello."), DONE)

    answer = ask(gateway, surface)

    assert b"look it up" not in answer.raw
    assert b"says hello" not in answer.raw


def test_an_unknown_kind_of_summary_is_refused(gateway):
    with pytest.raises(openai.BadRequestError):
        create(gateway, "long")


def test_what_was_redacted_in_the_thought_is_redacted_in_its_summary(gateway):
    gateway.script(thought("The card is 4111 1111 1111 1111. Fine. "), final("Hello."), DONE)

    reply, _ = create(gateway, "detailed")

    assert b"4111" not in bytes(gateway.tape.received)
    assert all("4111" not in text for text in summary_of(reply))


@pytest.mark.parametrize("stream", [False, True])
def test_of_a_thought_that_was_stopped_there_is_no_summary(gateway, stream):
    gateway.script(thought(PLAN * 4), thought(BOMB), final("Hello."), DONE)

    reply, _ = create(gateway, "detailed", stream)

    assert [item.type for item in reply.output] == ["message"]
    assert b"look it up" not in bytes(gateway.tape.received)
    assert reply.usage is None


def test_what_may_not_leave_as_output_is_left_out_and_the_reply_goes_on(new_gateway, tmp_path):
    (tmp_path / "out.yaml").write_text(ONLY_OUTPUT)
    gateway = new_gateway(policy=str(tmp_path / "out.yaml"))
    gateway.script(thought(PLAN + BOMB + "I say no. "), final("No."), DONE)

    reply, _ = create(gateway, "detailed")

    assert summary_of(reply) == ["The user says hello. I look it up. I say no."]
    assert reply.output_text == "No."
    assert b"pipe" not in bytes(gateway.tape.received)


def test_every_sentence_of_a_summary_is_judged_as_output_before_it_leaves(gateway):
    gateway.script(thought(PLAN), final("Hello."), DONE)
    create(gateway, "detailed")

    log = gateway.ended(gateway.tape.response.headers["x-request-id"])

    decided = [entry["decision"]["stage"] for entry in log if entry["type"] == "decision.recorded"]
    assert decided == ["input", "reasoning", "output", "output", "output"]


@pytest.mark.parametrize("stream", [False, True])
def test_raw_thoughts_are_for_marked_projects_alone(new_gateway, stream):
    gateway = new_gateway(expose_reasoning_to=("research",))
    seen = {}
    for project in ("default", "research"):
        gateway.script(thought("Plain thinking."), final("Hello."), DONE)
        key = gateway.new_key(Scope.CALLER, project=project)
        with gateway.client_with(key) as client:
            options = {"model": gateway.model, "input": "hi", "stream": stream}
            made = client.responses.create(**options)
            reply = [*made][-1].response if stream else made
            [item] = [item for item in reply.output if item.type == "reasoning"]
            seen[project] = [part.text for part in item.content or ()]

    assert seen == {"default": [], "research": ["Plain thinking."]}


def test_a_marked_project_s_thoughts_are_judged_as_output(new_gateway, tmp_path):
    (tmp_path / "out.yaml").write_text(ONLY_OUTPUT)
    gateway = new_gateway(policy=str(tmp_path / "out.yaml"), expose_reasoning_to=("research",))
    texts = {}
    for project in ("default", "research"):
        gateway.script(thought(BOMB), final("No."), DONE)
        with gateway.client_with(gateway.new_key(Scope.CALLER, project=project)) as client:
            reply = client.responses.create(model=gateway.model, input="hi")
            texts[project] = (reply.status, reply.output_text)

    assert texts == {"default": ("completed", "No."), "research": ("incomplete", "")}
