from contextlib import AsyncExitStack

import pytest

from gateway.evaluation.types import EvaluationError, Row
from gateway.evaluation.who import Who, subjects_of

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: judged, version: 1.0.0, owner: tests@ostiary.example}
categories:
  hate: {severity: high}
rules:
  - id: judged-hate
    category: hate
    classifiers: [safeguard]
    stages: [input]
    bands:
      - {gte: 0.9, actions: [block]}
    tests:
      - {name: at the threshold, given: {stage: input, scores: {hate: 0.9}}, expect: block}
"""
JUDGES = '[[judge]]\nname = "safeguard"\nkind = "safeguard"\npolicies = ["hate"]\nrunner = "self"\n'


@pytest.fixture
def judges_file(tmp_path):
    path = tmp_path / "judges.toml"
    path.write_text(JUDGES)
    return str(path)


async def names_and_parts(**who):
    async with AsyncExitStack() as stack:
        subjects = await subjects_of(Who(**who), stack)
        return [(subject.name, [name for name, _ in subject.parts]) for subject in subjects]


async def test_a_judge_is_evaluated_by_its_name(judges_file):
    found = await names_and_parts(classifiers=("patterns", "safeguard"), judges_file=judges_file)

    assert found == [("patterns@1", ["patterns@1"]), ("safeguard@1", ["safeguard@1"])]


async def test_a_policy_is_evaluated_with_its_judges(judges_file, tmp_path):
    (tmp_path / "judged.yaml").write_text(POLICY)

    [(_, parts)] = await names_and_parts(
        policy=str(tmp_path / "judged.yaml"), installed=("patterns",), judges_file=judges_file
    )

    assert parts == ["policy judged 1.0.0", "patterns@1", "safeguard@1"]


async def test_a_judge_without_a_model_gives_no_answer(judges_file):
    async with AsyncExitStack() as stack:
        [judge] = await subjects_of(Who(("safeguard",), judges_file=judges_file), stack)
        answer = await judge.ask(Row("What a day", {}))

    assert answer.scores["hate"] is None
    assert answer.errors


@pytest.mark.parametrize(
    ("who", "message"),
    [
        ({"classifiers": ("safegard",)}, "did you mean `safeguard`?"),
        ({"classifiers": ("weather",)}, "known are `carried`, `encoder`"),
        ({"classifiers": ("patterns", "patterns")}, "something is to be evaluated twice"),
        ({"panel": ("patterns", "patterns")}, "two classifiers are named `patterns"),
        ({}, "give --classifier"),
    ],
)
async def test_a_wrong_name_is_told(judges_file, who, message):
    with pytest.raises(EvaluationError) as told:
        await names_and_parts(**who, judges_file=judges_file)

    assert message in str(told.value)
    assert "\n" not in str(told.value)


async def test_a_judges_file_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "judges.toml").write_text('[[judge]]\nname = "a"\nkind = "oracle"\n')

    with pytest.raises(EvaluationError, match="unknown kind `oracle`"):
        await names_and_parts(classifiers=("a",), judges_file=str(tmp_path / "judges.toml"))
