"""Probes on the model, through the whole gateway: a policy that names them, over HTTP."""

from dataclasses import replace

import numpy as np
import pytest

from gateway.app import open_runner
from gateway.settings import Settings
from model_runner.local import digest_of_model, load_local
from model_runner.probes.file import Probes, ProbesRefused, write_probes
from tests.contract.live import DONE, final, thought
from tests.contract.surfaces import SURFACES, ask

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: a@acme.example}
categories: {illicit: {severity: high, rationale: "harm", clause: "1"}}
rules:
  - id: probed
    category: illicit
    classifiers: [probe]
    stages: [reasoning, tool_call, output]
    on_unavailable: {reasoning: ABSENT, tool_call: ABSENT, output: ABSENT}
    bands: [{gte: 0.8, actions: [block]}]
    message: {user: "no"}
"""


def made_probes(model, hidden=64, bias=-20.0):
    """Probes that say the sigmoid of `bias` whatever the model thinks."""
    weights = np.zeros((1, 1, hidden), dtype=np.float32)
    bias = np.array([bias], dtype=np.float32)
    return Probes("", model, ("illicit",), (1,), 16, weights, bias)


@pytest.fixture
def start(new_gateway, tmp_path):
    def started(probes=None, absent="block"):
        path, policy = tmp_path / "probes.safetensors", tmp_path / "acme.yaml"
        write_probes(path, probes or made_probes("d" * 64))
        policy.write_text(POLICY.replace("ABSENT", absent))
        runner = load_local("tiny", tmp_path, path) if probes else None
        return new_gateway(runner, policy=str(policy), probes_file=str(path))

    return started


def probed(delta, score):
    return replace(delta, probed={"illicit": score})


@pytest.mark.parametrize("surface", SURFACES)
def test_a_probe_stops_the_model_in_the_thought(start, surface):
    gateway = start()
    scripted = gateway.script(
        probed(thought("Hm. "), 0.9),
        probed(final("Zebra."), 0.1),
        probed(final(" More."), 0.1),
        DONE,
    )

    answer = ask(gateway, surface)

    assert answer.outcome == ("blocked", "probed")
    assert answer.text == ""
    assert b"Hm" not in answer.raw
    assert b"Zebra" not in answer.raw
    assert scripted.stopped_early
    [judged] = [entry for entry in answer.log if entry["type"] == "decision.recorded"][-1:]
    names = {receipt["id"].partition("@")[0] for receipt in judged["classifiers"]}
    assert "probe" in names


@pytest.mark.parametrize("surface", SURFACES)
def test_what_the_probes_let_pass_is_released(start, surface):
    gateway = start()
    gateway.script(probed(thought("Hm. "), 0.2), probed(final("Hello."), 0.3), DONE)

    assert ask(gateway, surface).text == "Hello."


@pytest.mark.parametrize(("absent", "text"), [("block", ""), ("flag", "Hello.")])
def test_where_nothing_was_read_the_rule_says_what_is_done(start, absent, text):
    gateway = start(absent=absent)
    gateway.script(thought("Hm. "), final("Hello."), DONE)

    answer = ask(gateway, "chat")

    assert answer.text == text
    judged = [entry for entry in answer.log if entry["type"] == "decision.recorded"]
    receipts = [
        receipt
        for entry in judged
        for receipt in entry["classifiers"]
        if receipt["id"].startswith("probe")
    ]
    assert receipts
    assert all(receipt["unscanned_chars"] and not receipt["scanned_chars"] for receipt in receipts)


def test_the_model_in_this_process_is_read_while_it_speaks(start):
    gateway = start(made_probes(digest_of_model("tiny")))

    allowed = gateway.client.responses.create(model=gateway.model, input="Hello!")

    assert allowed.status == "completed"
    assert allowed.output_text


def test_the_model_in_this_process_is_stopped_by_what_is_read(start):
    gateway = start(made_probes(digest_of_model("tiny"), bias=20.0))

    stopped = gateway.client.responses.create(model=gateway.model, input="Hello!")

    assert stopped.status == "incomplete"
    assert stopped.incomplete_details.reason == "content_filter"
    assert [item.type for item in stopped.output] == ["message"]


def test_with_probes_for_another_model_the_gateway_does_not_start(tmp_path):
    path = tmp_path / "probes.safetensors"
    write_probes(path, made_probes("d" * 64))

    with pytest.raises(ProbesRefused, match="train them anew"):
        open_runner(Settings(home=tmp_path, probes_file=str(path)))


def test_probes_on_an_engine_elsewhere_are_a_wrong_setting():
    with pytest.raises(ValueError, match="`probes_file` reads a model in this process"):
        Settings(probes_file="probes.safetensors", upstream_url="http://127.0.0.1:8000/v1")


def test_a_rule_that_names_probes_does_not_wait_for_them_about_a_prompt(start):
    gateway = start()
    gateway.script(probed(final("Hello."), 0.1), DONE)

    assert gateway.client.responses.create(model=gateway.model, input="hi").output_text == "Hello."
