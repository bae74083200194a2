import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.load import PolicyError, parse_policy
from policies.types import Action, Mode, Rung, Stage

POLICY = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.2.3, owner: ts@acme.example}
defaults:
  on_unavailable: {input: review}
  deadline_ms: 250
categories:
  weapons: {severity: high, rationale: "because", clause: "1"}
rules:
  - id: no-weapons
    category: weapons
    stages: [input, output]
    bands:
      - {gte: 0.5, actions: [flag]}
      - {gte: 0.9, actions: [block, strike, {escalate: oncall}]}
    code: weapons
    message: {user: "no", developer: "weapons"}
    tests:
      - {name: high, given: {stage: input, scores: {weapons: 0.9}}, expect: block}
      - {name: low, given: {stage: input, scores: {weapons: 0.49}}, expect: allow}
"""


def parse(text=POLICY):
    return parse_policy(text.encode())


def changed(old, new):
    assert POLICY.count(old) >= 1
    return POLICY.replace(old, new, 1)


def mistakes(text):
    with pytest.raises(PolicyError) as caught:
        parse(text)
    return caught.value.lines()


def test_a_policy_says_what_its_file_says():
    policy = parse().policy
    (rule,) = policy.rules

    assert (policy.id, policy.version, policy.deadline_ms) == ("acme", "1.2.3", 250)
    assert policy.max_unscreened_chars == 0
    assert policy.categories["weapons"].severity == "high"
    assert rule.stages == {Stage.INPUT, Stage.OUTPUT}
    assert rule.mode is Mode.ENFORCE
    assert (rule.code, rule.user_message, rule.developer_message) == ("weapons", "no", "weapons")


def test_bands_are_sorted_and_carry_their_side_effects():
    upper, lower = parse().policy.rules[0].bands

    assert (upper.gte, upper.action, upper.strike, upper.escalate) == (
        0.9,
        Action.BLOCK,
        True,
        "oncall",
    )
    assert (lower.gte, lower.action, lower.strike, lower.escalate) == (
        0.5,
        Action.FLAG,
        False,
        None,
    )


def test_on_unavailable_is_the_rules_then_the_defaults_then_block():
    own = changed("    code: weapons\n", "    on_unavailable: {output: flag}\n")
    (rule,) = parse(own).policy.rules

    assert rule.on_unavailable[Stage.OUTPUT] is Action.FLAG
    assert rule.on_unavailable[Stage.INPUT] is Action.REVIEW
    assert rule.on_unavailable[Stage.REASONING] is Action.BLOCK


def test_one_word_for_on_unavailable_holds_at_every_stage():
    own = changed("    code: weapons\n", "    on_unavailable: flag\n")

    assert set(parse(own).policy.rules[0].on_unavailable.values()) == {Action.FLAG}


def test_comments_spacing_and_spelled_out_defaults_do_not_change_the_digest():
    spelled = changed(
        "stages: [input, output]", "stages: [input, output]  # both\n    mode: enforce"
    )

    assert parse(spelled).policy.digest == parse().policy.digest


def test_any_change_of_meaning_changes_the_digest():
    assert parse(changed("0.5", "0.51")).policy.digest != parse().policy.digest


def test_tests_keep_their_place():
    assert [(test.name, test.line) for test in parse().tests] == [("high", 19), ("low", 20)]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "category: weapons",
            "categry: weapons",
            "11:5: unknown key `categry`; did you mean `category`?",
        ),
        ("category: weapons", "", "10:5: key `category` is missing"),
        (
            "category: weapons",
            "category: weapon",
            "11:15: unknown category `weapon`; did you mean `weapons`?",
        ),
        (
            "[input, output]",
            "[inptu, output]",
            "12:14: unknown stage `inptu`; did you mean `input`?",
        ),
        ("[input, output]", "[]", "12:13: `stages`: list should have at least 1 item"),
        ("[input, output]", "[input, input]", "12:21: `input` is listed twice"),
        ("[flag]", "[flga]", "14:30: unknown action `flga`; did you mean `flag`?"),
        ("[flag]", "[flag, warn]", "14:9: a band takes one main action"),
        ("gte: 0.5", "gte: 1.5", "14:15: `gte`: input should be less than or equal to 1"),
        ("gte: 0.5", "gte: .nan", "14:15: `gte`: input should be a valid number"),
        ("gte: 0.5", "gte: true", "14:15: `gte`: input should be a valid number"),
        ("gte: 0.5", "gte: 0.9", "15:9: another band starts at 0.9 too"),
        ("gte: 0.9", "gte: 0.1", "15:9: of two bands, the higher one must not be the milder one"),
        ("expect: block", "expect: blok", "19:77: unknown action `blok`; did you mean `block`?"),
        (
            "stage: input, scores",
            "stage: reasoning, scores",
            "the rule does not apply at stage `reasoning`",
        ),
        (
            "scores: {weapons: 0.9}",
            "scores: {wepons: 0.9}",
            "19:53: unknown category `wepons`; did you",
        ),
        (", scores: {weapons: 0.9}", "", "19:29: a test gives either `text`, or `scores`"),
        ("input: review", "inputs: review", "5:20: unknown key `inputs`; did you mean `input`?"),
        ("input: review", "input: redact", "5:27: `redact` needs to know where"),
        ("deadline_ms: 250", "deadline_ms: 0", "6:16: `deadline_ms`: input should be greater"),
        (
            "deadline_ms: 250",
            "deadline_ms: 2.5",
            "6:16: `deadline_ms`: input should be a valid int",
        ),
        ("severity: high", "severity: hgh", "8:23: unknown severity `hgh`; did you mean `high`?"),
        ("version: 1.2.3", "version: 1.2", "3:31: `version`: input should be a valid string"),
        ("id: no-weapons", "id: No Weapons", "10:9: `id`: string should match pattern"),
        (
            "ostiary/v1",
            "ostiary/v2",
            "1:13: unknown apiVersion `ostiary/v2`; did you mean `ostiary/v1`?",
        ),
        ("kind: Policy", "kind: Policy\nkind: Policy", "3:1: key `kind` is given twice"),
        ("code: weapons", "mode: shadwo", "16:11: unknown mode `shadwo`; did you mean `shadow`?"),
    ],
)
def test_a_mistake_is_named_where_it_stands(old, new, line):
    assert any(line in mistake for mistake in mistakes(changed(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "rules:",
            "includes: [{id: acme-bas, version: ^1.0}]\nrules:",
            "9:12: policy.lock does not say which `acme-bas`; run `ostiary policy lock`",
        ),
        ("code: weapons", "when: user.strike < 3", "16:11: `when`: unknown name `user.strike`"),
        ("code: weapons", "when: user.strike < 3", "did you mean `user.strikes`?"),
        ("code: weapons", "when: user.strikes", "this is of type int"),
        ("code: weapons", "when: user.strikes + ", "`when`: syntax error"),
        ("code: weapons", "scope: {tiers: []}", "16:20: `tiers`: list should have at least 1"),
        ("code: weapons", "scope: {age_groups: [minro]}", "did you mean `minor`?"),
        ("code: weapons", "mode: {canary: 101}", "`canary`: input should be less than"),
        ("[flag]", "[{redact: pii}]", "14:39: unknown redactor `pii`"),
        ("[flag]", "[{disclaim: legal}]", "14:41: unknown disclaimer `legal`"),
        ("[flag]", "[{disclaim: a, redact: b}]", "14:30: an action with a name in it is one of"),
        ('user: "no"', 'user: {de: "nein"}', "need one for `default`"),
        ('user: "no"', 'user: {default: "", de: "", DE: ""}', "language `DE` is given twice"),
        ("owner:", "effective: {from: 2026-02-30}, owner:", "there is no moment `2026-02-30`"),
        (
            "owner:",
            "effective: {from: 2026-02-03, until: 2026-02-03}, owner:",
            "`until` has to come after `from`",
        ),
        ("rules:", "redactors: {pii: {types: [email], with: '\"'}}\nrules:", "`with`"),
        (
            "rules:",
            "enforcement: {strikes: {window: 30d, ladder: [{at: 3, do: suspend, for: 7d}, "
            "{at: 3, do: deactivate}]}}\nrules:",
            ": steps go up",
        ),
        (
            "rules:",
            "enforcement: {strikes: {window: 30d, ladder: [{at: 3, do: suspend, for: 7d}, "
            "{at: 4, do: warn}]}}\nrules:",
            "the higher one must not be the milder one",
        ),
    ],
)
def test_a_mistake_in_the_rest_of_the_language_is_named_where_it_stands(old, new, line):
    assert any(line in mistake for mistake in mistakes(changed(old, new)))


EXCEPTION = """\
exceptions:
  - {id: EX-1, rule: no-weapons, action: flag, from: 2026-11-01, until: 2026-12-01,
     reason: "an exercise", approved_by: [alice, bob]}
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("no-weapons", "no-weapon", "unknown rule `no-weapon`; did you mean `no-weapons`?"),
        ("2026-12-01", "2026-11-01", "`until` has to come after `from`"),
        ("[alice, bob]", "[alice]", "at least 2 items"),
        ("[alice, bob]", "[alice, Alice]", "an exception needs two different approvers"),
        ("action: flag", "action: redact", "an exception leaves one of `allow`, `flag`, `warn`"),
        ("until: 2026-12-01,", "", "key `until` is missing"),
    ],
)
def test_a_mistake_in_an_exception_is_named(old, new, line):
    assert any(line in mistake for mistake in mistakes(POLICY + EXCEPTION.replace(old, new)))


def test_an_exception_cannot_touch_a_rule_that_is_not_exemptible():
    (mistake,) = mistakes(changed("code: weapons", "exemptible: false") + EXCEPTION)

    assert "rule `no-weapons` is not exemptible" in mistake


def test_two_rules_cannot_share_an_id():
    (mistake,) = mistakes(POLICY + POLICY[POLICY.index("  - id:") :])

    assert mistake == "policy.yaml:21:9: rule id `no-weapons` is taken by the rule in line 10"


def test_all_mistakes_are_reported_in_file_order():
    text = (
        changed("kind: Policy", "kind: Polic")
        .replace("[flag]", "[flga]")
        .replace("  weapons:", "  Weapons:")
    )

    assert [line.split(": ")[0] for line in mistakes(text)] == [
        "policy.yaml:2:7",
        "policy.yaml:8:3",
        "policy.yaml:14:30",
    ]


def test_a_flood_of_mistakes_is_counted_rather_than_listed():
    lines = mistakes(POLICY + "".join(f"k{number}: 1\n" for number in range(1000)))

    assert len(lines) == 201
    assert lines[-1].endswith("and 800 more mistakes")


@pytest.mark.parametrize("text", ["", "[]", "just text", "null", "a: [", "rules: 5"])
def test_what_is_no_policy_at_all_is_refused(text):
    assert mistakes(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["id", "rules", "bands", "gte", "when", "on_unavailable", "input", "tests", "given"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
PARTS = ["metadata", "defaults", "categories", "rules"]


@given(st.sampled_from(PARTS), VALUES)
def test_any_part_in_any_shape_is_parsed_or_refused(part, value):
    lines = [line for line in POLICY.splitlines() if not line.startswith(" ")]
    kept = [line for line in lines if not line.startswith(part)]
    text = "\n".join([*kept, f"{part}: {json.dumps(value)}"])

    assert mistakes(text)


# --- Cascades -------------------------------------------------------------------------------

RULE = "    stages: [input, output]\n"


def cascade(classifiers, escalate_at):
    return changed(RULE, f"{RULE}    classifiers: {classifiers}\n    escalate_at: {escalate_at}\n")


@pytest.mark.parametrize(
    ("classifiers", "escalate_at", "together", "rungs"),
    [
        ("[encoder, safeguard]", "0.4", {"encoder"}, (Rung("safeguard", 0.4),)),
        (
            "[patterns, encoder, safeguard]",
            "0.4",
            {"patterns", "encoder"},
            (Rung("safeguard", 0.4),),
        ),
        (
            "[encoder, safeguard, guard]",
            "{guard: 0.6, safeguard: 0.4}",
            {"encoder"},
            (Rung("safeguard", 0.4), Rung("guard", 0.6)),
        ),
    ],
)
def test_the_last_classifiers_are_asked_in_doubt(classifiers, escalate_at, together, rungs):
    (rule,) = parse(cascade(classifiers, escalate_at)).policy.rules

    assert (rule.classifiers, rule.rungs) == (together, rungs)


@pytest.mark.parametrize(
    ("classifiers", "escalate_at", "message"),
    [
        ("[safeguard]", "0.4", "`escalate_at` needs a classifier that is asked first"),
        ("[]", "0.4", "`escalate_at` needs a classifier that is asked first"),
        ("[a, b]", "{a: 0.4, b: 0.4}", "`escalate_at` needs a classifier that is asked first"),
        ("[encoder, safeguard]", "{safegard: 0.4}", "`safegard` is not among the rule's"),
        ("[a, b, c]", "{b: 0.4}", "who is asked in doubt has to come last in `classifiers`"),
        ("[encoder, safeguard, encoder]", "0.4", "`encoder` is listed twice"),
        ("[encoder, safeguard]", "1.4", "less than or equal to 1"),
        ("[encoder, safeguard]", "{}", "at least 1 item"),
        ("[encoder, safeguard]", "high", "should be a valid number"),
    ],
)
def test_a_cascade_that_makes_no_sense_is_refused(classifiers, escalate_at, message):
    assert message in " ".join(mistakes(cascade(classifiers, escalate_at)))


def test_a_misspelt_judge_is_put_right():
    assert (
        "did you mean `safeguard`?"
        in mistakes(cascade("[encoder, safeguard]", "{safegard: 0.4}"))[0]
    )


def test_on_unsupported_language_is_the_rules_then_the_defaults_then_on_unavailable():
    own = "    on_unsupported_language: {output: allow}\n"
    (bare,) = parse().policy.rules
    (by_default,) = parse(
        changed("  deadline_ms", "  on_unsupported_language: flag\n  deadline_ms")
    ).policy.rules
    (stated,) = parse(changed("    code: weapons\n", own)).policy.rules

    assert bare.on_unsupported_language[Stage.INPUT] is Action.REVIEW
    assert by_default.on_unsupported_language == dict.fromkeys(Stage, Action.FLAG)
    assert stated.on_unsupported_language[Stage.OUTPUT] is Action.ALLOW
    assert stated.on_unsupported_language[Stage.INPUT] is Action.REVIEW


def test_a_judge_has_time_of_its_own():
    changed_text = changed("deadline_ms: 250", "deadline_ms: 250\n  judge_deadline_ms: 900")

    assert parse().policy.judge_deadline_ms == 5000
    assert parse(changed_text).policy.judge_deadline_ms == 900


def test_nothing_can_be_redacted_for_want_of_a_language():
    text = changed("    code: weapons\n", "    on_unsupported_language: redact\n")

    assert "nobody answered; use `block`" in mistakes(text)[0]
