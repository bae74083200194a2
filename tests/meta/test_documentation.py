"""What there is, is documented; and what is documented, works."""

import re
from pathlib import Path

import pytest
import typer

from gateway import errors
from gateway.cli import app
from gateway.metrics import Metrics
from gateway.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCES = [path for name in ("gateway", "model_runner") for path in (ROOT / name).rglob("*.py")]


def page(name):
    return (DOCS / f"{name}.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_documented_as_it_describes_itself(name):
    described = Settings.model_fields[name].description

    line = next(row for row in page("settings").splitlines() if f"`OSTIARY_{name.upper()}`" in row)
    assert line.endswith(f"| {described} |")


def error_codes():
    declared = {error.code for error in vars(errors).values() if hasattr(error, "code")}
    passed = set()
    for path in SOURCES:
        passed |= set(re.findall(r'code="([a-z_]+)"', path.read_text()))
    return declared | passed


@pytest.mark.parametrize("code", sorted(error_codes()))
def test_an_error_code_is_documented(code):
    assert f"`{code}`" in page("errors")


@pytest.mark.parametrize("metric", sorted(m.name for m in Metrics().registry.collect()))
def test_a_metric_is_documented(metric):
    assert re.search(rf"`{metric}(_total)?`", page("metrics"))


def commands(command, path="ostiary"):
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        return [path]
    return [line for name, sub in subcommands.items() for line in commands(sub, f"{path} {name}")]


@pytest.mark.parametrize("line", commands(typer.main.get_command(app)))
def test_a_command_is_documented(line):
    assert f"`{line}" in page("cli")


@pytest.mark.parametrize("target", ["serve", "test", "check", "docs"])
def test_the_readme_names_commands_that_exist(target):
    assert f"make {target}" in (ROOT / "README.md").read_text()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_link_in_the_readme_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())

    assert [link for link in links if not (ROOT / link).exists()] == []
