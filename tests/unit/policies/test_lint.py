import pytest

from policies.lint import lint
from policies.load import parse_policy, read_policy

CLEAN = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: ts@acme.example}
categories:
  weapons: {severity: high, rationale: "because"}
rules:
  - id: no-weapons
    category: weapons
    stages: [input]
    bands:
      - {gte: 0.9, actions: [block]}
      - {gte: 0.5, actions: [flag]}
    message: {user: "no"}
    tests:
      - {name: high, given: {stage: input, scores: {weapons: 0.9}}, expect: block}
      - {name: boundary, given: {stage: input, scores: {weapons: 0.5}}, expect: flag}
      - {name: low, given: {stage: input, scores: {weapons: 0.4}}, expect: allow}
"""


BOUNDARY = "      - {name: boundary, given: {stage: input, scores: {weapons: 0.5}}, expect: flag}"


def findings(text):
    return [(finding.line, finding.code) for finding in lint(parse_policy(text.encode()))]


def test_a_careful_policy_has_no_findings():
    assert findings(CLEAN) == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        (
            "      - {name: high, given: {stage: input, scores: {weapons: 0.9}}, expect: block}\n",
            "",
            (7, "missing-boundary-test"),
        ),
        (
            "      - {name: low, given: {stage: input, scores: {weapons: 0.4}}, expect: allow}\n",
            "",
            (7, "missing-test"),
        ),
        (
            "expect: block}\n" + BOUNDARY,
            "expect: allow}",
            (7, "missing-test"),
        ),
        ("actions: [flag]", "actions: [block]", (11, "unreachable-band")),
        ("gte: 0.5, actions", "gte: 0, actions", (11, "always-matches")),
        ("actions: [flag]", "actions: [allow]", (11, "no-effect")),
        ("    message:", "    on_unavailable: flag\n    message:", (7, "open-on-failure")),
        ('    message: {user: "no"}\n', "", (7, "missing-message")),
        ("rules:", "  spam: {rationale: x}\nrules:", (6, "unused-category")),
        (', rationale: "because"', "", (5, "missing-rationale")),
    ],
)
def test_what_is_probably_not_meant_is_found(old, new, finding):
    assert old in CLEAN
    assert finding in findings(CLEAN.replace(old, new))


def test_a_mark_may_be_open_on_failure():
    text = CLEAN.replace("      - {gte: 0.9, actions: [block]}\n", "").replace(
        "    message:", "    on_unavailable: flag\n    message:"
    )

    assert "open-on-failure" not in [code for _, code in findings(text)]


def test_what_a_judge_says_at_the_boundary_tests_it_too():
    text = CLEAN.replace(
        "    stages:", "    classifiers: [encoder, judge]\n    escalate_at: 0.2\n    stages:"
    )
    low = "      - {name: low, given: {stage: input, scores: {weapons: 0.4}}, expect: allow}\n"
    judged = "      - {name: judged, given: {stage: input, rungs: {judge: 0.5}}, expect: flag}\n"
    text = text.replace(BOUNDARY + "\n", "").replace(low, low.replace("0.4", "0.1"))
    assert "missing-boundary-test" in [code for _, code in findings(text)]

    said = judged.replace("rungs:", "scores: {weapons: 0.3}, rungs:")

    assert findings(text + said) == []


def test_what_is_included_is_its_own_files_business(tmp_path):
    path = tmp_path / "acme.yaml"
    path.write_text(
        "apiVersion: ostiary/v1\nkind: Policy\n"
        "metadata: {id: acme, version: 1.0.0, owner: a@acme.example}\n"
        "includes: [{id: ostiary-baseline, version: ^1.0}]\n"
    )

    assert lint(read_policy(path, pinned=False)) == ()
