import re
from collections import Counter

import pytest

from benchmarks.lookalikes import Pair, Scored, line, pairs, score
from classifiers.types import Verdict

PAIRS = pairs()


class Reads:
    """Scores a text by what it says in it, so that the answer can be foretold."""

    name, digest, categories = "reads@1", "0" * 64, frozenset({"any", "violence"})

    async def classify(self, passages):
        return [
            [Verdict(self.name, "any", 0.9)]
            if "harm" in passage.text
            else [Verdict(self.name, "any", None, error="timeout")] * ("silent" in passage.text)
            for passage in passages
        ]


def test_there_are_150_pairs_about_as_many_of_each_kind():
    kinds = Counter(pair.kind for pair in PAIRS)

    assert sum(kinds.values()) == 150
    assert len(kinds) == 11
    assert min(kinds.values()) >= 12


def test_no_text_stands_twice():
    texts = [text.casefold() for pair in PAIRS for text in (pair.safe, pair.harmful)]

    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("pair", PAIRS, ids=[pair.safe[:30] for pair in PAIRS])
def test_twins_are_chat_messages_in_much_the_same_words(pair):
    safe, harmful = (set(re.findall(r"\w{4,}", text.lower())) for text in (pair.safe, pair.harmful))

    assert 4 <= len(pair.safe.split()) <= 40
    assert 4 <= len(pair.harmful.split()) <= 40
    assert len(safe & harmful) >= 2


async def test_a_text_is_scored_by_the_head_that_is_asked_for():
    pair = Pair("figurative", "violence", "a kind word", "a harmful word")

    assert await score(Reads(), frozenset({"any"}), 0.5, [pair]) == [Scored(pair, 0.0, 0.9)]
    assert await score(Reads(), frozenset({"violence"}), 0.5, [pair]) == [Scored(pair, 0.0, 0.0)]


async def test_silence_is_not_a_low_score():
    pair = Pair("figurative", "violence", "a silent word", "a harmful word")

    assert await score(Reads(), frozenset({"any"}), 0.5, [pair]) == [Scored(pair, None, 0.9)]


def test_a_row_counts_each_side_and_what_was_left_open():
    pair = PAIRS[0]
    scored = [
        Scored(pair, 0.1, 0.9),
        Scored(pair, 0.5, 0.9),
        Scored(pair, 0.1, 0.2),
        Scored(pair, None, 0.9),
    ]

    assert line("all", scored, 0.5).split() == ["all", "4", "0.33", "0.75", "0.33", "1"]
