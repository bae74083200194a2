from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from classifiers.encoder_text import CLS, LONGEST, PROMPT, SEP, STRIDE, WINDOW, Kind, windows
from classifiers.encoder_weights import FOLDER, VOCABULARY

TOKENIZER = Tokenizer.from_file(str(FOLDER / VOCABULARY))


def test_a_short_text_is_one_window_between_its_marks():
    (shown,) = windows(TOKENIZER, Kind.PROMPT, "How are you?")
    assert shown.ids[0] == CLS
    assert shown.ids[-1] == SEP
    assert TOKENIZER.decode(list(shown.ids[shown.lead :])) == "how are you?"


def test_each_kind_is_marked_by_a_token_of_its_own():
    marks = {windows(TOKENIZER, kind, "text")[0].ids[1] for kind in Kind}
    assert len(marks) == len(Kind)


def test_a_reply_is_read_behind_the_end_of_its_prompt():
    prompt = "word " * 100 + "the end"
    (shown,) = windows(TOKENIZER, Kind.REPLY, "Sure.", prompt)
    assert shown.lead == 2 + PROMPT + 1
    assert "the end" in TOKENIZER.decode(list(shown.ids[: shown.lead]))
    assert TOKENIZER.decode(list(shown.ids[shown.lead :])) == "sure."


def test_a_prompt_is_not_read_behind_another():
    assert windows(TOKENIZER, Kind.PROMPT, "a", "b") == windows(TOKENIZER, Kind.PROMPT, "a")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 700), st.sampled_from(list(Kind)))
def test_windows_overlap_and_leave_no_token_out(count, kind):
    text = " ".join(f"w{number}" for number in range(count))
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    read: list[int] = []
    for index, shown in enumerate(windows(TOKENIZER, kind, text, "a prompt")):
        part = list(shown.ids[shown.lead : -1])
        assert len(part) <= WINDOW
        assert len(shown.ids) <= LONGEST
        start = index * STRIDE
        assert ids[start : start + len(part)] == part
        read[start:] = part
    assert read == ids


def test_the_end_of_a_window_counts_code_points():
    text = "one two three " * 200
    shown = windows(TOKENIZER, Kind.PROMPT, text)
    assert [one.end for one in shown] == sorted(one.end for one in shown)
    assert shown[-1].end == len(text.rstrip())


def test_no_more_windows_are_made_than_asked_for():
    assert len(windows(TOKENIZER, Kind.TOOL, "word " * 5_000, most=3)) == 3


def test_lone_surrogates_and_emptiness_are_read_as_nothing():
    assert windows(TOKENIZER, Kind.PROMPT, "\ud800") == windows(TOKENIZER, Kind.PROMPT, "")
