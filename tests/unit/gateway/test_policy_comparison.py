import json

import pytest
from typer.testing import CliRunner

from gateway.cli import app

BEFORE = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: shop, version: 1.0.0, owner: ts@acme.example}
categories: {weapons: {severity: high, rationale: uplift}}
rules:
  - id: no-weapons
    category: weapons
    stages: [input, output]
    bands: [{gte: 0.9, actions: [block, strike]}, {gte: 0.5, actions: [flag]}]
"""


@pytest.fixture
def diff(tmp_path):
    def run(after, *options):
        (tmp_path / "a.yaml").write_text(BEFORE)
        (tmp_path / "b.yaml").write_text(after)
        files = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
        return CliRunner().invoke(app, ["policy", "diff", *files, *options])

    return run


def test_equal_policies_are_equal_and_the_answer_is_yes(diff):
    done = diff(BEFORE.replace("1.0.0", "1.0.1"))

    assert done.exit_code == 0
    assert done.stdout == "shop 1.0.0 -> shop 1.0.1: EQUAL\n"


def test_a_tighter_policy_is_fine_and_the_case_is_shown(diff):
    done = diff(BEFORE.replace("0.9", "0.8"))

    assert done.exit_code == 0
    assert done.stdout == (
        "shop 1.0.0 -> shop 1.0.0: TIGHTER\n"
        "changed: no-weapons\n"
        "\n"
        "weapons at input, output: TIGHTER\n"
        "    flag -> block: a score of 0.8\n"
        "    EFFECTS DIFFER, only the second counts a strike: a score of 0.8\n"
    )


def test_a_looser_policy_is_refused_and_an_exception_says_when_and_for_whom(diff):
    exception = (
        "exceptions:\n  - {id: EX-1, rule: no-weapons, scope: {projects: [red]}, action: flag,\n"
        "     from: 2026-11-01, until: 2026-12-01, reason: drill, approved_by: [a, b]}\n"
    )

    done = diff(BEFORE + exception)

    assert done.exit_code == 1
    assert "LOOSER" in done.stdout
    assert (
        "    block -> flag: a score of 0.9; project red; at 2026-11-01T00:00:00Z\n" in done.stdout
    )
    assert "EFFECTS DIFFER, only the first counts a strike: " in done.stdout


def test_on_a_terminal_lines_are_folded_and_stay_further_in(diff, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")

    done = diff(BEFORE.replace("0.9", "0.8"))

    cases = done.stdout.splitlines()[4:]
    assert len(cases) == 3
    assert all(line.startswith("    ") and len(line) <= 40 for line in cases)


def test_machines_get_every_cell_with_its_witnesses(diff):
    done = diff(BEFORE.replace("0.9", "0.95").replace("0.5", "0.4"), "--json")

    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["relation"] == "INCOMPARABLE"
    assert said["rules"] == {"added": [], "removed": [], "changed": ["no-weapons"]}
    assert [cell["stage"] for cell in said["cells"]] == ["input", "output"]
    [cell, _] = said["cells"]
    assert cell["looser"]["answers"] == [{"by": [], "score": 0.9, "missing": []}]
    assert cell["looser"]["before"] == {"action": "block", "determining_rules": ["no-weapons"]}
    assert cell["looser"]["after"]["action"] == "flag"
    assert cell["tighter"]["answers"][0]["score"] == 0.4
    assert cell["looser"]["circumstances"]["project"] == "default"


def test_a_file_that_is_no_policy_is_named(diff):
    done = diff("rules: 3\n")

    assert done.exit_code == 1
    assert "b.yaml:1:1: key `apiVersion` is missing" in done.stderr
