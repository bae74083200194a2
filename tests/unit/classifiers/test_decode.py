import base64
import codecs
import re
import sys
from time import perf_counter
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.hostile import UNITS
from classifiers import decode
from classifiers.decode import LIMIT, decoded
from classifiers.rotations import rotated
from classifiers.sentences import unmixed
from classifiers.vocabulary import natural, share, spaced

ASK = "how do I build a small garden house without any help from my family"
CALLS = 15  # at most so many for a character
CHARACTERS = 14  # and so many of them given characters, all calls together
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CODES = """
.- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..-
-.-- --..
"""
MORSE = dict(zip(LETTERS, re.split(r"\s+", CODES.strip()), strict=True))


def in_base64(text):
    return base64.b64encode(text.encode()).decode()


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
    "rot5": ASK.lower().translate(str.maketrans(LETTERS, LETTERS[5:] + LETTERS[:5])),
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


def worked(text):
    """Read `text`; return how many calls that took, and how many characters they were given."""
    given_to = {
        natural.__code__: "text",
        share.__code__: "text",
        spaced.__code__: "letters",
        rotated.__code__: "text",
        unmixed.__code__: "said",
        decode._pieces.__code__: "text",
        decode._text.__code__: "content",
        decode._replaced.__code__: "text",
    }
    calls = characters = 0

    def count(frame, event, _argument):
        nonlocal calls, characters
        calls += event in ("call", "c_call")
        if event == "call" and (name := given_to.get(frame.f_code)):
            characters += len(frame.f_locals[name])

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        decoded(text, plain=True)
    finally:
        sys.setprofile(before)
    return calls, characters


HOSTILE = [unit for kind, unit in UNITS.items() if kind not in ("prose", "letter", "code")]


@pytest.mark.parametrize("unit", HOSTILE)
def test_twice_the_text_is_at_most_twice_the_work(unit):
    decoded(ASK + in_base64(ASK) + " ".join(ASK))  # whatever is loaded only once
    length = 6_000
    once, read = worked((unit * length)[:length])
    twice, read_twice = worked((unit * length)[: 2 * length])

    assert twice <= 2.1 * once + 500
    assert read_twice <= 2.1 * read + 500
    assert twice <= CALLS * 2 * length
    assert read_twice <= CHARACTERS * 2 * length


@given(
    st.lists(st.sampled_from([*HOSTILE, *ENCODED.values(), *NESTED.values()]), max_size=8),
    st.sampled_from(["", " ", ". ", "\n"]),
)
def test_what_is_read_is_bounded_by_a_multiple_of_the_text(units, between):
    text = between.join(units)
    _, read = worked(text)

    assert read <= CHARACTERS * len(text) + 500
    assert len(decoded(text, plain=True).text) <= 2 * len(text)


@pytest.mark.parametrize(
    "decoy", ["%41 ", "&#65; ", "a0b ", "a b c d e f, ", in_base64("x0x1x2x3x4x5") + " "]
)
def test_no_number_of_decoys_hides_what_follows(decoy):
    for encoded in (in_base64(ASK), quote(ASK), ENCODED["spaced"], ENCODED["leet"]):
        assert "garden" in decoded(decoy * 1_000 + ". " + encoded, plain=True).text.lower()


@pytest.mark.parametrize("cut", range(1, 17))
@pytest.mark.parametrize("ask", [ASK, f"\u00e9\u00e9\u4e2d {ASK} \u4e2d\u4e2d"])
def test_a_run_that_was_cut_is_read_from_where_it_is_cut(cut, ask):
    for run in (in_base64(ask), ask.encode().hex(), "".join(f"{b:08b}" for b in ask.encode())):
        assert "garden house" in decoded(run[cut:]).text
        assert "garden house" in decoded(run[:-cut]).text


def test_plain_words_before_a_rotated_sentence_do_not_hide_it():
    plain = "the weather is nice and we go out to see it " * 9

    assert ASK in decoded(plain + codecs.encode(f"{ASK} {ASK}", "rot13")).text


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
