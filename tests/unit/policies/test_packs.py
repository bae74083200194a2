import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.document import read_document
from policies.labelled import Example
from policies.load import parse_policy
from policies.packs import Pack, pack_policy, quoted
from policies.testing import run_score_tests
from policies.types import Action, Stage

EXAMPLES = [
    Example("a", 'say "no"\nor: {yes}', True, Stage.INPUT),
    Example("b", "fine", False, Stage.OUTPUT),
    Example("c", "worse", True, Stage.INPUT),
]


def made(**changes):
    pack = Pack(
        **{"name": "own", "title": "Own", "category": "custom/own", "examples": EXAMPLES, **changes}
    )
    return parse_policy(pack_policy(pack).encode())


def test_a_pack_becomes_one_rule_that_asks_the_judge_at_the_stages_of_its_examples():
    (rule,) = made(judge="second").policy.rules

    assert (rule.id, rule.category, rule.classifiers) == ("own", "custom/own", {"second"})
    assert rule.stages == {Stage.INPUT, Stage.OUTPUT}
    assert [(band.gte, band.action) for band in rule.bands] == [(0.5, Action.BLOCK)]


def test_the_first_examples_of_each_label_become_tests_of_the_judge():
    texts = [(test.text, test.stage, test.expect) for test in made(tried=1).tests if test.text]

    assert texts == [
        ('say "no"\nor: {yes}', Stage.INPUT, Action.BLOCK),
        ("fine", Stage.OUTPUT, Action.ALLOW),
    ]


@pytest.mark.parametrize("threshold", [0.5, 0.85, 0.999])
def test_the_rule_passes_the_tests_it_comes_with(threshold):
    file = made(threshold=threshold)

    outcomes = run_score_tests(file.policy, file.tests)

    assert len(outcomes) == 3
    assert all(outcome.passed for outcome in outcomes)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_comes_back_from_its_quotes(text):
    assert read_document(f"a: {quoted(text)}\n".encode()).value == {"a": text}
