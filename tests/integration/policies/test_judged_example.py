"""The example of judges: its files load together, and every key in it is one that is known."""

import re
import tomllib
from pathlib import Path

import pytest

from classifiers.judges import configure
from classifiers.judges.configure import load_judges
from classifiers.judges.guard_file import read_guard
from classifiers.judges.sequence import read_label_map
from classifiers.judges.text_model import TextModel
from policies.lint import lint
from policies.load import parse_policy
from policies.testing import run_score_tests

EXAMPLES = Path(__file__).parents[3] / "examples" / "judges"
PAGE = Path(__file__).parents[3] / "docs" / "judges.md"


class Own:
    name = "own"


def uncommented():
    """Return the example with every judge that it only shows."""
    text = (EXAMPLES / "judges.toml").read_text()
    return re.sub(r"^# (?=\[\[judge|[a-z_]+ = )", "", text, flags=re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with the example's files; models in process are asked for elsewhere."""
    monkeypatch.setenv("SAFEGUARD_KEY", "k")
    monkeypatch.setenv("MODERATIONS_KEY", "k")
    (tmp_path / "legal-advice.md").write_text((EXAMPLES / "legal-advice.md").read_text())
    return tmp_path


def test_the_example_loads_as_it_stands():
    judges = load_judges(EXAMPLES / "judges.toml")

    assert [judge.name for judge in judges] == ["safeguard@1", "llama-guard@1"]
    assert "custom/legal-advice" in judges[0].categories


def test_the_judges_that_the_example_only_shows_load_too(folder):
    text = uncommented()
    assert sorted({judge["kind"] for judge in tomllib.loads(text)["judge"]}) == [
        *("guard", "moderations", "overseer", "safeguard", "sequence"),
    ]
    # Models in this process would be loaded; their entries are checked with an address.
    text = re.sub(r'\[\[judge\]\]\nname = "prompt-guard"\n(?:\w.*\n)+', "", text)
    text = text.replace('runner = "in-process"', 'url = "http://127.0.0.1:8003/v1"')
    (folder / "judges.toml").write_text(text)
    own: TextModel = Own()

    names = [judge.name for judge in load_judges(folder / "judges.toml", own)]

    assert names == [
        *("safeguard@1", "llama-guard@1", "overseer@1", "qwen-guard@1", "moderations@1", "own@1"),
    ]


def test_the_policy_of_the_example_is_without_findings_and_asks_judges_that_exist():
    file = parse_policy((EXAMPLES / "policy.yaml").read_bytes(), "policy.yaml")
    judges = {
        judge.name.partition("@")[0]: judge for judge in load_judges(EXAMPLES / "judges.toml")
    }

    assert lint(file) == ()
    assert [
        each.test.name for each in run_score_tests(file.policy, file.tests) if not each.passed
    ] == []
    for rule in file.policy.rules:
        for rung in rule.rungs:
            assert rule.category in judges[rung.classifier].categories


def fenced(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_judges_in_the_documentation_are_entries_that_are_accepted():
    for text in fenced("toml"):
        table = tomllib.loads(text)
        for judge in table.get("judge", ()):
            configure._entry(judge, "judges.md")
    assert sum("[[judge]]" in text for text in fenced("toml")) >= 5


def test_the_guard_and_the_label_map_in_the_documentation_are_read(tmp_path):
    for text in fenced("toml"):
        if "[prompt]" in text:
            (tmp_path / "own.toml").write_text(text)
            assert read_guard("own.toml", tmp_path).categories
            break
    else:
        pytest.fail("no guard is shown")
    [labels] = [text for text in fenced("toml") if "activation" in text]
    (tmp_path / "labels.toml").write_text(labels)
    assert read_label_map("labels.toml", tmp_path).file.labels
