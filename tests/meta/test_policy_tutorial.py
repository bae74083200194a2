"""What docs/policies.md shows is run: its files load, its tests pass, its commands say that."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from policies.attachments import parse_attachments
from policies.lint import lint
from policies.load import parse_policy, read_policy
from policies.testing import run_score_tests

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policies.md").read_text()
YAML = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
NAMED = {m[1]: text for text in YAML if (m := re.match(r"# (\S+\.yaml)\n", text))}
FRAGMENTS = [text for text in YAML if "rules:" in text and not text.startswith("# ")]
HEAD = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: example, version: 1.0.0, owner: a@acme.example}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tutorial")
    for name, text in NAMED.items():
        (made / name).write_text(text)
    return made


def test_the_first_policy_is_without_findings_and_passes_its_tests(folder):
    file = read_policy(folder / "acme.yaml", pinned=False)

    assert lint(file) == ()
    assert all(outcome.passed for outcome in run_score_tests(file.policy, file.tests))


def test_the_attachments_are_attachments(folder):
    said = parse_attachments((folder / "attachments.yaml").read_bytes()).attachments

    assert said.profiles["research"].access == {"cyber"}


@pytest.mark.parametrize("number", range(len(FRAGMENTS)))
def test_a_fragment_is_part_of_a_policy_that_passes_its_tests(number):
    fragment = FRAGMENTS[number]
    if "\ncategories:" not in f"\n{fragment}":
        fragment = "categories: {illicit/violent: {rationale: harm}}\n" + with_bands(fragment)

    file = parse_policy((HEAD + fragment).encode())

    assert all(outcome.passed for outcome in run_score_tests(file.policy, file.tests))


def with_bands(fragment):
    """A rule that shows only whom it asks, made whole."""
    return fragment.rstrip() + "\n    stages: [input]\n    bands: [{gte: 0.5, actions: [block]}]\n"


def test_an_exception_is_one_of_the_rule_that_it_names():
    (exception,) = [text for text in YAML if text.startswith("exceptions:")]
    (texts,) = [text for text in FRAGMENTS if "redactors:" in text]

    policy = parse_policy((HEAD + texts + exception).encode()).policy

    assert policy.exceptions[0].rule == policy.rules[0].id


def steps():
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for step in re.split(r"(?m)^\$ ", block)[1:]:
            command, _, output = step.partition("\n")
            yield command, output


def test_the_commands_say_what_the_page_says(folder):
    environment = {
        **os.environ,
        "OSTIARY_HOME": str(folder / "home"),
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }
    ostiary = f"{shlex.quote(sys.executable)} -m gateway.cli"
    for command, shown in steps():
        done = subprocess.run(  # noqa: S602 - the commands of our own page
            re.sub(r"\bostiary\b", lambda _: ostiary, command, count=1),
            shell=True,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stderr)
        said = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip()
        wanted = re.escape(shown.strip()).replace(r"\.\.\.", ".*")
        assert re.fullmatch(wanted, said, re.DOTALL), (command, said)
