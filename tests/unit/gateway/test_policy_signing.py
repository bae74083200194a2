"""`ostiary policy keygen`, `sign` and `verify`, as they are called."""

import json
import stat

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.notes import parse_signing_key, parse_verifier_key

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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme.yaml").write_text(POLICY)
    return tmp_path


def policy(*arguments):
    return CliRunner().invoke(app, ["policy", *arguments], catch_exceptions=False)


def keygen(folder, *names):
    """Make a key for each name, and a file that trusts them all."""
    verifiers = [policy("keygen", name).stdout for name in names]
    (folder / "trusted").write_text("".join(verifiers))


def verify(*arguments):
    return policy("verify", "acme.yaml", "--keys", "trusted", *arguments)


def test_a_private_key_is_for_its_owner_alone_and_not_shown(folder):
    made = policy("keygen", "example.com/alice")

    path = folder / "example.com_alice.key"
    key = parse_signing_key(path.read_text().strip())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parse_verifier_key(made.stdout.strip()) == key.verifier
    assert "PRIVATE" not in made.output


def test_a_key_that_is_there_is_not_overwritten(folder):
    policy("keygen", "alice")
    before = (folder / "alice.key").read_text()

    again = policy("keygen", "alice")

    assert (again.exit_code, (folder / "alice.key").read_text()) == (2, before)
    assert "alice.key" in again.stderr


def test_a_name_that_cannot_be_a_keys_leaves_no_file(folder):
    assert policy("keygen", "a b").exit_code == 1
    assert not list(folder.glob("*.key"))


def test_what_two_people_signed_verifies_as_such(folder):
    keygen(folder, "alice", "bob")
    for name in ("alice", "bob"):
        assert policy("sign", "acme.yaml", "--key", f"{name}.key").exit_code == 0

    verified = verify("--signatures", "2", "--json")

    assert verified.exit_code == 0
    assert json.loads(verified.stdout) == {"file": "acme.yaml", "signers": ["alice", "bob"]}


def test_one_signature_where_two_are_wanted_is_a_no(folder):
    keygen(folder, "alice", "bob")
    policy("sign", "acme.yaml", "--key", "alice.key")

    assert verify().exit_code == 0
    refused = verify("--signatures", "2")
    assert refused.exit_code == 1
    assert "2 signatures by trusted keys are needed; there are 1" in refused.stderr


def test_keys_and_their_number_can_come_from_the_settings(folder, monkeypatch):
    keygen(folder, "alice", "bob")
    policy("sign", "acme.yaml", "--key", "alice.key")
    monkeypatch.setenv("OSTIARY_POLICY_KEYS", "trusted")
    assert policy("verify", "acme.yaml").exit_code == 0
    monkeypatch.setenv("OSTIARY_POLICY_SIGNATURES", "2")
    assert policy("verify", "acme.yaml").exit_code == 1


def test_without_any_keys_to_trust_the_usage_is_wrong(folder):
    assert policy("verify", "acme.yaml").exit_code == 2


def test_a_changed_policy_is_not_the_one_that_was_signed(folder):
    keygen(folder, "alice")
    policy("sign", "acme.yaml", "--key", "alice.key")
    (folder / "acme.yaml").write_text(POLICY.replace("gte: 0.9,", "gte: 0.94,"))

    assert verify().exit_code == 1
    again = policy("sign", "acme.yaml", "--key", "alice.key")
    assert again.exit_code == 1
    assert "signs another version or content" in again.stderr


def test_layout_and_comments_do_not_break_a_signature(folder):
    keygen(folder, "alice")
    policy("sign", "acme.yaml", "--key", "alice.key")
    (folder / "acme.yaml").write_text("# reviewed\n" + POLICY)

    assert verify().exit_code == 0


def test_a_policy_that_fails_its_own_tests_is_not_signed(folder):
    keygen(folder, "alice")
    (folder / "acme.yaml").write_text(POLICY.replace("expect: allow", "expect: block"))

    refused = policy("sign", "acme.yaml", "--key", "alice.key")

    assert refused.exit_code == 1
    assert "acme.yaml:14:9: test `prose`" in refused.stderr
    assert not (folder / "acme.yaml.sig").exists()


def test_the_note_can_lie_elsewhere(folder):
    keygen(folder, "alice")
    policy("sign", "baseline", "--key", "alice.key", "--sig", "notes.txt")

    verified = policy("verify", "baseline", "--keys", "trusted", "--sig", "notes.txt")

    assert (verified.exit_code, verified.stdout) == (0, "baseline: signed by alice\n")
