"""What docs/agents.md shows is run: its policies load, pass their tests, and say what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from policies.lint import lint
from policies.load import parse_policy
from policies.testing import run_score_tests

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "agents.md").read_text()
DESK, FRAGMENT, RESULTS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
HEAD = "apiVersion: ostiary/v1\nkind: Policy\n"
HEAD += "metadata: {id: example, version: 1.0.0, owner: a@acme.example}\n"


def test_the_worked_example_is_without_findings_and_passes_its_tests():
    file = parse_policy(DESK.encode())

    assert lint(file) == ()
    assert all(outcome.passed for outcome in run_score_tests(file.policy, file.tests))


def test_the_rule_with_a_condition_of_its_own_passes_its_tests():
    file = parse_policy((HEAD + FRAGMENT).encode())

    outcomes = run_score_tests(file.policy, file.tests)

    assert [outcome.passed for outcome in outcomes] == [True, True]


def test_the_treatment_of_results_is_one():
    policy = parse_policy((HEAD + RESULTS).encode()).policy

    assert policy.terms.treatment("web_fetch").cut_at == 50000


def test_the_commands_say_what_the_page_says(tmp_path):
    (tmp_path / "desk.yaml").write_text(DESK)
    environment = {**os.environ, "OSTIARY_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    (block,) = re.findall(r"```text\n(\$ .*?)```", PAGE, re.DOTALL)
    for step in re.split(r"(?m)^\$ ", block)[1:]:
        command, _, shown = step.partition("\n") if "\\\n" not in step else _long(step)
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli", *shlex.split(command)[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        wanted = re.escape(shown.strip()).replace(r"\.\.\.", ".*")
        assert re.fullmatch(wanted, done.stdout.strip(), re.DOTALL), (command, done.stderr)


def _long(step):
    """A command of several lines, which ends with a quote at the end of a line."""
    command, quote, shown = step.rpartition("'\n")
    return command.replace("\\\n", " ") + quote, "", shown


def test_every_score_of_the_table_is_one_that_the_classifier_gives():
    from classifiers.carried import ELSEWHERE, HIDDEN, OF_CANARY, TOLD

    table = re.findall(r"^\| (\d\.\d\d) \|", PAGE, re.MULTILINE)

    assert [float(score) for score in table] == [OF_CANARY, TOLD, HIDDEN, ELSEWHERE]
