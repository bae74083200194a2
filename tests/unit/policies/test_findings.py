from datetime import UTC, datetime

import pytest

from policies.bundle import Pin
from policies.lint import lint
from policies.load import parse_policy, read_policy

GUARDED = '"spam" in scores && scores["spam"]'
NOW = datetime(2026, 11, 26, tzinfo=UTC)

CLEAN = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: ts@acme.example, effective: {until: 2027-12-31}}
categories:
  weapons: {severity: high, rationale: "because"}
  spam: {severity: critical, rationale: "because"}
redactors: {pii: {types: [email]}}
disclaimers: {care: {default: "mind", de: "Achtung"}}
rules:
  - id: no-weapons
    category: weapons
    classifiers: [encoder, judge, other]
    escalate_at: {judge: 0.4, other: 1}
    stages: [input]
    scope: {projects: [shop-*], tiers: [free]}
    when: user.strikes > 2 || "spam" in scores && scores["spam"] > 0.5
    locked: true
    bands: [{gte: 0.9, actions: [block, strike]}, {gte: 0.5, actions: [{redact: pii}]}]
    message: {user: {default: "no", de: "nein"}}
    tests: &tests
  - id: no-spam
    category: spam
    stages: [input]
    mode: shadow
    bands: [{gte: 0.8, actions: [flag, {disclaim: care}]}, {gte: 0.6, actions: [flag]}]
    tests: &spam
exceptions:
  - {id: EX-1, rule: no-weapons, scope: {projects: [shop-x]}, action: flag, from: 2026-11-01,
     until: 2027-02-01, reason: drill, approved_by: [a, b]}
enforcement: {strikes: {window: 30d, ladder: [{at: 1, do: warn}, {at: 3, do: suspend, for: 7d}]}}
""".replace(
    " &tests",
    """
      - {name: a, given: {stage: input, scores: {weapons: 0.9}, rungs: {judge: 0.9, other: 0.9},
         circumstances: {project: shop-a, tier: free, strikes: 3}}, expect: block}
      - {name: b, given: {stage: input, scores: {weapons: 0.9}, rungs: {judge: 0.5, other: 0.5},
         circumstances: {project: shop-a, tier: free, strikes: 3}}, expect: redact}
      - {name: c, given: {stage: input, scores: {weapons: 0.3}}, expect: allow}""",
).replace(
    " &spam",
    """
      - {name: a, given: {stage: input, scores: {spam: 0.8}}, expect: flag}
      - {name: b, given: {stage: input, scores: {spam: 0.6}}, expect: flag}
      - {name: c, given: {stage: input, scores: {spam: 0.5}}, expect: allow}""",
)


def codes(text, now=NOW, newest=None):
    return [finding.code for finding in lint(parse_policy(text.encode()), now, newest)]


def test_a_careful_policy_that_uses_everything_has_no_findings():
    assert codes(CLEAN) == []


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("until: 2027-12-31", "until: 2026-11-26", "expired-policy"),
        ("until: 2027-02-01", "until: 2026-11-26", "expired-exception"),
        ("until: 2027-02-01", "until: 2026-12-10", "expiring-exception"),
        ("until: 2027-02-01", "until: 2027-11-03", "long-exception"),
        ("rule: no-weapons, scope", "rule: no-spam, scope", "critical-exception"),
        ("projects: [shop-x]", "projects: [store-x]", "no-effect"),
        ("    locked: true", "    locked: true\n    mode: shadow", "locked-not-enforced"),
        ("    locked: true", "    locked: true\n    mode: {canary: 5}", "locked-not-enforced"),
        ("{judge: 0.4, other: 1}", "{judge: 1, other: 1}", "unreachable-judge"),
        ("when: user.strikes > 2 ||", "when: 2 > 1 ||", None),
        (
            'user.strikes > 2 || "spam" in scores && scores["spam"] > 0.5',
            "2 > 1",
            "constant-condition",
        ),
        (GUARDED, 'scores["spma"]', "unknown-category"),
        ('"nein"', '"nein", fr: "non"', "missing-translation"),
        ('care: {default: "mind", de: "Achtung"}', 'care: "mind"', "missing-translation"),
        ("types: [email]}", "types: [email]}, ids: {types: [ssn]}", "unused-redactor"),
        ("{disclaim: care}", "strike", "unused-disclaimer"),
        (", {at: 3, do: suspend, for: 7d}", "", "ladder-without-suspend"),
        ("[block, strike]", "[block]", "no-strikes"),
    ],
)
def test_what_is_probably_not_meant_is_found(old, new, code):
    assert old in CLEAN

    found = codes(CLEAN.replace(old, new))

    assert found == [] if code is None else code in found


def test_an_exception_that_leaves_as_much_as_the_rule_does_is_found():
    text = CLEAN.replace("category: spam", "category: spam\n    on_unavailable: flag").replace(
        "EX-1, rule: no-weapons", "EX-1, rule: no-spam"
    )

    assert "no-effect" in codes(text)


def test_without_a_clock_nothing_is_said_about_what_has_expired():
    assert codes(CLEAN.replace("until: 2027-02-01", "until: 2026-11-20"), now=None) == []


def test_a_look_up_of_what_no_rule_watches_has_to_be_asked_for_first():
    text = CLEAN.replace("  spam:", "  fraud: {rationale: x}\n  spam:")
    asked = text.replace(
        '"spam" in scores && scores["spam"]', '"fraud" in scores && scores["fraud"]'
    )
    blind = text.replace('"spam" in scores && scores["spam"]', 'scores["fraud"]')

    assert "unguarded-look-up" not in codes(asked)
    assert "unguarded-look-up" in codes(blind)


TWINS = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: ts@acme.example}
categories: {spam: {severity: low, rationale: "because"}}
rules:
  - &a id: one
    category: spam
    stages: [input]
    scope: {projects: [shop-*]}
    bands: [{gte: 0.8, actions: [flag]}]
  - id: two
    category: spam
    stages: [input, output]
    scope: {projects: ["*-test"]}
    bands: [{gte: 0.8, actions: [flag]}]
""".replace("&a ", "")


def test_rules_that_differ_in_scopes_that_overlap_are_found():
    assert "overlapping-scopes" in codes(TWINS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('["*-test"]', "[store-test]"),
        ("[input, output]", "[output]"),
        ("gte: 0.8, actions: [flag]}]\n  -", "gte: 0.7, actions: [flag]}]\n  -"),
    ],
)
def test_rules_that_differ_in_more_or_do_not_overlap_are_fine(old, new):
    assert old in TWINS
    assert "overlapping-scopes" not in codes(TWINS.replace(old, new))


def test_a_later_version_of_an_include_is_named(tmp_path):
    path = tmp_path / "acme.yaml"
    path.write_text(
        "apiVersion: ostiary/v1\nkind: Policy\n"
        "metadata: {id: acme, version: 1.0.0, owner: a@acme.example}\n"
        "includes: [{id: ostiary-baseline, version: ^1.0}]\n"
    )
    file = read_policy(path, pinned=False)
    later = {"acme": {"ostiary-baseline": Pin("1.99.0", "ab" * 32)}}

    [found] = lint(file, NOW, later)

    assert (found.line, found.code) == (4, "newer-include")
    assert "`ostiary-baseline` 1.99.0 (sha256 abababababab) is there" in found.message
    assert lint(file, NOW, file.bundle.lock) == ()
