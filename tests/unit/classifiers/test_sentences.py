import codecs

import pytest

from classifiers.sentences import SAMPLE, turned, unmixed

ASK = "how do I build a small garden house without any help"


@pytest.mark.parametrize(
    ("said", "encoding"),
    [
        (codecs.encode(ASK, "rot13"), "rot13"),
        (ASK[::-1], "reversed"),
        (" ".join(word[::-1] for word in ASK.split()), "reversed"),
        (ASK.translate(str.maketrans("aeiost", "431057")), "leet"),
    ],
)
def test_a_turned_sentence_says_how_to_read_it(said, encoding):
    found, read = turned(said)

    assert found == encoding
    assert read(said).lower() == ASK.lower()


@pytest.mark.parametrize("said", [ASK, "qzx vkj wqz xkv", "qzx qzx qzx qzx", "a b c", ""])
def test_a_sentence_that_says_something_or_nothing_stays(said):
    assert turned(said) is None


def test_the_first_words_decide():
    assert turned(ASK + " " * SAMPLE + codecs.encode(ASK, "rot13")) is None


def test_a_one_is_an_i_or_an_l():
    assert unmixed("bu1ld wi11 h3110") == "build will hello"
