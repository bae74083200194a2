"""Traffic that was served, decided again from the log."""

import json
import subprocess
import sys

import pytest

from gateway.policy_replay import replay
from gateway.store.recorded import Wanted
from tests.contract.live import DONE, final, thought
from tests.contract.surfaces import SURFACES, WEATHER, ask

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: base, version: 1.0.0, owner: a@acme.example}
defaults: {on_unsupported_language: flag, deadline_ms: 5000}
categories: {secrets.credential: {}, pii.email: {}, pii.phone: {}}
rules:
  - id: secrets
    category: secrets.credential
    stages: [input, output]
    bands: [{gte: 0.8, actions: [block]}]
  - id: addresses
    category: pii.email
    stages: [input, output]
    when: "!request.stream || 'get_weather' in request.tools"
    bands: [{gte: 0.5, actions: [redact]}]
  - id: phones
    category: pii.phone
    stages: [input]
    mode: {canary: 50}
    scope: {endpoints: [responses], age_groups: [minor, unknown]}
    bands: [{gte: 0.5, actions: [block]}]
exceptions:
  - {id: EX-1, rule: phones, scope: {locales: [de]}, action: flag, from: 2026-01-01,
     until: 2099-01-01, reason: "an exercise", approved_by: [alice, bob]}
"""
TEXTS = [
    "Hello!",
    "write to jane.roe@acme-mail.com please",
    "call +49 30 901820 today",
    "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2,
]


@pytest.fixture
def served(new_gateway, tmp_path):
    """The policy's file, and a gateway that has answered on every surface."""
    file = tmp_path / "base.yaml"
    file.write_text(POLICY)
    gateway = new_gateway(policy=str(file), classifiers=("patterns",))
    for surface in SURFACES:
        for number, text in enumerate(TEXTS):
            gateway.script(thought("Write."), final("To joe.bloggs@acme-mail.com, I say."), DONE)
            ask(
                gateway,
                surface,
                text,
                safety_identifier=f"user-{number}",
                tools=[WEATHER] if number % 2 else [],
                extra_headers={"accept-language": "de-AT" if number == 2 else "en"},
            )
    return file, gateway.settings.resolved_database_url


def test_replaying_under_the_same_policy_flips_nothing(served):
    file, url = served

    _, tally = replay(str(file), Wanted(), url)

    assert tally.replayed > 30
    assert (tally.flipped(), tally.other_rules, tally.passed_over, tally.unnamed) == (0, 0, {}, 0)
    assert tally.decided_by == {("base", "1.0.0"): tally.replayed}


def test_a_stricter_policy_flips_what_it_would_have_stopped(served):
    file, url = served
    file.write_text(POLICY.replace("[redact]", "[block]").replace("1.0.0", "1.1.0"))

    _, tally = replay(str(file), Wanted(), url)

    assert tally.transitions.keys() == {("redact", "block")}
    assert tally.by_rule.keys() == {("addresses", "stricter")}
    assert tally.flipped("looser") == 0
    assert {flip.stage for flip in tally.flips} == {"input", "output"}


def test_the_newest_decisions_and_those_of_a_time_are_a_part(served):
    file, url = served
    whole = replay(str(file), Wanted(), url)[1].replayed

    assert replay(str(file), Wanted(limit=5), url)[1].replayed == 5
    assert replay(str(file), Wanted(until="2001"), url)[1].replayed == 0
    assert replay(str(file), Wanted(since="2001", project="default"), url)[1].replayed == whole
    assert replay(str(file), Wanted(project="another"), url)[1].replayed == 0


def test_the_command_prints_the_flips_and_answers_with_its_status(served, tmp_path):
    file, url = served
    file.write_text(POLICY.replace("[redact]", "[flag]"))
    settings = {"OSTIARY_DATABASE_URL": url, "OSTIARY_HOME": str(tmp_path), "PYTHONPATH": "."}

    def run(*words):
        command = [sys.executable, "-m", "gateway.cli", "policy", "replay", str(file), *words]
        return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=100)

    told, strict = run("--json", "--show", "1"), run("--max-flips", "0")

    flip, summary = map(json.loads, told.stdout.splitlines())
    assert told.returncode == 0
    assert (flip["was"], flip["would_be"], flip["rules"]) == ("redact", "flag", ["addresses"])
    assert summary["looser"] == summary["flips"] > 0
    assert strict.returncode == 1
    assert f"{summary['flips']} flip" in strict.stdout
