import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import nextafter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.types import Assessment, Passage, Source, Verdict
from policies.answers import ear_of, points, roles_of
from policies.apply import apply
from policies.circumstances import ANYBODY, AgeGroup, Circumstances, Scope
from policies.compare import Relation, compare
from policies.conditions import compile_condition
from policies.evaluate import evaluate
from policies.load import parse_policy, read_policy
from policies.types import (
    Action,
    Band,
    Mode,
    Policy,
    PolicyException,
    Redactor,
    Rule,
    Rung,
    Stage,
)

DAY = datetime(2026, 6, 1, tzinfo=UTC)
CATEGORIES = ("weapons", "spam")
STAGES = (Stage.INPUT, Stage.OUTPUT)
MIRRORED = {
    Relation.TIGHTER: Relation.LOOSER,
    Relation.LOOSER: Relation.TIGHTER,
    Relation.EQUAL: Relation.EQUAL,
    Relation.INCOMPARABLE: Relation.INCOMPARABLE,
}


def rule(rule_id="r", action=Action.BLOCK, gte=0.8, **changes):
    return Rule(
        **{
            "id": rule_id,
            "category": "weapons",
            "stages": frozenset({Stage.INPUT}),
            "bands": (Band(gte, action),),
            "on_unavailable": dict.fromkeys(Stage, Action.BLOCK),
        }
        | changes
    )


def policy(*rules, **changes):
    return Policy("p", "1.0.0", "00", rules, **changes)


def relation(before, after):
    return compare(policy(*before), policy(*after)).relation


def cell(before, after):
    [only] = compare(before, after).cells
    return only


# --- What a person would say ---------------------------------------------------------------


def test_a_lower_threshold_is_tighter_and_the_witness_lies_between_the_two():
    found = cell(policy(rule(gte=0.9)), policy(rule(gte=0.8)))

    assert found.relation is Relation.TIGHTER
    [answer] = found.tighter.answers
    assert answer.score == 0.8
    assert (found.tighter.before.action, found.tighter.after.action) == (Action.ALLOW, Action.BLOCK)


def test_what_is_stricter_here_and_milder_there_is_incomparable():
    mixed = rule(bands=(Band(0.9, Action.BLOCK), Band(0.5, Action.FLAG)))

    found = cell(policy(rule()), policy(mixed))

    assert found.relation is Relation.INCOMPARABLE
    assert found.tighter.answers[0].score == 0.5
    assert found.looser.answers[0].score == 0.8


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"mode": Mode.SHADOW}, Relation.LOOSER),
        ({"mode": Mode.CANARY, "canary_percent": 5}, Relation.LOOSER),
        ({"mode": Mode.CANARY, "canary_percent": 100}, Relation.EQUAL),
        ({"scope": Scope(projects=("shop-*",))}, Relation.LOOSER),
        ({"scope": Scope(projects=("*",))}, Relation.EQUAL),
        ({"scope": Scope(age_groups=("minor", "adult", "unknown"))}, Relation.EQUAL),
        ({"when": compile_condition("user.strikes > 2")}, Relation.LOOSER),
        ({"on_unavailable": dict.fromkeys(Stage, Action.FLAG)}, Relation.LOOSER),
        (
            {"on_unsupported_language": dict.fromkeys(Stage, Action.FLAG)},
            Relation.LOOSER,
        ),
        ({"bands": (Band(0.8, Action.BLOCK), Band(0.9, Action.BLOCK))}, Relation.EQUAL),
        ({"classifiers": frozenset({"encoder"})}, Relation.LOOSER),  # others are not heard
        ({"user_message": "no"}, Relation.EQUAL),
        ({"stages": frozenset({Stage.INPUT, Stage.OUTPUT})}, Relation.TIGHTER),
        (
            {"classifiers": frozenset({"encoder"}), "rungs": (Rung("judge", 0.5),)},
            Relation.INCOMPARABLE,
        ),
    ],
)
def test_a_change_of_one_rule_is_named(change, expected):
    assert relation([rule()], [rule(**change)]) is expected


def test_a_judge_that_may_acquit_is_seen_in_the_witness():
    found = cell(
        policy(rule(classifiers=frozenset({"encoder"}))),
        policy(rule(classifiers=frozenset({"encoder"}), rungs=(Rung("judge", 0.5),))),
    )

    said = {answer.by: answer.score for answer in found.looser.answers}
    assert said[("encoder",)] >= 0.8
    assert said[("judge",)] < 0.8


def test_an_exception_is_looser_only_while_it_is_in_force_and_the_witness_says_when():
    exception = PolicyException("EX-1", "r", Action.FLAG, DAY, DAY + timedelta(days=1))

    found = cell(policy(rule()), policy(rule(), exceptions=(exception,)))

    assert found.relation is Relation.LOOSER
    assert found.looser.situation.at == DAY
    assert found.looser.after.outcomes[0].exception == "EX-1"


def test_what_an_exception_hides_is_seen_when_it_is_over():
    exception = PolicyException("EX-1", "r", Action.ALLOW, DAY, DAY + timedelta(days=1))
    before, after = (policy(rule(gte=gte), exceptions=(exception,)) for gte in (0.9, 0.8))

    found = cell(before, after)

    assert found.relation is Relation.TIGHTER
    assert found.tighter.situation.at == exception.until


def test_a_share_of_a_canary_is_compared_by_an_end_user_who_is_in_it():
    small = rule(mode=Mode.CANARY, canary_percent=5)
    large = rule(mode=Mode.CANARY, canary_percent=20)

    found = cell(policy(small), policy(large))

    assert found.relation is Relation.TIGHTER
    assert found.exhaustive
    who = found.tighter.situation.given
    assert apply(policy(small), who, DAY).rules[0].mode is Mode.SHADOW
    assert apply(policy(large), who, DAY).rules[0].mode is Mode.ENFORCE


def test_two_scopes_that_overlap_need_a_name_that_is_in_both():
    before = [rule(scope=Scope(projects=("shop-*",)))]
    after = [rule(scope=Scope(projects=("shop-*",))), rule("s", scope=Scope(projects=("*-test",)))]

    found = cell(policy(*before), policy(*after))

    assert found.relation is Relation.TIGHTER
    assert found.tighter.situation.given.project.endswith("-test")
    assert not found.tighter.situation.given.project.startswith("shop-")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("user.strikes > 2", "user.strikes >= 3", Relation.EQUAL),
        ("user.strikes > 2", "user.strikes > 1", Relation.TIGHTER),
        ("user.strikes > 2", "user.strikes > 2 && request.stream", Relation.LOOSER),
        ("user.strikes > 2", "request.stream", Relation.INCOMPARABLE),
        ("user.strikes > 2", "user.strikes > 2 || true", Relation.TIGHTER),
        ("'a' in request.tools", "size(request.tools) > 0", Relation.TIGHTER),
        ("score > 0.9", "score > 0.9", Relation.EQUAL),
        ("score > 0.9", "score > 0.8", Relation.INCOMPARABLE),  # that is not looked into
    ],
)
def test_simple_conditions_are_compared_by_what_they_mean(before, after, expected):
    one, other = (rule(when=compile_condition(text)) for text in (before, after))

    assert relation([one], [other]) is expected


def test_the_witness_of_a_condition_names_a_request():
    found = cell(policy(rule()), policy(rule(when=compile_condition("user.strikes < 4"))))

    assert found.looser.facts == {"user.strikes": 4}


def test_an_unknown_condition_counts_as_a_case_of_its_own():
    when = compile_condition("scores['spam'] > 0.5")
    open_on_error = rule(when=when, on_unavailable=dict.fromkeys(Stage, Action.FLAG))
    flags = rule(action=Action.FLAG, gte=0.5, when=when)

    found = cell(policy(flags), policy(replace(flags, on_unavailable=open_on_error.on_unavailable)))

    assert found.relation is Relation.LOOSER
    assert found.looser.conditions == () or None in dict(found.looser.conditions).values()


def test_effects_are_told_apart_from_the_action():
    found = cell(
        policy(rule(bands=(Band(0.8, Action.BLOCK, strike=True),))),
        policy(rule(bands=(Band(0.8, Action.BLOCK, escalate="oncall"),))),
    )

    assert found.relation is Relation.EQUAL
    assert {(each.what, each.gained) for each in found.effects} == {
        ("counts a strike", False),
        ("tells oncall", True),
    }


def test_a_stop_and_an_alert_are_effects_of_their_own():
    found = cell(
        policy(rule(bands=(Band(0.8, Action.BLOCK, alert=True),))),
        policy(rule(bands=(Band(0.8, Action.BLOCK, stop=True),))),
    )

    assert found.relation is Relation.EQUAL
    assert {(each.what, each.gained) for each in found.effects} == {
        ("stops the conversation", True),
        ("raises an alert", False),
    }


def test_what_two_redactors_hide_is_told_apart():
    hides = rule(bands=(Band(0.8, Action.REDACT, redactor="pii"),))
    before = policy(hides, redactors={"pii": Redactor(frozenset({"email", "phone"}))})
    after = policy(hides, redactors={"pii": Redactor(frozenset({"email"}), "***")})

    found = cell(before, after)

    assert found.relation is Relation.EQUAL
    assert {(each.what, each.gained) for each in found.effects} >= {
        ("hides phone as `[{type}]`", False),
        ("hides email as `[{type}]`", False),
        ("hides email as `***`", True),
    }


def test_a_disclaimer_in_another_language_alone_is_an_effect():
    adds = rule(bands=(Band(0.8, Action.FLAG, disclaimer="care"),))
    before = policy(adds, disclaimers={"care": {"": "take care"}})
    after = policy(adds, disclaimers={"care": {"": "take care", "de": "Vorsicht"}})

    found = cell(before, after)

    assert {(each.what, each.gained) for each in found.effects} == {
        ("adds `take care`", False),
        ("adds `Vorsicht`", True),
    }
    assert found.effects[0].witness.situation.given.locale == "de"


def test_what_redacts_where_the_other_blocks_is_no_effect():
    found = cell(policy(rule()), policy(rule(action=Action.REDACT)))

    assert found.relation is Relation.LOOSER
    assert found.effects == ()


def test_a_larger_leak_budget_is_looser():
    compared = compare(policy(rule()), policy(rule(), max_unscreened_chars=100))

    assert compared.relation is Relation.LOOSER
    assert [setting.name for setting in compared.settings] == ["max_unscreened_chars"]


def test_to_wait_for_the_log_is_tighter_than_to_spool():
    compared = compare(policy(rule(), spools=True), policy(rule()))

    assert compared.relation is Relation.TIGHTER
    [setting] = compared.settings
    assert (setting.name, setting.before, setting.after) == (
        "durability",
        "spool",
        "before_response",
    )


def test_rules_that_came_went_and_changed_are_listed():
    compared = compare(policy(rule("a"), rule("b")), policy(rule("b", gte=0.7), rule("c")))

    assert (compared.added, compared.removed, compared.changed) == (("c",), ("a",), ("b",))


def test_what_we_ship_is_equal_to_itself():
    baseline = read_policy("baseline").policy

    compared = compare(baseline, baseline)

    assert compared.relation is Relation.EQUAL
    assert compared.exhaustive
    assert not any(found.effects for found in compared.cells)


def test_a_comparison_that_would_be_too_long_says_that_it_is_not_exhaustive(monkeypatch):
    rules = [
        rule(name, gte=0.1 + number / 10, classifiers=frozenset({name}))
        for number, name in enumerate("abc")
    ]
    assert cell(policy(*rules), policy(*rules)).exhaustive
    monkeypatch.setattr("policies.compare.MOST_POINTS", 100)

    found = cell(policy(*rules), policy(*rules))

    assert found.relation is Relation.EQUAL
    assert not found.exhaustive


def test_full_answers_are_tried_before_missing_ones():
    rules = [rule(classifiers=frozenset({"a"})), rule(classifiers=frozenset({"b"}))]
    roles = roles_of(rules)

    tried, whole = points(roles, [ear_of(each, roles) for each in rules], 9)

    assert not whole
    assert not any(
        role.options[at].missing for point in tried for role, at in zip(roles, point, strict=True)
    )


# --- Laws ----------------------------------------------------------------------------------

THRESHOLDS = st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0])
ACTIONS = st.sampled_from(Action)
NAMES = st.sampled_from(["a", "ab", "a*", "*b", "*", "c"])
CONDITIONS = [
    compile_condition(text)
    for text in ("user.strikes > 2", "score > 0.6", "scores['spam'] > 0.5", "request.stream")
]


@st.composite
def bands(draw):
    found = draw(st.dictionaries(THRESHOLDS, ACTIONS, min_size=1, max_size=3))
    actions = sorted(found.values())
    return tuple(
        Band(gte, action, strike=draw(st.booleans()))
        for gte, action in zip(sorted(found), actions, strict=True)
    )[::-1]


@st.composite
def scopes(draw):
    names = st.none() | st.lists(NAMES, min_size=1, max_size=2).map(tuple)
    ages = st.none() | st.lists(st.sampled_from(["minor", "adult"]), min_size=1).map(tuple)
    tags = st.none() | st.lists(st.sampled_from(["de", "de-AT", "fr"]), min_size=1).map(tuple)
    return Scope(projects=draw(names), age_groups=draw(ages), locales=draw(tags))


@st.composite
def rules(draw, rule_id):
    classifiers = draw(
        st.sampled_from([frozenset(), frozenset({"one"}), frozenset({"one", "two"})])
    )
    judged = bool(classifiers) and draw(st.booleans())
    escalate = draw(THRESHOLDS)
    fallback = st.fixed_dictionaries(dict.fromkeys(STAGES, ACTIONS))
    mode = draw(st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.SHADOW, Mode.CANARY]))
    return Rule(
        id=rule_id,
        category=draw(st.sampled_from(CATEGORIES)),
        stages=frozenset(draw(st.lists(st.sampled_from(STAGES), min_size=1))),
        bands=draw(bands()),
        on_unavailable=draw(fallback),
        on_unsupported_language=draw(st.just({}) | fallback),
        classifiers=classifiers,
        rungs=(Rung("judge", escalate),) if judged else (),
        mode=mode,
        canary_percent=draw(st.sampled_from([0, 30, 60, 100])),
        scope=draw(st.just(Scope()) | scopes()),
        when=draw(st.none() | st.sampled_from(CONDITIONS)),
        exemptible=draw(st.booleans()),
    )


@st.composite
def policies(draw, prefix="r"):
    count = draw(st.integers(1, 3))
    own = [draw(rules(f"{prefix}{number}")) for number in range(count)]
    exceptions = tuple(
        PolicyException(
            f"EX-{number}",
            draw(st.sampled_from(own)).id,
            draw(st.sampled_from([Action.ALLOW, Action.FLAG, Action.WARN])),
            DAY + timedelta(days=start),
            DAY + timedelta(days=start + draw(st.integers(1, 5))),
            draw(scopes()),
        )
        for number, start in enumerate(draw(st.lists(st.integers(0, 9), max_size=2)))
    )
    return policy(*own, exceptions=exceptions)


def somebody(chance):
    return Circumstances(
        project=chance.choice(["a", "ab", "axb", "xb", "c", "other"]),
        age_group=chance.choice([*AgeGroup]),
        locale=chance.choice(["", "de", "de-AT", "de-CH", "fr-FR", "it"]),
        stream=chance.random() < 0.5,
        strikes=chance.randrange(6),
        end_user=chance.choice([None, *(f"person-{chance.randrange(50)}" for _ in range(3))]),
    )


def said_by(chance, name, category):
    if chance.random() < 0.2:
        reason = chance.choice(["unsupported_language", "timeout"])
        return Verdict(name, category, None, error=reason)
    edge = chance.choice([0.0, 0.2, 0.5, 0.8, 1.0, chance.random()])
    return Verdict(name, category, max(0.0, chance.choice([edge, nextafter(edge, 0)])))


def assessed(chance):
    """One or two passages, some of which some classifiers say something about."""
    passages = chance.choice([1, 1, 2])
    names = ("one", "two", "three", "judge")
    return Assessment(
        passages=(Passage(Source.USER, "."),) * passages,
        verdicts=tuple(
            tuple(
                said_by(chance, name, category)
                for category in CATEGORIES
                for name in names
                if chance.random() < 0.7
            )
            for _ in range(passages)
        ),
        receipts=(),
        covered=dict.fromkeys(CATEGORIES, frozenset({"one", "two", "three"})),
        on_request=dict.fromkeys(CATEGORIES, frozenset({"judge"})),
        asked={"judge": frozenset((at, each) for at in range(passages) for each in CATEGORIES)},
    )


def of_category(one, category):
    return replace(one, rules=tuple(each for each in one.rules if each.category == category))


def decided(one, who, at, stage, answers):
    return evaluate(apply(one, who, at), stage, answers, who).action


@settings(max_examples=30, deadline=None)
@given(policies(), policies(), st.integers(0, 10**6))
def test_what_is_found_by_trying_never_contradicts_the_answer(before, after, seed):
    compared = compare(before, after)
    chance = random.Random(seed)  # noqa: S311 - a test's dice
    allowed = {
        Relation.EQUAL: lambda old, new: old == new,
        Relation.TIGHTER: lambda old, new: old <= new,
        Relation.LOOSER: lambda old, new: old >= new,
        Relation.INCOMPARABLE: lambda old, new: True,
    }
    assert compared.exhaustive
    for found in compared.cells:
        old, new = (of_category(side, found.category) for side in (before, after))
        for _ in range(40):
            who, at = somebody(chance), DAY + timedelta(hours=chance.randrange(24 * 15))
            answers = assessed(chance)
            was, now = (decided(side, who, at, found.stage, answers) for side in (old, new))
            assert allowed[found.relation](was, now), (found.relation, who, at, answers)


@settings(max_examples=40, deadline=None)
@given(policies(), policies())
def test_a_witness_is_a_case_in_which_the_two_decide_as_it_says(before, after):
    for found in compare(before, after).cells:
        for witness, order in ((found.tighter, 1), (found.looser, -1)):
            if witness is None:
                continue
            assert (witness.after.action - witness.before.action) * order > 0
            where = witness.situation
            applied = [apply(side, where.given, where.at or DAY) for side in (before, after)]
            for side, kept in zip(applied, (where.before, where.after), strict=True):
                mine = [
                    (each.id, each.mode, each.exception)
                    for each in side.rules_at[found.stage]
                    if each.category == found.category
                ]
                assert mine == [(each.id, each.mode, each.exception) for each in kept.rules]


@settings(max_examples=30, deadline=None)
@given(policies(), st.randoms())
def test_a_policy_is_equal_to_itself_whatever_the_order_of_its_rules(one, chance):
    shuffled = list(one.rules)
    chance.shuffle(shuffled)

    compared = compare(one, replace(one, rules=tuple(shuffled)))

    assert compared.relation is Relation.EQUAL
    assert not any(found.effects for found in compared.cells)


@settings(max_examples=30, deadline=None)
@given(policies(), rules("one-more"))
def test_a_rule_more_is_never_looser(one, another):
    more = replace(one, rules=(*one.rules, another))

    assert compare(one, more).relation in {Relation.EQUAL, Relation.TIGHTER}


@settings(max_examples=30, deadline=None)
@given(policies(), policies())
def test_swapped_policies_swap_the_answer(before, after):
    forth = {(each.stage, each.category): each.relation for each in compare(before, after).cells}
    back = {(each.stage, each.category): each.relation for each in compare(after, before).cells}

    assert forth == {place: MIRRORED[found] for place, found in back.items()}


def test_nobody_in_particular_is_the_first_to_be_tried():
    found = cell(policy(rule(gte=0.9)), policy(rule(), rule("s", scope=Scope(tiers=("free",)))))

    assert found.tighter.situation.given == ANYBODY


# --- Limits -------------------------------------------------------------------------------

LIMITED = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: limited, version: 1.0.0, owner: a@acme.example}
limits:
  - {id: loop, per: turn, calls: MOST}
"""


def limited(most, more=""):
    return parse_policy((LIMITED.replace("MOST", str(most)) + more).encode()).policy


@pytest.mark.parametrize(
    ("before", "after", "relation"),
    [
        (limited(50), limited(40), Relation.TIGHTER),
        (limited(40), limited(50), Relation.LOOSER),
        (limited(40), limited(40), Relation.EQUAL),
        (limited(40), limited(40, "  - {id: more, per: turn, calls: 50}\n"), Relation.EQUAL),
        (limited(40), limited(40, "  - {id: more, per: turn, calls: 30}\n"), Relation.TIGHTER),
        (limited(40), limited(40, "  - {id: other, same_call: 50}\n"), Relation.TIGHTER),
    ],
)
def test_limits_are_compared_by_their_numbers(before, after, relation):
    assert compare(before, after).relation is relation


def test_a_case_that_a_limit_decides_is_told_by_its_number():
    (cell,) = compare(limited(50), limited(40)).cells

    assert cell.tighter.facts == {"calls in the turn": 41}
