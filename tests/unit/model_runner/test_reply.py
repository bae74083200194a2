from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_runner.reply import TokenReply
from model_runner.types import Channel, Delta, Finish, FinishReason, Usage


class Spelling:
    """A parser whose token ids are code points, and 0 a new message on the next channel."""

    def __init__(self, *channels):
        self.channels = channels or (Channel.FINAL,)
        self.output_tokens = self.reasoning_tokens = self.message = 0

    def push(self, token_ids):
        deltas = []
        for token in token_ids:
            self.output_tokens += 1
            if token == 0:
                self.message += 1
            else:
                before = deltas.pop().text if deltas and deltas[-1].message == self.message else ""
                channel = self.channels[self.message]
                deltas.append(Delta(channel, before + chr(token), self.message))
        return deltas

    def finish(self, *, hit_limit, input_tokens=0, cached_tokens=0):
        reason = FinishReason.LENGTH if hit_limit else FinishReason.STOP
        return Finish(reason, Usage(input_tokens, self.output_tokens, 0, cached_tokens))


def say(text, stop, cuts=(), channels=()):
    reply = TokenReply(Spelling(*channels), stop, input_tokens=5)
    ids = [0 if sign == "/" else ord(sign) for sign in text]
    items = []
    edges = [0, *sorted(cuts), len(ids)]
    for start, end in pairwise(edges):
        items += reply.push(ids[start:end])
        if reply.stopped:
            break
    return items + reply.finish(hit_limit=False)


def spoken(items):
    return "".join(item.text for item in items if isinstance(item, Delta))


@given(
    st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=3), max_size=2),
    st.lists(st.integers(0, 12)),
)  # fmt: skip
def test_the_reply_ends_before_the_first_stop_text_however_it_arrives(text, stop, cuts):
    found = [(text.find(each) + len(each), text.find(each)) for each in stop if each in text]
    first = min(found)[1] if found else len(text)

    assert spoken(say(text, stop, [min(cut, len(text)) for cut in cuts])) == text[:first]


def test_nothing_that_may_begin_a_stop_text_is_said_too_early():
    reply = TokenReply(Spelling(), ("END",), 0)

    assert spoken(reply.push([ord(sign) for sign in "so EN"])) == "so "


@pytest.mark.parametrize("channel", [Channel.ANALYSIS, Channel.COMMENTARY])
def test_a_stop_text_on_another_channel_means_nothing(channel):
    assert spoken(say("a END b/END", ["END"], channels=[channel, Channel.FINAL])) == "a END b"


def test_a_stop_text_does_not_reach_over_two_messages():
    items = say("E/ND", ["END"], channels=[Channel.FINAL, Channel.FINAL])

    assert [(item.message, item.text) for item in items[:-1]] == [(0, "E"), (1, "ND")]


def test_a_stopped_reply_finishes_with_what_was_used():
    assert say("aEND", ["END"])[-1] == Finish(FinishReason.STOP, Usage(5, 4))
