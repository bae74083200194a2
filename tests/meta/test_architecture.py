"""What the architecture promises about imports and sizes."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "classifiers", "policies", "model_runner", "migrations")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
HEAVY = {"torch", "transformers", "fastapi", "sqlalchemy", "redis", "openai"}
NAMED_BOUNDARIES = {
    "classifiers/panel.py",
    "gateway/api/converse.py",
    "gateway/api/moderations.py",
    "gateway/audit/witnesses.py",
    "gateway/audit/writer.py",
    "gateway/oversight.py",
    "model_runner/batch.py",
    "model_runner/local.py",
}


def code_lines(function):
    """Count a function's lines without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


@pytest.mark.parametrize(
    "module", ["policies.load", "policies.evaluate", "classifiers.types", "gateway.cli"]
)
def test_importing_it_loads_nothing_heavy(module):
    code = f"import {module}, sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert HEAVY.isdisjoint(json.loads(done.stdout))


def test_serving_an_engine_over_http_loads_no_torch():
    code = "import gateway.app, model_runner.upstream, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_within_its_budget(path):
    source = path.read_text()
    tree = ast.parse(source)
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    too_long = [f.name for f in functions if code_lines(f) > 40]

    assert len(source.splitlines()) <= 400
    assert too_long == []
    if path.name == "__init__.py":
        assert len(tree.body) == 1, "`__init__.py` is one docstring"


def test_only_named_boundaries_catch_everything():
    catching = {
        str(path.relative_to(ROOT)) for path in SOURCES if "except Exception" in path.read_text()
    }

    assert catching <= NAMED_BOUNDARIES


def test_every_ignore_has_a_reason():
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for mark in ("# noqa", "# type: ignore")
        if mark in line and not line.split(mark, 1)[1].partition(" ")[2].strip(" -")
    ]

    assert bare == []


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    pinned = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    names = [name.split(">")[0].split("[")[0].lower().replace("_", "-") for name in wanted]

    assert [name for name in names if f"\n{name}==" not in pinned] == []
