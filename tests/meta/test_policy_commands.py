"""Every command on the page for authors prints what the page says."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "policy-commands.md").read_text()
FILES = dict(re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", PAGE, re.DOTALL))
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
COLORS = re.compile(r"\x1b\[[0-9;]*m")
TOOK = re.compile(r"\d+\.\d ms")


def commands(block):
    """Return each command of a block with what it prints."""
    return [
        (line, printed)
        for line, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)
    ]


class Terminal:
    """A terminal of 80 columns; what is piped into `cat` knows that it is none."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch
        self._status = 0

    def prints(self, line):
        if line == "echo $?":
            return f"{self._status}\n"
        program, *arguments = shlex.split(line.removesuffix(" | cat"))
        assert program == "ostiary"
        with self._monkeypatch.context() as environment:
            environment.setenv("COLUMNS", "80")
            if not line.endswith(" | cat"):
                environment.setenv("FORCE_COLOR", "1")
                environment.setenv("TERM", "xterm")
            done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        self._status = done.exit_code
        shown = TOOK.sub("1.0 ms", COLORS.sub("", done.output))
        return "".join(f"{row.rstrip()}\n" for row in shown.splitlines())


@pytest.fixture
def terminal(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSTIARY_CLASSIFIERS", '["patterns"]')
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal(monkeypatch)


def test_the_page_has_examples():
    assert {"shop.yaml", "shop-next.yaml", "careless.yaml", "branch.yaml"} <= FILES.keys()
    assert sum(len(commands(block)) for block in BLOCKS) >= 10


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][2:60])
def test_a_command_prints_what_the_page_says(block, terminal):
    assert [(line, terminal.prints(line)) for line, _ in commands(block)] == commands(block)
