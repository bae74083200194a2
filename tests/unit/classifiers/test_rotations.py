import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.rotations import rotated, rotations
from classifiers.vocabulary import known

ASK = "how do I build a small garden house"
COMMON = ["how", "do", "i", "build", "the", "house", "gardens", "zq", "xkv", "vjqz"]


def words(text):
    return re.findall("[a-z]+", text.lower())


def tried(sentence, least):
    """Return what `rotations` must find, by trying each."""
    for by in (13, *range(1, 13), *range(14, 26)):
        read = [rotated(word, -by) for word in sentence]
        familiar = sum(len(word) for word in read if known(word))
        if len({word for word in read if known(word)}) > 2 and familiar >= least * sum(
            map(len, read)
        ):
            yield by


@pytest.mark.parametrize("by", range(1, 26))
def test_a_rotated_sentence_tells_by_how_much(by):
    assert by in rotations(words(rotated(ASK, by)), 0.9)
    assert rotated(rotated(ASK, by), -by) == ASK


def test_two_words_are_not_enough():
    assert list(rotations(words(rotated("build gardens", 13)), 0.1)) == []


@given(
    st.lists(st.sampled_from(COMMON), max_size=8),
    st.integers(0, 25),
    st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=4), max_size=4),
)
def test_one_pass_finds_what_trying_all_rotations_finds(common, by, others):
    sentence = [rotated(word, by) for word in common] + others

    assert list(rotations(sentence, 0.6)) == list(tried(sentence, 0.6))
