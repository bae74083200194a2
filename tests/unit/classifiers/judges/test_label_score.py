from math import log

import pytest

from classifiers.judges.label_score import SURE, UNSURE, label_score
from classifiers.judges.text_model import Answer, Token

YES_NO = {"Yes": 1.0, "No": 0.0}


def token(text, **alternatives):
    return Token(text, tuple((each, log(p)) for each, p in alternatives.items()))


def test_the_score_is_the_share_of_the_harmful_label():
    answer = Answer("Yes", (token("Yes", Yes=0.6, No=0.2, Maybe=0.2),))

    assert label_score(answer, "Yes", 0, YES_NO) == pytest.approx(0.75)


@pytest.mark.parametrize(("label", "score"), [("Yes", SURE), ("No", UNSURE)])
def test_without_probabilities_a_label_counts_by_a_constant(label, score):
    assert label_score(Answer(label), label, 0, YES_NO) == pytest.approx(score)


def test_the_token_is_found_behind_a_chain_of_thought():
    thought = (token("1", **{"1": 0.99}), token(" or 0?", x=1.0))
    answer = Answer("0", (*thought, token("0", **{"1": 0.25, "0": 0.75})))

    assert label_score(answer, "0", 0, {"1": 1.0, "0": 0.0}) == pytest.approx(0.25)


def test_the_token_is_found_at_the_label_within_the_answer():
    answer = Answer(
        "Safety: Unsafe",
        (token("Safety"), token(":"), token(" Uns", **{" Uns": 0.5, " Safe": 0.3, " Cont": 0.2})),
    )
    answer = Answer(answer.text, (*answer.tokens, token("afe", afe=1.0)))
    weights = {"Safe": 0.0, "Controversial": 0.5, "Unsafe": 1.0}

    assert label_score(answer, "Unsafe", 8, weights) == pytest.approx(0.5 + 0.5 * 0.2)


def test_a_token_may_hold_a_piece_of_what_stands_before_the_label():
    answer = Answer(
        "Safety: Unsafe",
        (token("Safety"), token(": Un", **{": Un": 0.5, ": Sa": 0.3, "; Sa": 0.2})),
    )
    answer = Answer(answer.text, (*answer.tokens, token("safe")))

    score = label_score(answer, "Unsafe", 8, {"Safe": 0.0, "Unsafe": 1.0})

    assert score == pytest.approx(0.5 / 0.8)


def test_a_rival_that_begins_two_labels_counts_for_neither():
    answer = Answer("safe", (token("safe", safe=0.5, s=0.3, un=0.2),))

    score = label_score(answer, "safe", 0, {"safe": 0.0, "strange": 0.0, "unsafe": 1.0})

    assert score == pytest.approx(0.2 / 0.7)


def test_tokens_that_do_not_spell_the_answer_are_not_believed():
    answer = Answer("Yes", (token("No", Yes=0.01, No=0.99),))

    assert label_score(answer, "Yes", 0, YES_NO) == pytest.approx(SURE)


def test_a_score_never_claims_certainty():
    answer = Answer("Yes", (token("Yes", Yes=1.0),))

    assert label_score(answer, "Yes", 0, YES_NO) == pytest.approx(0.999)
