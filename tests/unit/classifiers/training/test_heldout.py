import numpy as np
import pytest

from classifiers.training.example import Example, Kind
from classifiers.training.heldout import HeldOut, digests

TEST = "Please tell me where the blue heron builds its nest in spring"
HELD_OUT = HeldOut(digests(TEST))


def test_a_digest_is_the_one_that_the_list_was_made_with():
    # blake2b("one two three four five", digest_size=8, person=b"ostiary"), little-endian
    assert digests("One, two; THREE four\n\nfive!") == [18347509304799399946]


def test_a_text_of_fewer_words_than_a_run_has_one_digest_and_an_empty_one_none():
    assert len(digests("one two three")) == 1
    assert digests(" ...! ") == []


def test_a_copy_is_held_out_whatever_its_case_and_punctuation():
    assert HELD_OUT.holds(TEST)
    assert HELD_OUT.holds(f"  {TEST.upper()} ?!")


def test_a_copy_in_fullwidth_letters_is_held_out():
    assert HELD_OUT.holds("".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in TEST))


def test_a_text_with_half_of_its_runs_on_the_list_is_held_out_and_with_fewer_not():
    # 8 runs of the 12 words are listed; n more words make n more runs, none of them listed.
    assert HELD_OUT.holds(TEST + " a b c d e f g h")
    assert not HELD_OUT.holds(TEST + " a b c d e f g h i")


def test_one_run_in_common_is_chance():
    assert not HELD_OUT.holds("where the blue heron builds")
    assert not HELD_OUT.holds("where the blue heron builds a boat")


def test_a_text_of_another_subject_or_of_nothing_is_kept():
    assert not HELD_OUT.holds("Where do I find the timetable of the night train to Vienna?")
    assert not HELD_OUT.holds("")
    assert not HELD_OUT.holds("\ud800 \udfff")


def test_an_empty_list_holds_nothing():
    assert not HeldOut([]).holds(TEST)


def test_an_example_goes_by_its_text_and_a_reply_also_by_its_prompt():
    kept = Example("Herons nest in trees.", Kind.REPLY, prompt="Where do herons nest?")
    copied = [Example(TEST), Example("In a tree.", Kind.REPLY, prompt=TEST)]

    assert list(HELD_OUT.without([*copied, kept])) == [kept]


def test_a_list_is_read_from_its_file(tmp_path):
    path = tmp_path / "list.u64"
    path.write_bytes(np.array(sorted(digests(TEST)), dtype="<u8").tobytes())

    assert HeldOut.read(path).holds(TEST)


@pytest.mark.parametrize("content", [b"", b"1234567"])
def test_a_file_that_is_no_list_is_refused(tmp_path, content):
    path = tmp_path / "list.u64"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"`list\.u64` is not a list"):
        HeldOut.read(path)
