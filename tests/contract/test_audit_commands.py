"""`ostiary audit checkpoint | export | proof | replay | verify | witness`, on a gateway's log."""

import hashlib
import json
import socket
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from gateway.audit.cosignature import cosignatures, parse_witness_key
from gateway.audit.log_key import FileLogKeys
from gateway.cli import app
from gateway.notes import parse_note, parse_verifier_key
from tests.contract.live import DONE, final, wait_until


def audit(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def said(*arguments):
    """Return what a command that must succeed says, as JSON."""
    done = audit(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def log(new_gateway, monkeypatch):
    """A gateway that has answered once; the commands read its settings."""
    gateway = new_gateway()
    settings = gateway.services.settings
    monkeypatch.setenv("OSTIARY_HOME", str(settings.home))
    monkeypatch.setenv("OSTIARY_DATABASE_URL", settings.database_url)
    gateway.script(final("Hello there."), DONE)
    gateway.client.responses.create(model=gateway.model, input="hi")
    deadline = time.monotonic() + 30
    while not _signed_all(gateway):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return gateway


def _signed_all(gateway):
    entries = audit("tail", "-n", "100", "--json").stdout.splitlines()
    ended = any(json.loads(line)["type"] == "request.completed" for line in entries)
    head = gateway.services.log_tree.head
    return ended and head is not None and head.size >= len(entries)


def test_an_auditor_verifies_what_the_operator_hands_over(log, tmp_path):
    key = said("checkpoint", "--key")["key"]
    older = tmp_path / "older"
    older.write_text(audit("checkpoint").stdout)
    exported = said("export", "--out", tmp_path / "log.tar")
    report = said("verify", tmp_path / "log.tar", "--key", key, "--since", older)

    assert str(parse_verifier_key(key)) == key == log.services.log_tree.verifier_key
    assert report["intact"]
    assert report["entries"] == exported["entries"] == report["size"]
    ready = log.http.get("/readyz").json()
    assert ready["log"]["checkpoint"]["size"] == report["since"]
    assert ready["log"]["alarm"] is None


def test_the_log_is_replayed_from_the_database_and_from_a_bundle(log, tmp_path):
    exported = said("export", "--out", tmp_path / "log.tar")
    database, bundle = said("replay"), said("replay", tmp_path / "log.tar")

    assert (database["equal"], database["compared"], database["missing"]) == (True, True, [])
    assert (bundle["equal"], bundle["compared"]) == (True, False)
    assert bundle["entries"] == exported["entries"]
    with sqlite3.connect(log.services.database.path) as connection:
        connection.execute("UPDATE api_keys SET scopes = 'admin reviewer'")
    done = audit("replay")
    assert (done.exit_code, "key " in done.stdout, "reviewer" in done.stdout) == (1, True, True)


def test_one_decision_is_proved(log, tmp_path):
    lines = audit("tail", "-n", "100", "--json").stdout.splitlines()
    decision = next(e for e in map(json.loads, lines) if e["type"] == "decision.recorded")
    key, path = said("checkpoint", "--key")["key"], tmp_path / "proof.json"
    assert audit("proof", decision["decision"]["id"], "--out", path).exit_code == 0

    assert said("verify", path, "--key", key)["first"] == json.loads(path.read_text())["index"]
    path.write_text(path.read_text().replace("allow", "block"))
    done = audit("verify", path, "--key", key)
    assert (done.exit_code, "TAMPERED" in done.stdout) == (1, True)


def test_what_is_made_for_an_auditor_is_told_for_machines_too(log, tmp_path):
    lines = audit("tail", "-n", "100", "--json").stdout.splitlines()
    decision = next(e for e in map(json.loads, lines) if e["type"] == "decision.recorded")
    key, path = said("checkpoint", "--key")["key"], tmp_path / "proof.json"
    made = said("proof", decision["id"])
    path.write_text(json.dumps(made))

    assert said("verify", path, "--key", key)["first"] == made["index"]
    assert said("proof", decision["id"], "--out", path) == {
        "file": str(path),
        "index": made["index"],
    }
    source = said("verifier")
    assert source["sha256"] == hashlib.sha256(source["source"].encode()).hexdigest()
    written = said("verifier", "--out", tmp_path / "v.py")
    assert written["sha256"] == hashlib.sha256((tmp_path / "v.py").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["csv", "parquet", "ocsf", "cef", "otel"])
def test_the_log_goes_into_other_programs(log, tmp_path, name):
    key, path = said("checkpoint", "--key")["key"], tmp_path / "log.tar"
    exported = said("export", "--format", name, "--out", path)
    report = said("verify", path, "--key", key)

    assert (report["intact"], report["what"]) == (True, f"export {name}/1")
    assert report["logs"][0]["entries"] == exported["entries"] > 3


@pytest.mark.parametrize("name", ["eu-ai-act", "nist-ai-rmf", "iso-42001", "soc2", "hipaa"])
def test_evidence_is_written_recorded_and_verified(log, tmp_path, name):
    key, path = said("checkpoint", "--key")["key"], tmp_path / "evidence.tar"
    made = said("evidence", "--framework", name, "--out", path, "--as", "ada")
    report = said("verify", path, "--key", key)

    assert (report["intact"], report["what"]) == (True, f"evidence {name}/1")
    assert made["entries"] == report["logs"][0]["entries"] > 3
    assert made["headings"]["gaps"] > 0
    lines = map(json.loads, audit("tail", "-n", "100", "--json").stdout.splitlines())
    [entry] = [each for each in lines if each["type"] == "access.exported"]
    assert (entry["actor"]["key"], entry["export"]["form"]) == ("cli:ada", f"evidence {name}")


def test_evidence_in_words_names_every_gap_it_found(log, tmp_path):
    done = audit("evidence", "--framework", "eu-ai-act", "--out", tmp_path / "e.tar")

    assert done.exit_code == 0
    assert "evidence for eu-ai-act/1 from" in done.stdout
    assert "gap: No witness has cosigned the log." in done.stdout
    assert "complian" not in done.stdout


def test_each_export_is_in_the_log_before_anything_is_written(log, tmp_path):
    since = datetime.now(UTC).isoformat()
    arguments = ["--since", since, "--out", tmp_path / "x.tar", "--as", "ada"]
    assert audit("export", "--format", "csv", *arguments).exit_code == 1  # nothing since

    lines = map(json.loads, audit("tail", "-n", "100", "--json").stdout.splitlines())
    [entry] = [each for each in lines if each["type"] == "access.exported"]
    assert entry["actor"] == {"key": "cli:ada"}
    assert entry["export"]["form"] == "csv"
    assert not (tmp_path / "x.tar").exists()


def test_an_export_in_a_format_needs_the_key_of_the_log_and_makes_none(log, tmp_path, monkeypatch):
    monkeypatch.setenv("OSTIARY_LOG_KEY", str(tmp_path / "no-key"))
    done = audit("export", "--format", "csv", "--out", tmp_path / "x.tar")

    assert (done.exit_code, (tmp_path / "no-key").exists()) == (2, False)
    assert "access.exported" not in audit("tail", "-n", "100").stdout


def test_a_witness_cosigns_once_and_wants_the_next_proof_from_there(log, tmp_path):
    key, secret = said("checkpoint", "--key")["key"], tmp_path / "w.key"
    assert CliRunner().invoke(app, ["policy", "keygen", "w", "--out", str(secret)]).exit_code == 0
    request = tmp_path / "request"
    request.write_text(audit("checkpoint", "--from", "0").stdout)
    arguments = [
        "witness",
        "cosign",
        request,
        "--key",
        secret,
        "--log-key",
        key,
        "--state",
        tmp_path / "s",
    ]

    elsewhere = said(*arguments[:-1], tmp_path / "t")
    assert (elsewhere["witness"][:2], "— w " in elsewhere["note"]) == ("w+", True)
    first, again = audit(*arguments), audit(*arguments)
    assert (first.exit_code, "— w " in first.stdout) == (0, True)
    assert (again.exit_code, "has seen" in again.output) == (1, True)


def test_the_logs_key_is_rotated_while_the_gateway_runs(log, tmp_path):
    old = said("checkpoint", "--key")["key"]
    done = said("rotate-key", "--reason", "once a year", "--as", "alice")
    assert (done["old"], said("checkpoint", "--key")["key"]) == (old, done["new"])
    deadline = time.monotonic() + 30
    while log.http.get("/readyz").json()["log"]["key"] != done["new"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert said("rotate-key", "--retire") == {"destroyed": 1}
    log.script(final("Hello again."), DONE)
    log.client.responses.create(model=log.model, input="hi")
    while log.services.log_tree.head.size <= done["size"] or not _signed_all(log):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    assert log.http.get("/readyz").json()["log"]["alarm"] is None
    said("export", "--out", tmp_path / "log.tar")
    for key in (old, done["new"]):
        assert said("verify", tmp_path / "log.tar", "--key", key)["keys"] == [old, done["new"]]
    assert json.loads(audit("checkpoint", "--key-changes").stdout) == [done["note"]]


def test_a_witness_over_http_cosigns_what_a_gateway_signs(new_gateway, monkeypatch, tmp_path):
    secret, log_key = tmp_path / "w.key", tmp_path / "log.key"
    made = CliRunner().invoke(app, ["policy", "keygen", "auditor", "--out", str(secret)])
    assert made.exit_code == 0
    known = FileLogKeys(log_key).held[0].verifier
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gateway.cli", "audit", "witness", "serve"]
    command += ["--key", secret, "--log-key", str(known), "--state", tmp_path / "seen"]
    with subprocess.Popen(
        [*command, "--port", str(port)], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as witness:
        key = witness.stderr.readline().strip()
        places = (f"http://127.0.0.1:{port} {key}",)
        gateway = new_gateway(log_key=str(log_key), witnesses=places)
        monkeypatch.setenv("OSTIARY_DATABASE_URL", gateway.services.settings.database_url)
        monkeypatch.setenv("OSTIARY_HOME", str(gateway.services.settings.home))

        def standing():
            [each] = gateway.http.get("/readyz").json()["log"]["witnesses"]
            return each if each["state"] == "up" else None

        assert wait_until(standing)["name"] == "auditor"
        assert 'ostiary_witness_state{state="up",witness="auditor"} 1.0' in (
            gateway.http.get("/metrics").text
        )
        note = parse_note(audit("checkpoint", "--witnessed").stdout.encode())
        assert cosignatures(note, [parse_witness_key(key)])
        witness.terminate()
        gateway.script(final("Hello there."), DONE)
        gateway.client.responses.create(model=gateway.model, input="hi")
        down = "witness auditor"
        assert wait_until(lambda: down in gateway.http.get("/readyz").json()["degraded"])
    assert gateway.http.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["verify", "none.tar", "--key", "log+00000000+x"], 2),
        (["verify", "none.tar"], 2),
        (["replay", "none.tar"], 2),
        (["export", "--out", "x.tar", "--since", "yesterday"], 2),
        (["export", "--out", "x.tar", "--format", "xml"], 2),
        (["evidence", "--out", "x.tar"], 2),
        (["evidence", "--out", "x.tar", "--framework", "none"], 2),
        (["evidence", "--out", "x.tar", "--framework", "soc2", "--until", "2001-01-01"], 1),
        (["export", "--out", "x.tar", "--shard", "1999h1"], 1),
        (["proof", "dec_unknown"], 1),
        (["rotate-key"], 2),
        (["rotate-key", "--retire", "--reason", "both"], 2),
        (["checkpoint", "--mldsa-key"], 1),
        (["grants", "--check"], 2),
    ],
)
def test_wrong_usage_and_what_is_not_there_have_their_status(log, arguments, status):
    assert audit(*arguments).exit_code == status
