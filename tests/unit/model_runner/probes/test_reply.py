import math

import pytest

from model_runner.probes.reply import ProbedReply, highest
from model_runner.reply import TokenReply
from model_runner.types import Delta, Finish


class Spelling:
    """A parser of one letter a token, in which token 0 says nothing."""

    def __init__(self, letters):
        self.parser = letters.parser()

    output_tokens = reasoning_tokens = 0

    def push(self, token_ids):
        return self.parser.push([token for token in token_ids if token])

    def finish(self, **options):
        return self.parser.finish(**options)


def probed(letters, token_ids, scores, stop=(), at_once=2):
    reply = ProbedReply(TokenReply(Spelling(letters), stop, 1), ("bad",))
    items = []
    for begin in range(0, len(token_ids), at_once):
        part = slice(begin, begin + at_once)
        items += reply.push(token_ids[part], [[score] for score in scores[part]])
    items += reply.finish(hit_limit=True)
    return [(item.text, item.probed["bad"]) for item in items if isinstance(item, Delta)]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_a_delta_has_the_highest_score_of_its_token_and_the_one_before(letters, at_once):
    said = probed(letters, [65, 66, 67, 68], [0.1, 0.9, 0.2, 0.3], at_once=at_once)

    assert said == [("a", 0.1), ("b", 0.9), ("c", 0.9), ("d", 0.3)]


def test_tokens_without_text_count_for_the_next_delta(letters):
    said = probed(letters, [0, 0, 65], [0.8, 0.2, 0.1])

    assert said == [("a", 0.8)]


def test_text_that_is_held_back_keeps_what_was_read_of_it(letters):
    said = probed(letters, [65, 66], [0.1, 0.7], stop=("bc",))

    assert said == [("a", 0.1), ("b", 0.7)]


def test_without_probes_a_delta_has_no_scores(letters):
    reply = ProbedReply(TokenReply(letters.parser(), (), 1), ())

    items = [*reply.push([65, 66], []), *reply.finish(hit_limit=True)]

    assert [item.probed for item in items[:-1]] == [None]
    assert isinstance(items[-1], Finish)


@pytest.mark.parametrize("pair", [(math.nan, 0.5), (0.5, math.nan)])
def test_a_score_that_is_no_number_is_not_forgotten(pair):
    one, other = pair

    assert math.isnan(highest({"bad": one}, {"bad": other})["bad"])
