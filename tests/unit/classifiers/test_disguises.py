"""A secret is known again in every encoding, in the middle of anything."""

import base64
import codecs
import json
import re
import string
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from classifiers.disguises import disguises, sight_of, worth_noting

LETTERS = string.ascii_letters + string.digits
SECRETS = st.text(LETTERS + "_-./+=", min_size=14, max_size=60).filter(worth_noting)
AROUND = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30)


def spaced(secret, _):
    return " ".join(secret)


def split(secret, _):
    secret = re.sub("[^0-9A-Za-z]", "", secret)
    third = max(len(secret) // 3, 6)
    pieces = [secret[:third], secret[third : 2 * third], secret[2 * third :]]
    if len(pieces[2]) < 6:
        pieces[1:] = [pieces[1] + pieces[2]]
    return json.dumps({f"part_{n}": piece for n, piece in enumerate(pieces)})


def in_url(secret, _):
    return "".join(f"%{ord(mark):02X}" for mark in secret)


ENCODINGS = {
    "as it is": lambda secret, _: secret,
    "in capitals": lambda secret, _: secret.upper(),
    "in small letters": lambda secret, _: secret.lower(),
    "turned round": lambda secret, _: secret[::-1],
    "rot13": lambda secret, _: codecs.encode(secret, "rot13"),
    "rot13 and turned round": lambda secret, _: codecs.encode(secret, "rot13")[::-1],
    "hex": lambda secret, _: secret.encode().hex(),
    "hex in capitals": lambda secret, _: secret.encode().hex().upper(),
    "hex with colons": lambda secret, _: secret.encode().hex(":"),
    "hex escapes": lambda secret, _: "".join(f"\\x{ord(mark):02x}" for mark in secret),
    "hex numbers": lambda secret, _: ", ".join(hex(ord(mark)) for mark in secret),
    "code points": lambda secret, _: json.dumps([ord(mark) for mark in secret]),
    "base64": lambda secret, around: base64.b64encode(f"{around}{secret}x".encode()).decode(),
    "base64 for addresses": lambda secret, around: base64.urlsafe_b64encode(
        f"{around}{secret}".encode()
    ).decode(),
    "base64 in lines": lambda secret, around: base64.encodebytes(
        f"{around}{secret}".encode()
    ).decode(),
    "base64 of it turned round": lambda secret, _: base64.b64encode(secret[::-1].encode()).decode(),
    "base64 twice": lambda secret, _: base64.b64encode(base64.b64encode(secret.encode())).decode(),
    "base64 of hex": lambda secret, _: base64.b64encode(secret.encode().hex().encode()).decode(),
    "base32": lambda secret, _: base64.b32encode(secret.encode()).decode(),
    "URL, what has to be": lambda secret, _: quote(secret, safe=""),
    "URL, all of it": in_url,
    "JSON": lambda secret, _: json.dumps(secret),
    "JSON escapes": lambda secret, _: "".join(f"\\u{ord(mark):04x}" for mark in secret),
    "with spaces": spaced,
    "in members of JSON": split,
    "in lines": lambda secret, _: "\\n".join(
        secret[at : at + 7] for at in range(0, len(secret), 7)
    ),
    "put together": lambda secret, _: f'"{secret[:7]}" + "{secret[7:]}"',
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(max_examples=60, deadline=None)
@given(secret=SECRETS, before=AROUND, after=AROUND, inner=AROUND)
def test_a_secret_is_seen_in_every_encoding(encoding, secret, before, after, inner):
    said = ENCODINGS[encoding](secret, inner)

    assert disguises(secret).seen_in(sight_of(f"{before} {said} {after}"))


@settings(max_examples=200, deadline=None)
@given(secret=SECRETS, text=st.text(max_size=400))
def test_a_text_that_has_nothing_of_a_secret_does_not_show_it(secret, text):
    runs = {secret[at : at + 4].casefold() for at in range(len(secret) - 3)}
    assume(not any(run in text.casefold() for run in runs))

    assert not disguises(secret).seen_in(sight_of(text))


@settings(max_examples=200, deadline=None)
@given(st.text(LETTERS, min_size=20, max_size=40), st.text(LETTERS, min_size=20, max_size=40))
def test_two_secrets_of_one_service_are_told_apart(one, other):
    one, other = f"sk-proj-{one}", f"sk-proj-{other}"
    assume(one.casefold()[8:16] not in other.casefold())

    assert not disguises(one).seen_in(sight_of(json.dumps({"key": other})))


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("OpenSesameAtTheGate7", "open the gate for sesame at 7"),
        ("correct-horse-7-battery-staple", "A horse is correct: the battery is full, staple 7."),
        ("AKIAIOSFODNN7ABCDEFG", "AKIAIOSFODNN is how they begin"),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-0000-4000-8000-000000000000"),
        ("hunter2-is-no-secret", "a hunter, 2 secrets"),
    ],
)
def test_what_looks_a_little_like_it_is_not_it(secret, said):
    assert not disguises(secret).seen_in(sight_of(said))


@pytest.mark.parametrize("said", ["hunter2", "aaaaaaaaaaaaaaaaaa", "----------------", "12345 678"])
def test_what_is_short_or_of_one_letter_is_not_noted(said):
    assert not worth_noting(said)


def test_a_short_canary_has_to_be_there_whole():
    known = disguises("zq7-kv-93x", whole=True)

    assert worth_noting("zq7-kv-93x", canary=True)
    assert known.seen_in(sight_of("the word is ZQ7KV93X."))
    assert not known.seen_in(sight_of("the word is zq7kv9."))


def test_most_of_a_secret_is_enough_and_less_is_not():
    secret = "k3Jx9QpLm2Vt7RzW5nYc8BdF"

    assert disguises(secret).seen_in(sight_of(f"it ends in {secret[5:]}"))
    assert not disguises(secret).seen_in(sight_of(f"it ends in {secret[-8:]}"))
