import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.types import Assessment, Passage, Receipt, Source, Span, Verdict
from policies.circumstances import Circumstances
from policies.conditions import compile_condition
from policies.evaluate import evaluate
from policies.types import Action, Band, Mode, Policy, Redaction, Redactor, Rule, Rung, Stage

TEXT = Passage(Source.FINAL, "0123456789")
ALL_BLOCK = dict.fromkeys(Stage, Action.BLOCK)


def policy(*rules):
    return Policy(id="test", version="1.0.0", digest="00", rules=rules)


def rule(rule_id="r1", **changes):
    return Rule(
        **{
            "id": rule_id,
            "category": "weapons",
            "stages": frozenset(Stage),
            "bands": (Band(0.8, Action.BLOCK),),
            "on_unavailable": ALL_BLOCK,
        }
        | changes
    )


def assessed(*verdicts, covered=None, passages=(TEXT,)):
    """One passage with these verdicts; every category is covered by `fake@1` unless told."""
    categories = {verdict.category for verdict in verdicts} | {"weapons"}
    by_category = {category: frozenset({"fake@1"}) for category in categories}
    rest = ((),) * (len(passages) - 1)
    known = by_category if covered is None else covered
    return Assessment(tuple(passages), (tuple(verdicts), *rest), (), known)


def weapons(score, classifier="fake@1", spans=()):
    return Verdict(classifier, "weapons", score, spans)


def decide(rules, *verdicts, **changes):
    return evaluate(policy(*rules), Stage.OUTPUT, assessed(*verdicts, **changes))


def test_a_score_equal_to_the_threshold_matches():
    assert decide([rule()], weapons(0.8)).action is Action.BLOCK


def test_a_score_below_the_threshold_is_allowed_and_blames_no_rule():
    decision = decide([rule()], weapons(math.nextafter(0.8, 0)))

    assert decision.action is Action.ALLOW
    assert decision.determining_rules == ()
    assert decision.outcomes == ()


def test_a_category_that_an_answer_leaves_out_scored_zero():
    decision = decide([rule(bands=(Band(0.0, Action.FLAG),))])

    assert decision.outcomes[0].score == 0.0
    assert decision.action is Action.FLAG


def test_the_highest_band_reached_says_what_is_done():
    banded = rule(bands=(Band(0.9, Action.BLOCK), Band(0.5, Action.FLAG)))

    assert decide([banded], weapons(0.89)).action is Action.FLAG
    assert decide([banded], weapons(0.9)).action is Action.BLOCK


def test_the_highest_score_of_all_passages_counts():
    two = Assessment(
        (TEXT, TEXT), ((weapons(0.1),), (weapons(0.9),)), (), {"weapons": frozenset({"fake@1"})}
    )

    assert evaluate(policy(rule()), Stage.OUTPUT, two).action is Action.BLOCK


def test_the_strictest_rule_wins_and_is_named():
    flag = rule("watch", bands=(Band(0.5, Action.FLAG),))
    stop = rule("stop", code="weapons", user_message="no", developer_message="it was weapons")

    decision = decide([flag, stop], weapons(0.95))

    assert decision.action is Action.BLOCK
    assert decision.determining_rules == ("stop",)
    assert [outcome.rule for outcome in decision.outcomes] == ["watch", "stop"]
    assert (decision.code, decision.user_message) == ("weapons", "no")
    assert decision.developer_message == "it was weapons"


def test_among_rules_that_agree_the_first_gives_the_message():
    decision = decide(
        [rule("a", user_message="first"), rule("b", user_message="second")], weapons(1)
    )

    assert decision.determining_rules == ("a", "b")
    assert decision.user_message == "first"


def test_a_rule_of_another_stage_is_silent():
    only_input = rule(stages=frozenset({Stage.INPUT}))

    assert decide([only_input], weapons(None)).action is Action.ALLOW


@pytest.mark.parametrize(
    ("verdicts", "covered"),
    [
        pytest.param([], {}, id="nobody was asked"),
        pytest.param([weapons(None)], None, id="the classifier failed"),
        pytest.param([weapons(0.1), weapons(None)], None, id="one passage was not read"),
    ],
)
def test_a_missing_answer_takes_on_unavailable(verdicts, covered):
    decision = decide([rule()], *verdicts, covered=covered)

    assert decision.action is Action.BLOCK
    assert decision.outcomes[0].unavailable


def test_on_unavailable_is_looked_up_by_stage():
    by_stage = rule(on_unavailable={**ALL_BLOCK, Stage.OUTPUT: Action.REVIEW})

    assert decide([by_stage], weapons(None)).action is Action.REVIEW


def test_a_stage_without_on_unavailable_blocks():
    assert decide([rule(on_unavailable={})], weapons(None)).action is Action.BLOCK


def test_a_missing_answer_cannot_hide_what_another_one_saw():
    lenient = rule(on_unavailable=dict.fromkeys(Stage, Action.FLAG))

    decision = decide([lenient], weapons(None), weapons(0.9))

    assert decision.action is Action.BLOCK
    assert not decision.outcomes[0].unavailable
    assert decision.outcomes[0].score == 0.9


def test_an_allowed_gap_is_still_recorded():
    blind = rule(on_unavailable=dict.fromkeys(Stage, Action.ALLOW))

    decision = decide([blind], weapons(None))

    assert decision.action is Action.ALLOW
    assert decision.outcomes[0].unavailable
    assert decision.outcomes[0].score is None


def test_a_rule_counts_only_the_classifiers_it_names():
    picky = rule(classifiers=frozenset({"fake"}))

    decision = decide(
        [picky],
        weapons(0.9, "other@2"),
        weapons(0.1),
        covered={"weapons": frozenset({"fake@1", "other@2"})},
    )

    assert decision.action is Action.ALLOW


def test_a_named_classifier_that_was_not_asked_is_a_missing_answer():
    picky = rule(classifiers=frozenset({"fake", "judge"}))

    assert decide([picky], weapons(0.1)).action is Action.BLOCK


def test_a_shadow_rule_is_recorded_and_not_enforced():
    decision = decide([rule(mode=Mode.SHADOW)], weapons(0.9))

    assert decision.action is Action.ALLOW
    assert decision.determining_rules == ()
    assert decision.outcomes[0].shadow
    assert decision.outcomes[0].action is Action.BLOCK


def test_strike_and_escalation_come_from_the_band():
    strict = rule(bands=(Band(0.8, Action.BLOCK, strike=True, escalate="oncall"),))

    outcome = decide([strict], weapons(0.9)).outcomes[0]

    assert outcome.strike
    assert outcome.escalate == "oncall"


def test_nobody_gets_a_strike_for_a_classifier_that_failed():
    strict = rule(bands=(Band(0.8, Action.BLOCK, strike=True),))

    assert not decide([strict], weapons(None)).outcomes[0].strike


REDACT = rule(bands=(Band(0.8, Action.REDACT),))


def test_the_spans_of_a_redacting_rule_are_hidden():
    decision = decide(
        [REDACT], weapons(0.9, spans=(Span(2, 4, "gun"),)), weapons(0.1, spans=(Span(5, 6, "x"),))
    )

    assert decision.action is Action.REDACT
    assert decision.redactions == (Redaction(0, Span(2, 4, "gun")),)


def test_a_match_that_cannot_say_where_hides_the_whole_passage():
    assert decide([REDACT], weapons(0.9)).redactions == (Redaction(0, Span(0, 10, "weapons")),)


def test_a_redaction_for_want_of_an_answer_hides_everything():
    blind = replace(REDACT, on_unavailable=dict.fromkeys(Stage, Action.REDACT))

    decision = decide([blind], weapons(None), passages=(TEXT, TEXT))

    assert [redaction.passage for redaction in decision.redactions] == [0, 1]


def test_a_shadow_rule_hides_nothing():
    assert decide([replace(REDACT, mode=Mode.SHADOW)], weapons(0.9)).redactions == ()


def test_the_decision_carries_scores_receipts_and_the_policy():
    receipt = Receipt("fake@1", "00", 10, 0, 1.0)
    assessment = replace(
        assessed(weapons(0.3), weapons(0.2), Verdict("fake@1", "spam", None)), receipts=(receipt,)
    )

    decision = evaluate(policy(), Stage.OUTPUT, assessment)

    assert decision.scores == {"weapons": 0.3, "spam": None}
    assert decision.receipts == (receipt,)
    assert (decision.policy_id, decision.policy_version, decision.policy_digest) == (
        "test",
        "1.0.0",
        "00",
    )


# --- Conditions, redactors, disclaimers -------------------------------------------------------

FLAGS = dict.fromkeys(Stage, Action.FLAG)


def when(text, **changes):
    return rule(when=compile_condition(text), **changes)


def decide_for(rules, *verdicts, strikes=0, **more):
    given = Circumstances(strikes=strikes)
    return evaluate(replace(policy(*rules), **more), Stage.OUTPUT, assessed(*verdicts), given)


def test_a_rule_acts_only_where_its_condition_holds():
    picky = when("user.strikes >= 3")

    assert decide_for([picky], weapons(0.9), strikes=3).action is Action.BLOCK
    assert decide_for([picky], weapons(0.9), strikes=2).outcomes == ()


def test_a_condition_sees_the_stage_the_rules_score_and_all_scores():
    spam = Verdict("fake@1", "spam", 0.25)

    for text in ("stage == 'output'", "score == 0.9", "scores['spam'] == 0.25"):
        assert decide_for([when(text)], weapons(0.9), spam).action is Action.BLOCK
        assert decide_for([when(f"!({text})")], weapons(0.9), spam).action is Action.ALLOW


def test_a_condition_that_cannot_be_told_takes_on_unavailable_beside_what_was_seen():
    unknown = "scores['nobody-answers-for'] > 0.1"
    flags = when(unknown, bands=(Band(0.5, Action.FLAG),))
    blocks = when(unknown, on_unavailable=FLAGS)

    assert decide_for([flags], weapons(0.6)).action is Action.BLOCK
    assert decide_for([blocks], weapons(0.9)).action is Action.BLOCK
    outcome = decide_for([flags], weapons(0.6)).outcomes[0]
    assert (outcome.missing, outcome.unavailable) == (("condition",), True)


def test_a_condition_is_not_asked_where_the_rule_does_nothing():
    assert decide_for([when("scores['nobody'] > 0.1")], weapons(0.1)).outcomes == ()


def test_a_condition_that_fails_lifts_a_rule_that_nobody_could_answer():
    assert decide_for([when("user.strikes > 3")], weapons(None)).action is Action.ALLOW
    assert decide_for([when("user.strikes < 3")], weapons(None)).action is Action.BLOCK


def test_a_score_with_an_answer_missing_is_not_known_to_a_condition():
    spam = Verdict("fake@1", "spam", 0.1)
    silent = Verdict("fake@2", "spam", None)
    trusting = when("scores['spam'] > 0.5", bands=(Band(0.5, Action.FLAG),))

    assert decide_for([trusting], weapons(0.6), spam).action is Action.ALLOW
    assert decide_for([trusting], weapons(0.6), spam, silent).action is Action.BLOCK


def test_its_own_score_with_an_answer_missing_is_not_known_either():
    trusting = when("score > 0.7", bands=(Band(0.5, Action.FLAG),))

    assert decide_for([trusting], weapons(0.6)).action is Action.ALLOW
    assert decide_for([trusting], weapons(0.6), weapons(None, "fake@2")).action is Action.BLOCK


def test_an_acquittal_stands_whatever_a_condition_cannot_tell():
    judged = when(
        "scores['nobody'] > 0.1",
        classifiers=frozenset({"fake"}),
        rungs=(Rung("judge", 0.5),),
    )
    heard = replace(
        assessed(weapons(0.9), weapons(0.1, "judge@1")),
        on_request={"weapons": frozenset({"judge@1"})},
        asked={"judge@1": frozenset({(0, "weapons")})},
    )

    decision = evaluate(policy(judged), Stage.OUTPUT, heard)

    assert decision.action is Action.ALLOW
    assert decision.outcomes[0].suspicion == 0.9


EMAILS = {"emails": Redactor(frozenset({"email"}), "<{type}>")}
MAIL, CARD = Span(0, 2, "email"), Span(4, 6, "card")


def test_a_redactor_hides_its_types_in_its_own_words():
    picky = rule(bands=(Band(0.8, Action.REDACT, redactor="emails"),))

    decision = decide_for([picky], weapons(0.9, spans=(MAIL, CARD)), redactors=EMAILS)

    assert decision.redactions == (Redaction(0, MAIL, "<{type}>"),)


def test_a_redactor_whose_types_match_nothing_hides_nothing_and_still_says_redact():
    picky = rule(bands=(Band(0.8, Action.REDACT, redactor="emails"),))

    decision = decide_for([picky], weapons(0.9, spans=(CARD,)), redactors=EMAILS)

    assert (decision.action, decision.redactions) == (Action.REDACT, ())


def test_a_redactor_hides_all_of_what_nobody_could_place():
    picky = rule(bands=(Band(0.8, Action.REDACT, redactor="emails"),))

    decision = decide_for([picky], weapons(0.9), redactors=EMAILS)

    assert decision.redactions == (Redaction(0, Span(0, 10, "weapons"), "<{type}>"),)


def test_a_redactor_that_is_not_there_hides_everything_found():
    picky = rule(bands=(Band(0.8, Action.REDACT, redactor="gone"),))

    decision = decide_for([picky], weapons(0.9, spans=(MAIL, CARD)))

    assert decision.redactions == (Redaction(0, MAIL), Redaction(0, CARD))


def test_each_passage_is_redacted_as_its_own_score_says():
    two = rule(
        bands=(Band(0.9, Action.REDACT, redactor="emails"), Band(0.5, Action.REDACT)),
    )
    passages = Assessment(
        (TEXT, TEXT),
        ((weapons(0.95, spans=(MAIL, CARD)),), (weapons(0.6, spans=(MAIL, CARD)),)),
        (),
        {"weapons": frozenset({"fake@1"})},
    )

    decision = evaluate(replace(policy(two), redactors=EMAILS), Stage.OUTPUT, passages)

    assert decision.redactions == (
        Redaction(0, MAIL, "<{type}>"),
        Redaction(1, MAIL),
        Redaction(1, CARD),
    )


def test_disclaimers_of_enforced_rules_are_put_behind_the_reply_each_once():
    careful = (Band(0.5, Action.FLAG, disclaimer="careful"),)
    words = {"careful": {"": "Mind."}, "same": {"": "Mind."}, "empty": {"": ""}}
    rules = [
        rule("a", bands=careful),
        rule("b", bands=(Band(0.5, Action.FLAG, disclaimer="same"),)),
        rule("c", bands=(Band(0.5, Action.FLAG, disclaimer="empty"),)),
        rule("d", bands=(Band(0.5, Action.FLAG, disclaimer="unknown"),)),
    ]

    assert decide_for(rules, weapons(0.6), disclaimers=words).disclaimers == ("Mind.",)
    shadow = rule("a", bands=careful, mode=Mode.SHADOW)
    assert decide_for([shadow], weapons(0.6), disclaimers=words).disclaimers == ()


# --- Laws -----------------------------------------------------------------------------------

SCORES = st.sampled_from([None, 0.0, 0.25, 0.5, 0.75, 1.0])
CATEGORIES = st.sampled_from(["weapons", "spam"])
NAMES = st.sampled_from(["a@1", "b@1"])
ACTIONS = st.sampled_from(Action)
VERDICTS = st.lists(st.builds(Verdict, NAMES, CATEGORIES, SCORES), max_size=5).map(tuple)
ASSESSMENTS = st.builds(
    Assessment,
    st.just((TEXT, TEXT)),
    st.tuples(VERDICTS, VERDICTS),
    st.just(()),
    st.dictionaries(CATEGORIES, st.frozensets(NAMES)),
)
BANDS = st.lists(
    st.builds(Band, st.sampled_from([0.0, 0.25, 0.5, 1.0]), ACTIONS), min_size=1, max_size=3
).map(lambda bands: tuple(sorted(bands, key=lambda band: -band.gte)))
RULES = st.builds(
    Rule,
    id=st.sampled_from(["r1", "r2", "r3"]),
    category=CATEGORIES,
    stages=st.frozensets(st.sampled_from(Stage)),
    bands=BANDS,
    on_unavailable=st.dictionaries(st.sampled_from(Stage), ACTIONS),
    classifiers=st.frozensets(st.sampled_from(["a", "b"])),
    mode=st.sampled_from(Mode),
)
RULE_LISTS = st.lists(RULES, max_size=4)
STAGES = st.sampled_from(Stage)


def action_by_the_book(rules, stage, assessment):
    """The slow, obvious reading of the policy format."""
    live = [each for each in rules if stage in each.stages and each.mode is not Mode.SHADOW]
    return max(
        (a for each in live for a in called_for(each, stage, assessment)), default=Action.ALLOW
    )


def called_for(rule, stage, assessment):
    asked = {name.split("@")[0] for name in assessment.covered.get(rule.category, ())}
    heard = [
        verdict.score
        for verdicts in assessment.verdicts
        for verdict in verdicts
        if verdict.category == rule.category
        and (not rule.classifiers or verdict.classifier.split("@")[0] in rule.classifiers)
    ]
    if not asked or rule.classifiers - asked or None in heard:
        yield rule.on_unavailable.get(stage, Action.BLOCK)
    for score in [0.0, *heard]:
        yield from (band.action for band in rule.bands if score is not None and score >= band.gte)


@given(RULE_LISTS, STAGES, ASSESSMENTS)
def test_it_agrees_with_the_obvious_reading(rules, stage, assessment):
    decision = evaluate(policy(*rules), stage, assessment)

    assert decision.action is action_by_the_book(rules, stage, assessment)


@given(
    RULE_LISTS.flatmap(lambda rules: st.tuples(st.just(rules), st.permutations(rules))),
    STAGES,
    ASSESSMENTS,
)
def test_the_order_of_rules_never_changes_the_action(orders, stage, assessment):
    one, other = orders

    assert (
        evaluate(policy(*one), stage, assessment).action
        is evaluate(policy(*other), stage, assessment).action
    )


@given(RULE_LISTS, RULES, STAGES, ASSESSMENTS)
def test_adding_a_rule_never_makes_a_decision_milder(rules, added, stage, assessment):
    before = evaluate(policy(*rules), stage, assessment)
    after = evaluate(policy(*rules, added), stage, assessment)

    assert after.action >= before.action


@given(RULES, STAGES, ASSESSMENTS, NAMES)
def test_a_missing_answer_is_never_milder_than_on_unavailable(each, stage, assessment, name):
    silence = Verdict(name, each.category, None)
    enforced = replace(each, mode=Mode.ENFORCE, classifiers=frozenset(), stages=frozenset(Stage))
    blinded = replace(
        assessment, verdicts=(*assessment.verdicts[:-1], (*assessment.verdicts[-1], silence))
    )

    decision = evaluate(policy(enforced), stage, blinded)

    assert decision.action >= enforced.on_unavailable.get(stage, Action.BLOCK)
    assert decision.action >= evaluate(policy(enforced), stage, assessment).action
