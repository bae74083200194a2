import stat

import pytest

from gateway.evaluation.propose import category_of, change, checked, write
from gateway.evaluation.types import EvaluationError
from policies.load import BUILTIN, PolicyError, load_policy, parse_policy

POLICY = """\
# Ours; keep this comment.
apiVersion: ostiary/v1
kind: Policy
metadata: {id: small, version: 1.0.0, owner: a@b.example}
categories:
  violence:   {severity: high, rationale: "It hurts."}   # aligned by hand
  hate: {severity: high, rationale: "It hurts."}
rules:
  - id: no-violence
    category: violence   # a reason
    stages: [input, output]
    bands:
      - {gte: 0.90, actions: [block, strike]}  # strict
      - gte: 0.60   # loose
        actions: [flag]
    message:
      user: "No."
      developer: "violence reached 0.90, see 0.95"
    tests:
      - {name: at it, given: {stage: input, scores: {violence: 0.90}}, expect: block}
      - {name: just below, given: {stage: input, scores: {violence: 0.89}}, expect: flag}
      - {name: far below, given: {stage: input, scores: {violence: 0.30}}, expect: allow}
      - {name: at the other, given: {stage: input, scores: {violence: 0.60}}, expect: flag}
      - {name: a text, given: {stage: input, text: "a harmful text"}, expect: block}
  - id: no-hate
    category: hate
    stages: [input]
    bands: [{gte: 0.90, actions: [block]}]
    tests:
      - {name: at it, given: {stage: input, scores: {hate: 0.90}}, expect: block}
      - {name: below, given: {stage: input, scores: {hate: 0.2}}, expect: allow}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


async def harmful(policy, stage, passage):
    from classifiers.types import Assessment, Verdict

    scores = {"violence": 0.85, "hate": 0.0}
    verdicts = tuple(Verdict("a@1", category, score) for category, score in scores.items())
    return Assessment((passage,), (verdicts,), (), dict.fromkeys(scores, frozenset({"a@1"})))


def test_the_number_changes_and_what_goes_with_it(file):
    changed = change(file, "no-violence", 0.8125)

    expected = (
        POLICY.replace(
            "- {gte: 0.90, actions: [block, strike]}", "- {gte: 0.8125, actions: [block, strike]}"
        )
        .replace("reached 0.90,", "reached 0.8125,")
        .replace("scores: {violence: 0.90}", "scores: {violence: 0.8125}")
        .replace("scores: {violence: 0.89}", "scores: {violence: 0.8025}")
    )
    assert changed.after.decode() == expected
    assert (changed.action, changed.old, changed.new) == ("block", 0.9, 0.8125)


def test_nothing_is_written_by_looking(file):
    change(file, "no-violence", 0.8)

    assert file.read_text() == POLICY


def test_another_action_can_be_meant(file):
    changed = change(file, "no-violence", 0.5, "flag")

    expected = POLICY.replace("- gte: 0.60 ", "- gte: 0.50 ").replace(
        "scores: {violence: 0.60}", "scores: {violence: 0.50}"
    )
    assert changed.after.decode() == expected


async def test_a_change_that_passes_is_written_whole(file):
    file.chmod(0o640)
    changed = change(file, "no-violence", 0.81)
    await checked(changed, harmful)

    write(changed)

    assert load_policy(file).rules[0].bands[0].gte == 0.81
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["policy.yaml"]


async def test_a_text_that_would_be_let_through_stops_it(file):
    changed = change(file, "no-violence", 0.89)

    with pytest.raises(PolicyError, match="test `a text` of rule `no-violence` expects `block`"):
        await checked(changed, harmful)


async def test_a_test_far_from_the_threshold_stops_it(file):
    changed = change(file, "no-violence", 0.25, "flag")

    with pytest.raises(PolicyError, match="`far below`"):
        await checked(changed, harmful)


def test_a_policy_that_would_not_load_is_refused(file):
    with pytest.raises(PolicyError, match="the higher one must not be the milder one"):
        change(file, "no-violence", 0.4)


def test_a_file_that_was_changed_meanwhile_is_left_alone(file):
    changed = change(file, "no-violence", 0.8)
    file.write_text(POLICY + "# more\n")

    with pytest.raises(EvaluationError, match="the file changed meanwhile"):
        write(changed)
    assert file.read_text() == POLICY + "# more\n"


@pytest.mark.parametrize(
    ("rule", "action", "message"),
    [("no-such", None, "there is no rule `no-such`"), ("no-hate", "flag", "has no action `flag`")],
)
def test_what_is_not_there_is_named(file, rule, action, message):
    with pytest.raises(EvaluationError, match=message):
        change(file, rule, 0.5, action)


def test_a_built_in_policy_is_not_written(tmp_path):
    from pathlib import Path

    with pytest.raises(EvaluationError, match="`baseline` is built in"):
        category_of(Path("baseline"), "violent-crime")


def test_the_category_of_a_rule_is_found(file):
    assert category_of(file, "no-hate") == "hate"


def test_the_difference_is_shown(file):
    changed = change(file, "no-hate", 0.75)

    assert "-    bands: [{gte: 0.90, actions: [block]}]" in changed.diff()
    assert "+    bands: [{gte: 0.75, actions: [block]}]" in changed.diff()
    assert changed.diff().count("\n-") == 2


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks_stay(tmp_path, ending, mark):
    path = tmp_path / "policy.yaml"
    content = (mark + POLICY.replace("\n", ending)).encode()
    path.write_bytes(content)

    after = change(path, "no-hate", 0.75).after

    assert after == content.replace(
        b"[{gte: 0.90, actions: [block]}]", b"[{gte: 0.75, actions: [block]}]"
    ).replace(b"scores: {hate: 0.90}", b"scores: {hate: 0.75}")


@pytest.mark.parametrize("rule", [rule.id for rule in load_policy("baseline").rules])
def test_every_rule_of_the_baseline_can_be_changed(tmp_path, rule):
    path = tmp_path / "policy.yaml"
    path.write_bytes((BUILTIN / "baseline.yaml").read_bytes())
    own = next(each for each in load_policy(path).rules if each.id == rule)
    top = max(own.bands, key=lambda band: (band.action, -band.gte))

    changed = change(path, rule, min(1.0, top.gte + 0.013))

    found = next(each for each in parse_policy(changed.after).policy.rules if each.id == rule)
    assert min(b.gte for b in found.bands if b.action is top.action) == pytest.approx(changed.new)
    lines = zip(changed.before.splitlines(), changed.after.splitlines(), strict=True)
    assert sum(before != after for before, after in lines) <= 6
