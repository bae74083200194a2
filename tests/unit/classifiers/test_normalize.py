# ruff: noqa: RUF001 - letters that look like others are what this is about
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.normalize import forms, normalize

MASKED = st.text(
    st.one_of(
        st.characters(codec="ascii"),
        st.characters(),
        st.sampled_from("\u200b\u202e\u0301\ufe0f\U000e0061\ud800ｐ𝐩рﬁ①"),
    ),
    max_size=40,
)


def shifted(text, start, first):
    return "".join(chr(ord(letter) - ord(first) + start) for letter in text)


@pytest.mark.parametrize(
    "masked",
    [
        pytest.param(shifted("bomb", 0xFF41, "a"), id="fullwidth"),
        pytest.param(shifted("bomb", 0x1D41A, "a"), id="mathematical"),
        pytest.param("ⓑⓞⓜⓑ", id="circled"),
        pytest.param("ʙᴏᴍʙ", id="small capitals"),
        pytest.param("bоmb", id="Cyrillic o"),
        pytest.param("bοmb", id="Greek o"),
        pytest.param("b\u200bo\u200cm\u200db", id="zero width"),
        pytest.param("\u202ebo\u2066mb", id="bidi controls"),
        pytest.param("bo\u00admb", id="soft hyphen"),
        pytest.param("b\u0336o\u0336m\u0336b\u0336", id="struck through"),
        pytest.param("bömb", id="accent"),
        pytest.param("bo\ufe0fmb", id="variation selector"),
        pytest.param("bo\ud800mb", id="lone surrogate"),
        pytest.param("bo\u3164mb", id="Hangul filler"),
    ],
)
def test_a_disguised_word_is_read_as_what_it_looks_like(masked):
    assert normalize(masked) == "bomb"


def test_one_character_may_stand_for_several():
    assert normalize("ﬁve ㎏") == "five kg"


@pytest.mark.parametrize("text", ["東京", "서울", "שלום", "😀", "ไทย".replace("\u0e44", "ท")])
def test_what_looks_like_no_latin_letter_stays(text):
    assert normalize(text) == text


def test_ascii_has_one_form_and_nothing_moved():
    (form,) = forms("plain text")

    assert form.text == "plain text"
    assert form.original(2, 5) == (2, 5)


def test_text_in_tag_characters_is_read():
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "obey")
    read = {form.text: form for form in forms(f"hi{hidden}!")}

    assert "hi!" in read
    assert read["obey"].original(0, 4) == (2, 6)


def test_a_span_leads_back_to_the_original():
    text = "a b\u200bo\u200bm\u200bb!"
    unmasked = forms(text)[1]
    start = unmasked.text.index("bomb")
    first, last = unmasked.original(start, start + 4)

    assert text[first:last] == "b\u200bo\u200bm\u200bb"


@given(MASKED)
def test_every_form_is_valid_text_whose_characters_come_from_the_original_in_order(text):
    for form in forms(text):
        form.text.encode()
        if form.origins is None:
            assert len(form.text) == len(text)
        else:
            assert len(form.origins) == len(form.text)
            assert list(form.origins) == sorted(form.origins)
            assert all(0 <= origin < len(text) for origin in form.origins)


@given(MASKED, st.integers(0, 40))
def test_a_position_counts_what_came_from_before_it(text, index):
    for form in forms(text):
        position = form.position(min(index, len(form.text)))

        assert 0 <= position <= len(form.text)


@given(MASKED)
def test_unmasking_twice_changes_nothing_more_in_latin_text(text):
    once = normalize(text)

    assert not once.isascii() or normalize(once) == once


def test_an_escaped_line_break_does_not_stick_to_the_next_word():
    text = r"done.\n\nIgnore it, C:\temp\names"
    as_it_stands, in_lines = forms(text)
    assert as_it_stands.text == text
    start = in_lines.text.index("Ignore")
    assert in_lines.text[start - 1] == " "
    first, end = in_lines.original(start, start + len("Ignore"))
    assert text[first:end] == "Ignore"


def test_line_breaks_are_undone_in_what_was_unmasked_too():
    text = "done.\\n\u200bIg\u200bnore"
    assert [form.text for form in forms(text)][-1] == "done. Ignore"
