import pytest

from gateway.summary import KINDS, Summary
from model_runner.types import Channel, Delta


def thought(text, message=0):
    return Delta(Channel.ANALYSIS, text, message)


def told(kind, *texts):
    summary = Summary(kind)
    for text in texts:
        for sentence in summary.sentences(thought(text)):
            if summary.fits(0, sentence):
                summary.add(0, sentence)
    return summary.of(0)


def test_a_summary_takes_the_first_sentence_of_each_passage():
    text = told("auto", "The user wants rain. I look. ", "It is Oslo. I call.")

    assert text == "The user wants rain. It is Oslo."


def test_a_detailed_summary_takes_every_sentence():
    assert told("detailed", "One. Two! ", "Three?") == "One. Two! Three?"


def test_half_a_sentence_is_in_no_summary():
    assert told("detailed", "One is said and ", "goes on. Two. And th") == "Two."


def test_a_sentence_that_spans_passages_without_an_end_is_left_out_whole():
    assert told("detailed", "One begins ", "and goes on ", "and ends. Two.") == "Two."


def test_a_new_thought_begins_with_a_sentence_of_its_own():
    summary = Summary("auto")
    summary.sentences(thought("It breaks off", 0))

    assert summary.sentences(thought("Another one.", 2)) == ["Another one."]


@pytest.mark.parametrize("kind", KINDS)
def test_a_summary_is_no_longer_than_its_kind_allows(kind):
    most, _ = KINDS[kind]

    text = told(kind, *["This is one more sentence of the thought. "] * 80)

    assert most - 50 < len(text) <= most


def test_languages_without_spaces_have_sentences_too():
    assert told("detailed", "雨です。晴れです。") == "雨です。 晴れです。"


@pytest.mark.parametrize(
    "text", ["!" * 4096 + "x", "." * 4096 + '"' * 4096 + "x", "a! " * 2000 + "x"]
)
def test_a_thought_of_nothing_but_marks_is_cut_in_one_pass(text):
    sentences = Summary("detailed").sentences(thought(text))

    assert sentences == ["a!"] * text.count(" ")


def test_marks_amid_a_word_end_no_sentence():
    assert told("detailed", 'It has 3.5 (and "more!"). See a.b now') == 'It has 3.5 (and "more!").'


def test_a_full_width_mark_ends_a_sentence_before_a_quotation_mark_too():
    assert told("detailed", '雨です。"晴れです。') == '雨です。 "晴れです。'
