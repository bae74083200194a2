"""The policies we ship, as files, together with the classifiers we ship."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from classifiers.panel import Panel
from classifiers.registry import build
from classifiers.types import Passage, Source
from gateway.cli import app
from gateway.settings import Settings
from policies.agent_rules import FLOWS, LIMITS, TOOLS
from policies.evaluate import evaluate
from policies.labelled import judge_examples, missed_floors, read_examples, read_floors, tallies
from policies.lint import lint
from policies.load import BUILTIN, PolicyError, builtin_names, failure, load_policy, read_policy
from policies.testing import judge_of, run_score_tests, run_text_tests
from policies.types import STAGE_OF, Action

EXAMPLES = BUILTIN / "examples"
FLOORS = read_floors((EXAMPLES / "floors.toml").read_bytes(), "floors.toml")
PANEL = Panel(build(Settings().classifiers))
JUDGE = judge_of(PANEL)


async def decide(source, text):
    policy = load_policy("baseline")
    stage = STAGE_OF[source]
    return evaluate(policy, stage, await JUDGE(policy, stage, Passage(source, text)))


@pytest.mark.parametrize("name", builtin_names())
async def test_every_inline_test_passes_with_the_embedded_classifiers(name):
    file = read_policy(name)
    outcomes = (
        *run_score_tests(file.policy, file.tests),
        *await run_text_tests(file.policy, file.tests, JUDGE),
    )

    assert [failure(outcome) for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) == len(file.tests)


@pytest.mark.parametrize("name", builtin_names())
def test_a_policy_we_ship_has_no_findings(name):
    assert lint(read_policy(name)) == ()


@pytest.mark.parametrize("name", builtin_names())
def test_every_category_we_rule_on_is_covered_by_the_embedded_classifiers(name):
    told = {FLOWS, LIMITS, TOOLS}  # by what happened, not by what somebody scored

    assert set(load_policy(name).categories) - told <= set(PANEL.covered)


def labelled(name):
    return read_examples((EXAMPLES / f"{name}.csv").read_bytes(), f"{name}.csv")


@pytest.mark.parametrize("name", builtin_names())
async def test_a_policy_we_ship_keeps_its_floors_on_its_labelled_set(name):
    floor = FLOORS[name]
    policy = load_policy(name)
    outcomes = await judge_examples(policy, labelled(name), floor.circumstances, JUDGE, name)

    assert list(missed_floors(tallies(outcomes).whole, floor)) == []


@pytest.mark.parametrize("name", builtin_names())
def test_a_labelled_set_is_half_look_alikes_and_knows_every_category(name):
    rows = labelled(name)
    negatives = sum(not row.label for row in rows)

    assert len(rows) >= 40
    assert 0.4 <= negatives / len(rows) <= 0.6
    told = {(row.text, row.stage, repr(row.past), row.secrets) for row in rows}
    assert len(told) == len(rows)
    # Limits are counted, and no text is near one.
    assert {row.category for row in rows} == set(load_policy(name).categories) - {LIMITS}


def test_the_figures_on_the_page_are_the_measured_ones():
    page = (Path(__file__).parents[3] / "docs" / "packs.md").read_text()
    said = re.findall(r"^\| `([a-z]+)` \| (\d+) \| (.+ %.+) \| (.+ %.+) \|$", page, re.MULTILINE)

    done = CliRunner().invoke(app, ["policy", "test", *builtin_names()])

    measured = re.findall(r"^  all +(\S+  \d+ % \(.+?\)) +(\S+  \d+ % \(.+?\))", done.stdout, re.M)
    assert done.exit_code == 0
    assert [tuple(row[2:]) for row in said] == measured
    assert [(row[0], int(row[1])) for row in said] == [
        (name, len(labelled(name))) for name in builtin_names()
    ]


def test_every_rule_and_every_program_is_on_the_page():
    page = (Path(__file__).parents[3] / "docs" / "packs.md").read_text()
    packs = [load_policy(name) for name in builtin_names() if name != "baseline"]

    unnamed = [rule.id for pack in packs for rule in pack.rules if f"`{rule.id}`" not in page]
    conditions = [rule.when.text for pack in packs for rule in pack.rules if rule.when]
    programs = {name for text in conditions for name in re.findall(r'"([a-z-]+)" in', text)}
    assert unnamed == []
    assert programs == {"bio", "cyber", "ai-research", "operations", "data-operations"}
    assert all(f"| `{program}` |" in page for program in programs)


def test_what_no_program_lifts_is_locked():
    locked = {
        rule.id for name in builtin_names() for rule in load_policy(name).rules if rule.locked
    }

    assert {
        "sexual-minors",
        "bio-outright",
        "bio-serious",
        "cyber-acted",
        "destroy-vital",
    } <= locked


async def test_a_credential_in_a_thought_stops_the_reply():
    decision = await decide(
        Source.ANALYSIS,
        "The key sk-proj-FAKE9tQ2vL7xW4mZ8bN3kR6yH1dJ5sP0gT2cU9eF4aX7 was rejected.",
    )

    assert decision.action is Action.BLOCK
    assert decision.determining_rules == ("secret-leak",)


async def test_a_card_number_in_a_reply_is_hidden_where_it_stands():
    text = "Your card 4111 1111 1111 1111 is active."
    decision = await decide(Source.FINAL, text)

    (redaction,) = decision.redactions
    assert decision.action is Action.REDACT
    assert text[redaction.span.start : redaction.span.end] == "4111 1111 1111 1111"
    assert redaction.span.kind == "card"


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PolicyError, match=r"missing\.yaml:1:1: cannot read the file: no such file"):
        load_policy(tmp_path / "missing.yaml")


def test_a_policy_that_fails_its_own_test_does_not_load(tmp_path):
    path = tmp_path / "mine.yaml"
    text = (
        (BUILTIN / "baseline.yaml")
        .read_text()
        .replace("violent: 0.90}}, expect: block", "violent: 0.90}}, expect: allow")
    )
    path.write_text(text)

    with pytest.raises(
        PolicyError, match=r"mine\.yaml:\d+:\d+: test `at the threshold` of rule `violent-crime`"
    ):
        load_policy(path)
