"""`ostiary policy list | propose | approve | ... | retire`, on a database of their own."""

import json

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.notes import parse_verifier_key

POLICY = """apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: trust-and-safety@acme.example}
categories:
  secrets.credential: {severity: high, rationale: "a credential must not leave"}
rules:
  - id: secret-out
    category: secrets.credential
    stages: [output]
    bands:
      - {gte: 0.9, actions: [block]}
    tests:
      - {name: a key, given: {stage: output, scores: {secrets.credential: 0.95}}, expect: block}
      - {name: prose, given: {stage: output, scores: {secrets.credential: 0.1}}, expect: allow}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    write("1.0.0")
    return tmp_path


def write(version, **changes):
    """Write `acme.yaml` in another version."""
    text = POLICY.replace("1.0.0", version)
    for old, new in changes.items():
        text = text.replace(old, new)
    with open("acme.yaml", "w") as file:
        file.write(text)


def policy(*arguments):
    return CliRunner().invoke(app, ["policy", *arguments])


def said(*arguments):
    """Return what a command that must succeed says, as JSON lines."""
    done = policy(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def refused(*arguments):
    """Return why a command answers no."""
    done = policy(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    return done.output


def activate(*versions):
    for version in versions:
        write(version)
        said("activate", "acme.yaml")


def test_a_file_is_brought_into_force_at_once():
    done = policy("activate", "acme.yaml")

    assert (done.exit_code, done.stdout) == (0, "acme 1.0.0 is active\n")
    [version] = said("list", "acme")
    assert (version["state"], version["author"]) == ("active", "cli")


def test_two_operators_take_a_version_through_its_approval():
    said("propose", "acme.yaml", "--as", "alice")
    [approved] = said("approve", "acme", "1.0.0", "--as", "bob")
    [active] = said("activate", "acme.yaml", "--as", "bob")

    assert (approved["state"], approved["decided_by"]) == ("approved", "cli:bob")
    assert (active["state"], active["author"]) == ("active", "cli:alice")


def test_one_operator_does_not_approve_what_they_proposed():
    said("propose", "acme.yaml")

    assert "cannot approve" in refused("approve", "acme", "1.0.0")


def test_to_propose_twice_is_to_propose_once():
    assert said("propose", "acme.yaml") == said("propose", "acme.yaml")


@pytest.mark.parametrize("step", ["reject", "withdraw"])
def test_what_was_turned_down_is_not_activated(step):
    said("propose", "acme.yaml", "--as", "alice")
    said(step, "acme", "1.0.0", "--as", "bob")

    assert "draft it anew under a new version" in refused("activate", "acme.yaml")


def test_a_rollback_leads_to_the_version_before_or_a_named_one():
    activate("1.0.0", "1.1.0", "1.2.0")

    assert said("rollback", "acme")[0]["version"] == "1.1.0"
    assert said("rollback", "acme", "--to", "1.2.0")[0]["version"] == "1.2.0"
    assert [row["state"] for row in said("list", "acme")] == ["active", "rolled_back", "superseded"]


def test_a_rollback_without_a_version_before_is_a_no():
    activate("1.0.0")

    assert "no version of `acme` was in force before" in refused("rollback", "acme")


def test_a_retired_policy_is_out_of_force():
    activate("1.0.0")

    said("retire", "acme")

    assert said("list")[0]["active"] is None
    assert "no version of the policy `acme` is in force" in refused("retire", "acme")


def test_policies_are_listed_with_what_is_in_force():
    activate("1.0.0")
    write("1.1.0")
    said("propose", "acme.yaml")
    said("activate", "baseline")

    acme, baseline = said("list")

    assert acme == {
        "policy": "acme",
        "kind": "Policy",
        "active": "1.0.0",
        "latest": "1.1.0",
        "state": "proposed",
        "versions": 2,
    }
    assert baseline["policy"] == "ostiary-baseline"


def test_tables_are_for_people():
    activate("1.0.0")

    table = policy("list", "acme").stdout

    assert table.split()[:3] == ["policy", "version", "state"]
    assert "1.0.0    active" in table


def test_of_a_policy_that_is_not_there_nothing_is_listed():
    assert "no policy `nobody`" in refused("list", "nobody")
    assert policy("list").stdout == ""


def test_mistakes_in_a_file_are_shown_with_their_places():
    write("1.0.0", **{"category: s": "category: x"})

    assert "acme.yaml:8:15: unknown category" in refused("activate", "acme.yaml")


def test_a_policy_that_fails_a_test_with_the_real_classifiers_is_refused():
    write("1.0.0", **{"scores: {secrets.credential: 0.95}": 'text: "Rotate your keys."'})

    assert "expects `block` and got `allow`" in refused("activate", "acme.yaml")
    assert said("list") == []


def test_an_exception_that_has_ended_is_refused_by_name():
    ended = (
        "exceptions:\n  - {id: EX-9, rule: secret-out, action: flag, from: 2025-01-01,\n"
        "     until: 2025-02-01, reason: over, approved_by: [alice, bob]}\n"
    )
    with open("acme.yaml", "a") as file:
        file.write(ended)

    assert "acme.yaml:16:5: exception `EX-9` ended on 2025-02-01" in refused(
        "activate", "acme.yaml"
    )


def test_attachments_of_what_is_not_in_force_are_refused(folder):
    (folder / "who.yaml").write_text(
        "apiVersion: ostiary/v1\nkind: Attachments\n"
        "metadata: {id: who, version: 1.0.0, owner: o@acme.example}\n"
        "everyone: {policies: [acme]}\n"
    )

    assert "`acme` is attached and not in force" in refused("activate", "who.yaml")
    activate("1.0.0")
    assert said("activate", "who.yaml")[0]["state"] == "active"


def test_a_directory_is_not_one_policy(folder):
    assert "this is a directory; name one file of it" in refused("activate", str(folder))


def test_a_version_with_another_content_is_refused():
    activate("1.0.0")
    write("1.0.0", **{"gte: 0.9,": "gte: 0.94,"})

    assert "another content" in refused("activate", "acme.yaml")


def test_the_note_beside_a_file_goes_with_it(folder, monkeypatch):
    trusted = "".join(policy("keygen", name).stdout for name in ("alice", "bob"))
    (folder / "trusted").write_text(trusted)
    assert [parse_verifier_key(line).name for line in trusted.split()] == ["alice", "bob"]
    monkeypatch.setenv("OSTIARY_POLICY_KEYS", "trusted")
    monkeypatch.setenv("OSTIARY_POLICY_SIGNATURES", "2")

    assert "2 signatures by trusted keys are needed; there are 0" in refused(
        "activate", "acme.yaml"
    )
    policy("sign", "acme.yaml", "--key", "alice.key")
    assert "there are 1" in refused("activate", "acme.yaml")
    policy("sign", "acme.yaml", "--key", "bob.key")
    assert said("activate", "acme.yaml")[0]["state"] == "active"


@pytest.mark.parametrize("file", ["acme.yaml", "baseline"])
def test_a_note_that_was_named_must_be_there(file):
    assert policy("activate", file, "--sig", "none").exit_code == 2


def test_keys_that_cannot_be_read_are_a_wrong_setting(monkeypatch):
    monkeypatch.setenv("OSTIARY_POLICY_KEYS", "none")

    assert policy("activate", "acme.yaml").exit_code == 2
