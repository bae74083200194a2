"""`ostiary audit search | show --content | erase | hold`, `keys rotate-vault`, beside a gateway."""

import json

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from tests.contract.live import DONE, Gateway, final, thought, wait_until
from tests.contract.surfaces import ask

KEY = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2
ASKED = f"Please remember that my key is {KEY}"


@pytest.fixture
def gateway(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    with Gateway(tmp_path / "home") as gateway:
        gateway.script(thought("A greeting."), final("Hello there."), DONE)
        yield gateway


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def said(*arguments):
    """Return what a command that must succeed says, as JSON lines."""
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def flagged(gateway, who="user-17"):
    answer = ask(gateway, "responses", ASKED, safety_identifier=who)
    return next(entry for entry in answer.log if entry["type"] == "decision.recorded")


def shown(entry):
    return said("audit", "show", entry["decision"]["id"], "--content", "--reason", "appeal 9")


def test_the_life_of_what_somebody_said(gateway):
    entry = flagged(gateway)
    [field] = shown(entry)
    assert (field["state"], field["said"]) == ("kept", [{"source": "user", "text": ASKED}])

    [hold] = said("audit", "hold", "add", "--safety-identifier", "user-17", "--reason", "case 12")
    refused = run("audit", "erase", "--safety-identifier", "user-17", "--reason", "Art. 17")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert [each["id"] for each in said("audit", "hold", "list")] == [hold["id"]]
    assert run("audit", "hold", "release", hold["id"], "--reason", "closed").exit_code == 0

    [rotated] = said("keys", "rotate-vault")
    assert rotated["keys"] == 1
    assert shown(entry)[0]["state"] == "kept"

    [erased] = said("audit", "erase", "--safety-identifier", "user-17", "--reason", "Art. 17")
    assert erased["keys"] == 1
    [field] = shown(entry)
    assert (field["state"], field["said"]) == ("gone", [])
    again = flagged(gateway)  # with the keys that were rotated while it ran
    assert shown(again)[0]["state"] == "kept"


def test_a_search_finds_what_was_decided_and_leaves_a_trace(gateway):
    entry = flagged(gateway)
    ask(gateway, "responses", "Hello!")

    found = said("audit", "search", "--action", "flag", "--stage", "input", "--as", "alice")
    assert [each["id"] for each in found] == [entry["id"]]
    assert said("audit", "search", "--action", "flag", "--until", "2020-01-01") == []
    [trace] = said("audit", "search", "--type", "access.searched", "--by", "cli:alice")
    assert trace["criteria"] == {"actions": ["flag"], "stages": ["input"]}
    assert trace["access"] == {"found": 1, "surface": "cli"}


def test_a_search_goes_on_where_it_was(gateway):
    for _ in range(3):
        flagged(gateway)
    first = said("audit", "search", "--action", "flag", "-n", "2")
    rest = said("audit", "search", "--action", "flag", "-n", "2", "--after", first[-1]["id"])

    assert len({each["id"] for each in [*first, *rest]}) == 3
    assert "there are more" in run("audit", "search", "--action", "flag", "-n", "2").output


def test_content_is_not_shown_without_a_reason(gateway):
    done = run("audit", "show", flagged(gateway)["decision"]["id"], "--content")

    assert (done.exit_code, done.stdout) == (2, "")
    assert said("audit", "search", "--type", "access.opened") == []


def test_what_is_read_as_text_says_who_said_what(gateway):
    id = flagged(gateway)["decision"]["id"]
    done = run("audit", "show", id, "--content", "--reason", "appeal 9")

    assert f"  user: {ASKED}" in done.stdout.splitlines()
    assert KEY not in run("audit", "show", id).stdout


def test_a_hold_that_is_not_there_is_a_no(gateway):
    done = run("audit", "hold", "release", "none", "--reason", "closed")

    assert (done.exit_code, done.output) == (1, "there is no hold `none`\n")


def test_the_log_still_verifies_after_an_erasure(gateway, tmp_path):
    flagged(gateway)
    said("audit", "erase", "--safety-identifier", "user-17", "--reason", "Art. 17")
    [last] = said("audit", "search", "--type", "erasure.completed")
    wait_until(lambda: run("audit", "proof", last["id"]).exit_code == 0)
    said("audit", "export", "--out", str(tmp_path / "bundle"))
    key = run("audit", "checkpoint", "--key").stdout.strip()

    done = run("audit", "verify", str(tmp_path / "bundle"), "--key", key)

    assert done.exit_code == 0, done.output
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for trace in (ASKED, KEY, "user-17"):
        assert trace.encode() not in kept


def test_an_export_is_recorded_before_it_is_written(gateway, tmp_path):
    flagged(gateway)
    wait_until(lambda: run("audit", "checkpoint").exit_code == 0)
    said("audit", "export", "--out", str(tmp_path / "bundle"), "--as", "alice")

    [trace] = said("audit", "search", "--type", "access.exported")
    assert trace["actor"]["key"] == "cli:alice"
    wanted = {"form": "jsonl", "shard": None, "since": None, "until": None}
    assert trace["export"] == wanted
