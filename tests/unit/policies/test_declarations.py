import pytest

from policies.load import PolicyError, parse_policy

POLICY = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: ts@acme.example, effective: {from: 2026-01-01}}
categories: {weapons: {}}
redactors: {pii: {types: [email]}}
disclaimers: {careful: {default: "mind", de: "Vorsicht"}}
rules:
  - id: r1
    category: weapons
    stages: [output]
    when: user.strikes > 2
    bands:
      - {gte: 0.9, actions: [block, strike, {escalate: oncall}]}
      - {gte: 0.7, actions: [{redact: pii}]}
      - {gte: 0.5, actions: [{disclaim: careful}]}
    message: {user: {default: "no", de: "nein"}}
  - {id: r2, category: weapons, stages: [output], exemptible: false,
     bands: [{gte: 0.9, actions: [block]}]}
exceptions:
  - {id: EX-1, rule: r1, action: flag, from: 2026-01-01, until: 2026-02-01, reason: why,
     approved_by: [alice, bob]}
enforcement: {strikes: {window: 30d, ladder: [{at: 1, do: warn}, {at: 3, do: suspend, for: 7d}]}}
"""


def mistakes(old, new):
    assert POLICY.count(old) >= 1, old
    with pytest.raises(PolicyError) as caught:
        parse_policy(POLICY.replace(old, new, 1).encode())
    return caught.value.lines()


def test_the_policy_that_these_tests_break_is_whole():
    assert parse_policy(POLICY.encode()).policy.id == "acme"


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("redact: pii", "redact: pi", "14:39", "unknown redactor `pi`; did you mean `pii`?"),
        ("disclaim: careful", "disclaim: carefull", "15:41", "unknown disclaimer `carefull`"),
        ("{redact: pii}", "{redact: pii, escalate: x}", "14:", "one of `escalate`, `redact`"),
        ("{redact: pii}", "{}", "14:", "one of `escalate`, `redact`"),
        ("user.strikes > 2", "user.strike > 2", "11:11", "unknown name `user"),
        ("user.strikes > 2", "user.strikes", "11:11", "either true or false"),
        ("user.strikes > 2", "user.strikes > '2'", "11:11", "no matching overload"),
        ('default: "no", ', "", "16:", "need one for `default`"),
        ('de: "nein"', 'de: "nein", DE: "Nein"', "16:", "language `DE` is given twice"),
        ('default: "mind", ', "", "6:", "need one for `default`"),
        ("rule: r1", "rule: r3", "20:22", "unknown rule `r3`"),
        ("rule: r1", "rule: r2", "20:22", "rule `r2` is not exemptible"),
        ("action: flag", "action: redact", "20:", "not `redact`"),
        ("action: flag", "action: block", "20:", "not `block`"),
        ("until: 2026-02-01", "until: 2026-01-01", "20:", "`until` has to come after `from`"),
        ("until: 2026-02-01", "until: 2026-02-30", "20:", "there is no moment `2026-02-30`"),
        ("until: 2026-02-01", "until: 2026-02-01T24:30Z", "20:", "there is no moment"),
        ("[alice, bob]", "[alice, ' Alice']", "21:", "two different approvers"),
        ("[alice, bob]", "[alice]", "21:", "at least 2"),
        ("{from: 2026-01-01}", "{from: 2026-01-02, until: 2026-01-01}", "3:", "come after"),
        ("at: 3", "at: 1", "22:", "steps go up"),
        ("do: warn", "do: deactivate", "22:", "must not be the milder one"),
        ("[block, strike,", "[block, strike, strike,", "13:", "takes `strike` once"),
        ("[block, strike,", "[alert, block, alert,", "13:", "takes `alert` once"),
        ("[block, strike,", "[review, stop_conversation,", "13:", "nothing milder"),
        ("{redact: pii}", "stop_conversation", "14:", "must not be the milder one"),
        (
            "{escalate: oncall}]",
            "{escalate: oncall}, {escalate: boss}]",
            "13:",
            "takes `escalate` once",
        ),
    ],
)
def test_a_mistake_is_named_at_its_place(old, new, place, message):
    lines = mistakes(old, new)

    assert any(line.startswith(f"policy.yaml:{place}") and message in line for line in lines), lines


@pytest.mark.parametrize("locale", ["default", "de_AT", "d", "1"])
def test_a_scope_names_locales_that_somebody_can_have(locale):
    new = f"when: user.strikes > 2\n    scope: {{locales: [{locale}]}}"
    assert any("locales" in line for line in mistakes("when: user.strikes > 2", new))


def test_two_exceptions_of_one_name_are_refused():
    second = POLICY[POLICY.index("  - {id: EX-1") : POLICY.index("enforcement")]

    assert any(
        "`EX-1` is listed twice" in line for line in mistakes("enforcement", second + "enforcement")
    )


def test_a_policy_without_a_rule_and_without_an_include_is_refused():
    empty = "apiVersion: ostiary/v1\nkind: Policy\nmetadata: {id: a, version: 1.0.0, owner: x}\n"

    with pytest.raises(PolicyError, match="needs a rule"):
        parse_policy(empty.encode())
