import json

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from policies.bundle import read_lock
from policies.load import load_policy
from policies.schema import json_schema

BASE = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: base, version: 1.0.0, owner: ts@acme.example}
categories: {spam: {severity: low, rationale: "it is a nuisance"}}
rules:
  - {id: spam, category: spam, stages: [input], bands: [{gte: 0.8, actions: [flag]}]}
"""
SHOP = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: shop, version: 1.0.0, owner: ts@acme.example}
includes: [{id: base, version: "^1.0"}]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "shop.yaml").write_text(SHOP)
    return tmp_path


def ostiary(*arguments):
    return CliRunner().invoke(app, ["policy", *map(str, arguments)])


def test_a_policy_that_was_locked_loads(folder):
    done = ostiary("lock", folder / "shop.yaml")

    assert done.exit_code == 0
    assert done.stdout.startswith("shop: base 1.0.0 (sha256 ")
    assert [rule.id for rule in load_policy(folder / "shop.yaml").rules] == ["spam"]


def test_to_lock_again_changes_nothing(folder):
    ostiary("lock", folder / "shop.yaml")
    before = (folder / "policy.lock").read_bytes()

    done = ostiary("lock", folder / "shop.yaml", "--check")

    assert done.exit_code == 0
    assert "nothing to change" in done.stdout
    assert (folder / "policy.lock").read_bytes() == before


def test_a_check_says_what_would_change_and_changes_nothing(folder):
    ostiary("lock", folder / "shop.yaml")
    before = (folder / "policy.lock").read_bytes()
    (folder / "base.yaml").write_text(BASE.replace("1.0.0", "1.1.0"))

    done = ostiary("lock", folder / "shop.yaml", "--check", "--json")

    assert done.exit_code == 1
    [change] = json.loads(done.stdout)["changes"]
    assert change.startswith("shop: base 1.0.0 (sha256 ")
    assert " -> 1.1.0 (sha256 " in change
    assert (folder / "policy.lock").read_bytes() == before


def test_entries_of_other_policies_are_kept(folder):
    (folder / "store.yaml").write_text(SHOP.replace("id: shop", "id: store"))
    ostiary("lock", folder / "shop.yaml")
    ostiary("lock", folder / "store.yaml")

    assert set(read_lock((folder / "policy.lock").read_bytes())) == {"shop", "store"}


def test_the_entry_of_a_policy_that_includes_nothing_any_more_goes(folder):
    ostiary("lock", folder / "shop.yaml")
    (folder / "shop.yaml").write_text(BASE.replace("id: base", "id: shop"))

    done = ostiary("lock", folder / "shop.yaml")

    assert "shop: base is not included any more" in done.stdout
    assert read_lock((folder / "policy.lock").read_bytes()) == {}


def test_where_nothing_is_included_no_lock_is_written(folder):
    done = ostiary("lock", folder / "base.yaml")

    assert done.exit_code == 0
    assert not (folder / "policy.lock").exists()


def test_a_lock_that_is_no_lock_is_left_as_it_is(folder):
    (folder / "policy.lock").write_text("shop: {base: newest}\n")

    done = ostiary("lock", folder / "shop.yaml")

    assert done.exit_code == 1
    assert "policy.lock:1:14: this is not a policy lock" in done.stderr
    assert (folder / "policy.lock").read_text() == "shop: {base: newest}\n"


def test_the_schema_that_is_printed_is_the_models():
    assert json.loads(ostiary("schema").stdout) == json_schema()


UNTIDY = BASE.replace("kind: Policy\n", "").replace("apiVersion", "kind: Policy\napiVersion")


def test_a_file_is_printed_in_its_layout_and_left_alone(tmp_path):
    (tmp_path / "base.yaml").write_text(UNTIDY)

    done = ostiary("fmt", tmp_path / "base.yaml")

    assert done.exit_code == 0
    assert done.stdout == BASE
    assert (tmp_path / "base.yaml").read_text() == UNTIDY


def test_a_check_of_the_layout_answers_and_changes_nothing(tmp_path):
    (tmp_path / "base.yaml").write_text(UNTIDY)

    done = ostiary("fmt", tmp_path / "base.yaml", "--check")

    assert done.exit_code == 1
    assert done.stdout == f"{tmp_path / 'base.yaml'}: would be changed\n"
    assert (tmp_path / "base.yaml").read_text() == UNTIDY


def test_a_file_is_written_in_its_layout_once(tmp_path):
    (tmp_path / "base.yaml").write_text(UNTIDY)

    assert "base.yaml: changed" in ostiary("fmt", tmp_path / "base.yaml", "--write").stdout
    assert (tmp_path / "base.yaml").read_text() == BASE
    assert "nothing to change" in ostiary("fmt", tmp_path / "base.yaml", "--check").stdout


def test_what_is_no_policy_is_not_touched(tmp_path):
    (tmp_path / "base.yaml").write_text("rules: 3\n")

    done = ostiary("fmt", tmp_path / "base.yaml", "--write")

    assert done.exit_code == 1
    assert "base.yaml:1:8" in done.stderr
    assert (tmp_path / "base.yaml").read_text() == "rules: 3\n"


@pytest.mark.parametrize(
    "include", [(), ("--include", "baseline"), ("--include", "ostiary-minors")]
)
def test_a_new_policy_lints_clean_and_its_scores_decide_as_its_tests_say(tmp_path, include):
    path = tmp_path / "shop.yaml"

    done = ostiary("new", path, "--id", "shop", "--owner", "ts@shop.example", *include)

    assert done.exit_code == 0
    if include:
        assert done.stderr == f"next: ostiary policy lock {path}\n"
        assert ostiary("lock", path).exit_code == 0
    assert ostiary("lint", path).stdout == f"{path}: no findings\n"
    policy = load_policy(path)
    assert policy.id == "shop"
    assert "credential-leaves" in [rule.id for rule in policy.rules]
    assert "owner: ts@shop.example" in path.read_text()
    assert ostiary("fmt", path, "--check").exit_code == 0


def test_a_new_policy_never_takes_the_place_of_a_file(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text("mine")

    done = ostiary("new", path)

    assert done.exit_code == 2
    assert done.stderr == f"{path}: file exists\n"
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--id", "My Policy", "`id`: "),
        ("--include", "basline", "unknown policy `basline`; did you mean `baseline`?"),
    ],
)
def test_what_cannot_be_a_new_policy_is_refused(option, value, message):
    done = ostiary("new", option, value)

    assert done.exit_code in {1, 2}
    assert message in done.stderr
