"""Why something was decided, by the command and from the log."""

import json

import openai
import pytest
from typer.testing import CliRunner

from gateway.cli import app
from tests.contract.live import DONE, MODEL, final, wait_until

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: a@acme.example}
defaults: {on_unsupported_language: flag, deadline_ms: 5000}
categories: {secrets.credential: {severity: high}}
rules:
  - id: no-secrets
    category: secrets.credential
    stages: [input]
    scope: {projects: [default]}
    bands: [{gte: 0.8, actions: [block]}]
    message: {user: "no"}
  - id: children
    category: secrets.credential
    stages: [input]
    scope: {age_groups: [minor]}
    bands: [{gte: 0.1, actions: [flag]}]
"""
SECRET = "My key is AKIAIOSFODNN7EXAMPL3, what is it for?"


@pytest.fixture
def explain(tmp_path, monkeypatch):
    """Runs `ostiary policy explain`, on the policy above where it takes one."""
    (tmp_path / "acme.yaml").write_text(POLICY)
    monkeypatch.setenv("OSTIARY_CLASSIFIERS", '["patterns"]')

    def run(*options, file=str(tmp_path / "acme.yaml")):
        arguments = [file, *options] if file else options
        return CliRunner().invoke(app, ["policy", "explain", *arguments], catch_exceptions=False)

    return run


def test_a_text_is_judged_and_each_rule_is_told_of(explain):
    done = explain("--text", SECRET)

    assert done.exit_code == 1
    first, _, stop, children, *_ = done.stdout.splitlines()
    assert first == "block at input, because of `no-secrets`"
    assert stop.endswith("calls for block <- determined the decision")
    assert children.endswith("(not for this request); for age groups minor, not unknown")


def test_circumstances_decide_which_rules_are_for_the_request(explain):
    done = explain("--text", SECRET, "--project", "other", "--age-group", "minor", "--json")

    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["action"] == "flag"
    assert said["circumstances"]["project"] == "other"
    roles = {rule["id"]: rule["role"] for rule in said["rules"]}
    assert roles == {"children": "determined", "no-secrets": "out_of_scope"}
    assert said["message"] == {"user": "", "developer": ""}
    assert said["redactions"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "say what to explain"),
        (("--text", "a", "--decision", "dec_1"), "say what to explain"),
        (("--text", "a", "--stage", "thought"), "`thought` is not one of input"),
        (("--text", "a", "--age-group", "child"), "`child` is not one of minor"),
        (("--text", "a", "--endpoint", "images"), "`images` is not one of responses"),
        (("--text", "a", "--at", "yesterday"), "there is no moment `yesterday`"),
    ],
)
def test_a_question_that_makes_no_sense_is_wrong_usage(explain, options, message):
    done = explain(*options)

    assert done.exit_code == 2
    assert message in done.stderr


@pytest.fixture
def recorded(new_gateway, tmp_path, explain, monkeypatch):
    """The id of a decision that blocked, in the log of a gateway with the policy above."""
    gateway = new_gateway(policy=str(tmp_path / "acme.yaml"), classifiers=("patterns",))
    gateway.script(final("Hello."), DONE)
    with pytest.raises(openai.BadRequestError):
        gateway.client.responses.create(model=MODEL, input=SECRET)
    monkeypatch.setenv("OSTIARY_HOME", str(gateway.settings.home))
    entries = gateway.ended(gateway.last_request("responses"))
    [decision] = [entry["decision"]["id"] for entry in entries if "decision" in entry]
    return decision


def test_a_recorded_decision_is_explained_from_the_log(explain, recorded):
    done = explain("--decision", recorded, file=None)

    assert done.exit_code == 1
    assert done.stdout.startswith("block at input, because of `no-secrets`\npolicy acme 1.0.0 ")
    assert "no-secrets: secrets.credential scored" in done.stdout


def test_with_its_policy_the_bands_are_known_and_with_another_one_nothing_is_made_up(
    explain, recorded
):
    assert "[0.8 block]" in explain("--decision", recorded).stdout

    done = explain("--decision", recorded, file="baseline")

    assert done.exit_code == 1
    assert "`ostiary-baseline`" in done.stderr
    assert "did not take this decision, but `acme` 1.0.0" in done.stderr


def test_a_decision_of_several_policies_is_explained_with_the_bands_of_all(
    new_gateway, tmp_path, explain, monkeypatch
):
    gateway = new_gateway(policy=str(tmp_path / "acme.yaml"), classifiers=("patterns",))
    gateway.script(final("Hello."), DONE)
    monkeypatch.setenv("OSTIARY_HOME", str(gateway.settings.home))
    other = tmp_path / "other.yaml"
    other.write_text(
        POLICY.replace("id: acme", "id: other").replace("no-secrets", "marks").replace("0.8", "0.7")
    )
    assert CliRunner().invoke(app, ["policy", "activate", str(other)]).exit_code == 0
    wait_until(lambda: "other" in governing(gateway))

    done = explain("--decision", governing(gateway).partition(" ")[0])

    assert "because of `no-secrets`, `marks`" in done.stdout
    assert "[0.8 block]" in done.stdout
    assert "[0.7 block]" in done.stdout


def governing(gateway):
    """Ask, and return the decision's id and the policies that took it."""
    with pytest.raises(openai.BadRequestError):
        gateway.client.responses.create(model=MODEL, input=SECRET)
    entries = gateway.ended(gateway.last_request("responses"))
    [entry] = [entry for entry in entries if "decision" in entry]
    return f"{entry['decision']['id']} {entry['policy']['id']}"


def test_a_decision_that_is_not_there_is_named(explain, recorded):
    missing = f"dec_{'0' * 32}"

    done = CliRunner().invoke(app, ["policy", "explain", "--decision", missing])

    assert str(done.exception) == f"there is no decision `{missing}` in the log"
