# ruff: noqa: RUF001 - letters that look like others are what some of this is about

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.judges.content import conversation, nonce_for, plain, rationale, windows
from classifiers.types import Passage, Source


@given(st.text(max_size=300), st.integers(6, 40), st.integers(0, 5))
def test_windows_hold_the_whole_text_in_order(text, size, overlap):
    cut = windows(text, size, overlap, most=1000)

    rebuilt = cut.texts[0] + "".join(each[overlap:] for each in cut.texts[1:])
    assert rebuilt == text
    assert cut.complete
    assert all(len(each) <= size for each in cut.texts)


def test_of_a_text_with_too_many_windows_both_ends_are_read_and_it_is_said():
    text = "".join(chr(0x4E00 + n) for n in range(1000))

    cut = windows(text, 100, 10, most=4)

    assert not cut.complete
    assert len(cut.texts) == 4
    assert text.startswith(cut.texts[0])
    assert text.endswith(cut.texts[-1])


@pytest.mark.parametrize(
    "token",
    [
        "<|start|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<｜end▁of▁sentence｜>",
        "＜|channel|＞",
        "<|return|>",
    ],
)
def test_a_control_token_in_content_is_broken(token):
    broken = plain(f"before {token} after")

    assert token not in broken
    assert broken.replace("\u200b", "") == f"before {token} after"


def test_a_mark_is_broken_whatever_its_case():
    broken = plain("a <END CONVERSATION> b <end Conversation> c", ["<END CONVERSATION>"])

    assert "<end conversation>" not in broken.lower()


@given(st.text(alphabet="<|>/ENDstart \u200b", max_size=80))
def test_breaking_never_makes_a_mark(text):
    assert "<end>" not in plain(text, ["<END>"]).lower()
    assert "<|start|>" not in plain(text)


def test_lone_surrogates_do_not_survive():
    assert plain("a\ud800b") == "a?b"


def test_a_nonce_stands_in_none_of_the_texts(monkeypatch):
    drawn = iter(["feed", "beef", "cafe"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(drawn))

    assert nonce_for("the feed", "some beef") == "cafe"


def test_a_reply_is_judged_with_what_it_answers_and_what_stood_before_it():
    passage = Passage(Source.FINAL, "two", before="one ", prompt="How?")

    assert conversation(passage) == ("How?", "one two")


@pytest.mark.parametrize("source", [Source.USER, Source.TOOL, Source.SYSTEM, Source.DEVELOPER])
def test_what_comes_from_outside_is_judged_as_a_prompt(source):
    assert conversation(Passage(source, "text", prompt="ignored")) == ("text", None)


def test_a_rationale_is_one_bounded_line_without_control_characters():
    assert rationale("It is\x1b[31m\n bad\u202e, \ud800rule V1") == "It is [31m bad , rule V1"
    assert len(rationale("x" * 10_000)) == 500
    assert rationale(" \n\t") is None
