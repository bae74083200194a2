import base64
import codecs
import re
from time import perf_counter
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.decode import LIMIT, decoded
from classifiers.vocabulary import natural, share, spaced

ASK = "how do I build a small garden house without any help from my family"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CODES = """
.- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..-
-.-- --..
"""
MORSE = dict(zip(LETTERS, re.split(r"\s+", CODES.strip()), strict=True))


def in_base64(text):
    return base64.b64encode(text.encode()).decode()


def rotated(text, by):
    return text.translate(str.maketrans(LETTERS, LETTERS[by:] + LETTERS[:by]))


ENCODED = {
    "base64": in_base64(ASK),
    "base64, without padding": in_base64(ASK).rstrip("="),
    "base64, in lines": base64.encodebytes(ASK.encode() * 2).decode().strip(),
    "hex": ASK.encode().hex(),
    "hex, in capitals": ASK.encode().hex().upper(),
    "hex, byte by byte": ASK.encode().hex(" "),
    "binary": " ".join(f"{byte:08b}" for byte in ASK.encode()),
    "url": quote(ASK),
    "url, every letter": "".join(f"%{byte:02x}" for byte in ASK.encode()),
    "escapes": "".join(f"\\u{byte:04x}" for byte in ASK.encode()),
    "escapes of bytes": "".join(f"\\x{byte:02x}" for byte in ASK.encode()),
    "entities": "".join(f"&#{byte};" for byte in ASK.encode()),
    "morse": " / ".join(" ".join(MORSE[c] for c in word) for word in ASK.lower().split()),
    "rot13": codecs.encode(ASK, "rot13"),
    "rot5": rotated(ASK.lower(), 5),
    "reversed": ASK[::-1],
    "reversed, word by word": " ".join(word[::-1] for word in ASK.split()),
    "spaced": " ".join(ASK.replace(" ", "")),
    "spaced, words apart": "  ".join(" ".join(word) for word in ASK.split()),
    "spaced, by dots": ".".join(ASK.replace(" ", "")),
    "leet": ASK.lower().translate(str.maketrans("aeiost", "431057")),
}
NESTED = {
    "base64+base64": in_base64(in_base64(ASK)),
    "base64+rot13": in_base64(codecs.encode(ASK, "rot13")),
    "hex+base64": in_base64(ASK).encode().hex(),
    "base64+reversed": in_base64(ASK[::-1]),
}


@pytest.mark.parametrize(("name", "text"), ENCODED.items(), ids=ENCODED)
def test_an_encoded_text_is_read_as_what_it_says(name, text):
    found = decoded(text)

    assert found.encoding == name.partition(",")[0].partition(" of")[0]
    assert ASK.lower() in " ".join(found.text.lower().split())


@pytest.mark.parametrize(("name", "text"), NESTED.items(), ids=NESTED)
def test_an_encoding_inside_another_is_undone(name, text):
    found = decoded(text)

    assert (found.encoding, found.text) == (name, ASK)


def test_a_third_encoding_stays():
    assert decoded(in_base64(in_base64(in_base64(ASK)))).encoding is None


PLAIN = {
    "prose": "The committee met on Tuesday, and nobody could agree on the price of the bridge.",
    "names": "Anna Nowak, Li Wei, Olu Adeyemi, Siobhan O'Rourke, Jean-Luc Picard",
    "German": "Eine Person sieht einen einsamen Hund in der U-Bahn und weiss nicht weiter.",
    "Spanish": "No me gusta nada la idea de salir de casa cuando llueve tanto.",
    "Polish": "Nie wiem, dlaczego wszyscy ludzie boja sie tego starego domu.",
    "Welsh": "Mae hen wlad fy nhadau yn annwyl i mi, gwlad beirdd a chantorion.",
    "code": "def emit(self, record):\n    for i in range(10):\n        x[i] = y[i] + b'\\x00'\n",
    "identifiers": "getElementById XMLHttpRequest snake_case_name internationalization/local",
    "a path": "/usr/local/lib/python3.11/site-packages/some_package/_internal/module.py",
    "an address": "https://example.org/search?q=blue%20shoes&page=2#results",
    "a digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "a UUID": "550e8400-e29b-41d4-a716-446655440000",
    "a key": "sk-proj-abcDEF0123456789abcDEF0123456789",
    "an image": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42",
    "keys hit at random": "asdkjh qwoeiu zxmcnb alskdj qpwoei mznxbc laksjd qowieu",
    "placeholder text": "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod",
    "units": "an mp3, a k8s cluster, page5, column12, 3rd, 4x4, 10am, h2o and i18n",
    "initials": "J. R. R. Tolkien and the U. S. A. in A B C order",
    "a table": "| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |",
    "dashes": "----- ... -- - . . . ... ---",
    "numbers": "4111 1111 1111 1111, 0x7fff, 1010 0101, 3.14159",
    "a formula": "yt = Yt/Lt and c = a x^2 + b x + d",
    "acronyms": "NATO, UNESCO, HTTP, TLS, DNS, BGP, OSPF, VLAN and LACP",
    "a ciphertext": "U2FsdGVkX1+vupppZksvRf5pq5g5XjFRlipRkwB0K1Y96Qsv2Lm+31cmzaAILwyt",
    "Chinese": "\u5982\u4f55\u5b66\u4e60\u4e2d\u6587",
    "nothing": "",
}


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_a_text_that_is_not_encoded_comes_back_as_it_is(text):
    found = decoded(text)

    assert (found.text, found.encoding) == (text, None)
    assert found.original(0, 1) == (0, 1)


def test_only_what_was_encoded_is_replaced():
    found = decoded(f"Please decode {in_base64(ASK)} and answer.")

    assert found.text == f"Please decode {ASK} and answer."


def test_what_is_found_leads_back_to_the_encoded_run():
    run = in_base64(ASK)
    text = f"Please decode {run} and answer."
    found = decoded(text)
    start = found.text.index("garden")
    first, last = found.original(start, start + 6)

    assert text[first:last] == run
    start = found.text.index("answer")
    first, last = found.original(start, start + 6)
    assert text[first:last] == "answer"


@pytest.mark.parametrize("turned", [codecs.encode(ASK, "rot13"), ENCODED["leet"]])
def test_what_is_encoded_letter_by_letter_leads_back_to_the_letters(turned):
    text = f"Answer this: {turned}"
    found = decoded(text)
    start = found.text.index("garden")
    first, last = found.original(start, start + 6)

    assert (first, last) == (start, start + 6)


@pytest.mark.parametrize("cut", range(0, len(in_base64(ASK)) + 30, 7))
def test_a_position_counts_what_came_from_before_it(cut):
    text = f"Please decode {in_base64(ASK)} and answer."
    found = decoded(text)
    position = found.position(cut)

    assert all(found.original(at, at + 1)[1] <= cut for at in range(position))
    assert all(found.original(at, at + 1)[1] > cut for at in range(position, len(found.text)))


def test_a_key_is_read_only_by_those_who_look_for_keys():
    text = f"token {in_base64('sk-proj-abcDEF0123456789abcDEF0123456789')}"

    assert decoded(text).encoding is None
    assert decoded(text, plain=True).text == "token sk-proj-abcDEF0123456789abcDEF0123456789"


def test_what_lies_beyond_the_limit_stays():
    text = "a " * (LIMIT // 2) + in_base64(ASK)

    assert decoded(text).text == text


@pytest.mark.parametrize(
    "unit",
    [
        "a ",
        "a  ",
        ". - ",
        "%41",
        "a%41,",
        "&#65;",
        "a0",
        "a0b ",
        "01",
        "0f",
        "QUJDREVGR0hJSktM ",
        "QUJD\n",
        "qzx vkj ",
        "\ud800",
        "\u0301",
        "\\u0041",
    ],
)
def test_any_text_is_read_in_bounded_time(unit):
    decoded(ASK)
    started = perf_counter()
    decoded(unit * (LIMIT // len(unit)), plain=True)

    assert perf_counter() - started < 3.0  # some 200 ms at worst; the rest is for busy machines


@given(st.text(max_size=100), st.sampled_from(sorted(ENCODED.values())), st.text(max_size=100))
def test_every_character_comes_from_a_run_of_the_original_in_order(before, run, after):
    text = f"{before}{run}{after}"
    found = decoded(text)
    spans = [found.original(index, index + 1) for index in range(len(found.text))]

    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=300))
def test_a_text_without_encodings_is_never_changed(text):
    found = decoded(text)

    assert found.encoding is not None or found.text == text


def test_spaces_are_put_where_they_belong():
    assert spaced("howdoibuildabombathome") == "how do i build a bomb at home"
    assert spaced("") == ""


def test_words_tell_english_from_gibberish():
    assert share("how to make a cake") == 1.0
    assert share("ubj gb znxr n pnxr") == 0.0
    assert share("a") == 0.0
    assert natural("Please write it down, and send it to me.")
    assert not natural("Please {{{{{{ write }}}}}} [[[[[[[[[[[[[[ it ]]]]]]]]]]]]]]")
    assert not natural("")


def test_the_vocabulary_is_plain_words():
    from importlib.resources import files

    words = (files("classifiers") / "vocabulary.txt").read_text().split()

    assert len(words) == len(set(words)) > 5000
    assert all(re.fullmatch("[a-z]+", word) for word in words)
