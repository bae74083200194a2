"""A judge behind a server, and the gateway's own model as a judge."""

import json

import openai
import pytest

from tests.contract.engine import Engine, answers
from tests.contract.live import DONE, MODEL, final

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: judged, version: 1.0.0, owner: tests@ostiary.example}
categories:
  hate: {severity: high}
rules:
  - id: judged-hate
    category: hate
    classifiers: [safeguard]
    stages: [input]
    bands:
      - {gte: 0.9, actions: [block]}
    tests:
      - {name: at the threshold, given: {stage: input, scores: {hate: 0.9}}, expect: block}
"""
REASON = "V1: a reason that quotes the content"


def says(violation, reason=REASON):
    verdict = json.dumps({"violation": violation, "rationale": reason})
    choice = {"index": 0, "message": {"content": verdict}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice]}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return answers(head.encode() + body)


FAILS = answers(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


@pytest.fixture
def engine():
    with Engine() as engine:
        yield engine


@pytest.fixture
def judged(new_gateway, tmp_path):
    """Start a gateway whose judge is found where `where` says."""

    def start(where):
        (tmp_path / "judged.yaml").write_text(POLICY)
        (tmp_path / "judges.toml").write_text(
            f'[[judge]]\nname = "safeguard"\nkind = "safeguard"\npolicies = ["hate"]\n{where}\n'
        )
        return new_gateway(
            policy=str(tmp_path / "judged.yaml"), judges_file=str(tmp_path / "judges.toml")
        )

    return start


def served(engine):
    return f'url = "{engine.url}"\nmodel = "gpt-oss-safeguard-20b"'


def ask(gateway, text="some content"):
    return gateway.client.responses.create(model=MODEL, input=text).output_text


def test_a_judge_behind_a_server_decides(judged, engine):
    engine.play(says(0))
    gateway = judged(served(engine))
    gateway.script(final("Hello there."), DONE)

    assert ask(gateway) == "Hello there."
    engine.play(says(1))
    with pytest.raises(openai.BadRequestError):
        ask(gateway)

    (asked,) = engine.asked
    assert asked["model"] == "gpt-oss-safeguard-20b"
    assert "# Hate against groups" in asked["messages"][0]["content"]
    assert "some content" in asked["messages"][1]["content"]


def test_a_judge_that_fails_has_not_said_harmless(judged, engine):
    gateway = judged(served(engine))
    engine.play(FAILS)

    with pytest.raises(openai.BadRequestError):
        ask(gateway)


def test_the_log_names_the_judge_and_never_its_reason(judged, engine):
    gateway = judged(served(engine))
    engine.play(says(1))
    with pytest.raises(openai.BadRequestError):
        ask(gateway)

    entries = gateway.ended(gateway.last_request("responses"))

    written = json.dumps(entries)
    assert "safeguard@1" in written
    assert REASON not in written
    assert "quotes the content" not in written


def test_the_gateways_own_model_can_judge(judged):
    gateway = judged('runner = "self"')
    gateway.script(final('{"violation": 0, "rationale": "S1"}'), DONE)

    assert ask(gateway) == '{"violation": 0, "rationale": "S1"}'
    gateway.script(final('{"violation": 1, "rationale": "V1"}'), DONE)
    with pytest.raises(openai.BadRequestError):
        ask(gateway)
