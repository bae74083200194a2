import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.envelope import (
    Place,
    Unreadable,
    commitment,
    new_key,
    seal,
    unseal,
    unwrap,
    wrap,
)

PLACE = Place("shop", "0198", "input")
ELSEWHERE = [
    replace(PLACE, project="bank"),
    replace(PLACE, record_id="0199"),
    replace(PLACE, field="output"),
    Place("shop0198", "", "input"),  # the same bytes, cut elsewhere
]


@given(st.binary(max_size=2000))
def test_what_was_sealed_opens_where_it_belongs(text):
    key = new_key()

    assert unseal(key, seal(key, text, PLACE).box, PLACE) == text


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_ciphertext_opens_nowhere_else(place):
    key = new_key()

    with pytest.raises(Unreadable):
        unseal(key, seal(key, b"secret", PLACE).box, place)


def test_another_key_opens_nothing():
    with pytest.raises(Unreadable):
        unseal(new_key(), seal(new_key(), b"secret", PLACE).box, PLACE)


@given(st.data())
def test_an_altered_ciphertext_does_not_open(data):
    key = new_key()
    box = bytearray(seal(key, b"secret", PLACE).box)
    at = data.draw(st.integers(0, len(box) * 8 - 1))
    box[at // 8] ^= 1 << at % 8

    with pytest.raises(Unreadable):
        unseal(key, bytes(box), PLACE)


@pytest.mark.parametrize("size", range(12))
def test_a_ciphertext_that_is_cut_short_does_not_open(size):
    key = new_key()

    with pytest.raises(Unreadable):
        unseal(key, seal(key, b"secret", PLACE).box[:size], PLACE)


def test_the_digest_is_that_of_the_ciphertext():
    sealed = seal(new_key(), b"secret", PLACE)

    assert sealed.digest == hashlib.sha256(sealed.box).hexdigest()


def test_a_commitment_holds_for_one_text_at_one_place_under_one_key():
    key = new_key()
    committed = seal(key, b"secret", PLACE).commitment

    assert committed == commitment(key, b"secret", PLACE)
    others = [commitment(key, b"other", PLACE), commitment(new_key(), b"secret", PLACE)]
    others += [commitment(key, b"secret", place) for place in ELSEWHERE]
    assert committed not in others
    assert committed != hashlib.sha256(b"secret").hexdigest()


def test_the_same_text_is_sealed_differently_each_time():
    key = new_key()

    assert seal(key, b"secret", PLACE).box != seal(key, b"secret", PLACE).box


def test_a_wrapped_key_opens_for_its_place_alone():
    key, secret = new_key(), new_key()
    box = wrap(key, secret, "data", "shop", "1")

    assert unwrap(key, box, "data", "shop", "1") == secret
    for place in [("data", "shop", "2"), ("data", "shop1", ""), ("project", "shop", "1")]:
        with pytest.raises(Unreadable):
            unwrap(key, box, *place)
