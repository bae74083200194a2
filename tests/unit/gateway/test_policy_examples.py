import json

import pytest
from typer.testing import CliRunner

from gateway.cli import app

POLICY = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: mail, version: 1.0.0, owner: ts@acme.example}
categories: {pii.email: {severity: low, rationale: "it is a person's"}}
rules:
  - id: mail
    category: pii.email
    stages: [output]
    bands: [{gte: 0.9, actions: [redact]}]
    tests:
      - {name: at, given: {stage: output, scores: {pii.email: 0.9}}, expect: redact}
"""
ROWS = """\
text,label,stage,category
write to ada@example.org,1,output,pii.email
ada at the example office,1,output,pii.email
use the @cache decorator,0,output,pii.email
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTIARY_CLASSIFIERS", '["patterns"]')
    (tmp_path / "mail.yaml").write_text(POLICY)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "mail.csv").write_text(ROWS)
    return tmp_path


def measured(*sources):
    return CliRunner().invoke(app, ["policy", "test", *map(str, sources)])


def test_a_labelled_set_beside_a_policy_is_measured_with_intervals(folder):
    done = measured(folder / "mail.yaml")

    assert done.exit_code == 0
    assert "mail.yaml 1.0.0: 1 passed, 0 failed" in done.stdout
    assert "mail  1/2  50 % (9 to 91)" in done.stdout
    assert "0/1  0 % (0 to 79)" in done.stdout


def test_a_floor_that_is_missed_is_red(folder):
    (folder / "examples" / "floors.toml").write_text("[mail]\nrecall = 0.6\n")

    done = measured(folder / "mail.yaml")

    assert done.exit_code == 1
    assert "mail.csv: recall is 0.500, below its floor 0.6" in done.stdout


def test_a_ceiling_that_is_broken_is_red(folder):
    (folder / "examples" / "mail.csv").write_text(ROWS.replace("example.org,1", "example.org,0"))
    (folder / "examples" / "floors.toml").write_text("[mail]\nfalse_positives = 0.2\n")

    done = measured(folder / "mail.yaml")

    assert done.exit_code == 1
    assert "false positives are 0.500, above their ceiling 0.2" in done.stdout


def test_a_test_that_fails_is_red_whatever_was_measured(folder):
    (folder / "mail.yaml").write_text(POLICY.replace("expect: redact", "expect: allow"))

    done = measured(folder / "mail.yaml")

    assert done.exit_code == 1
    assert "0 passed, 1 failed" in done.stdout


def test_a_folder_stands_for_its_policies_and_for_nothing_else_in_it(folder):
    (folder / "second.yaml").write_text(POLICY.replace("id: mail,", "id: second,"))
    (folder / "attachments.yaml").write_text("apiVersion: ostiary/v1\nkind: Attachments\n")

    done = measured(folder)

    assert done.exit_code == 0
    assert "mail.yaml 1.0.0: 1 passed" in done.stdout
    assert "second.yaml 1.0.0: 1 passed" in done.stdout
    assert "attachments" not in done.stdout


def test_a_broken_policy_in_a_folder_is_not_overlooked(folder):
    (folder / "broken.yaml").write_text("kind: [\n")

    done = measured(folder)

    assert done.exit_code == 1
    assert "broken.yaml:" in done.stderr


def test_a_folder_without_a_policy_is_wrong_usage(tmp_path):
    done = measured(tmp_path)

    assert done.exit_code == 2
    assert "there is no policy in this folder" in done.stderr


def test_a_broken_set_is_named_with_its_line(folder):
    (folder / "examples" / "mail.csv").write_text(ROWS + "x,maybe,output,pii.email\n")

    done = measured(folder / "mail.yaml")

    assert done.exit_code == 2
    assert "mail.csv:5: a label is 1 or 0, not `maybe`" in done.stderr


def test_machines_get_a_row_for_each_test_for_the_whole_and_for_each_rule(folder):
    done = CliRunner().invoke(app, ["policy", "test", str(folder / "mail.yaml"), "--json"])

    test, whole, rule = (json.loads(line) for line in done.stdout.splitlines())
    assert (test["test"], test["passed"]) == ("at", True)
    assert (whole["rule"], rule["rule"]) == (None, "mail")
    assert (rule["caught"], rule["positives"], rule["recall"]) == (1, 2, 0.5)
    assert rule["recall_interval"] == pytest.approx([0.0945, 0.9055], abs=1e-3)
