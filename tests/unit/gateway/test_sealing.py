from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sealing import LIFETIME_S, Bound, SealBroken, Sealer, Thought, opening_of
from model_runner.types import Message, Role

KEY = b"k" * 32
MINE = Bound("acme", "gpt-oss-20b", "How are you?")
EXCHANGE = "0123456789abcdef" * 2


def sealer(now=1_000_000.0, key=KEY):
    return Sealer(key, clock=lambda: now)


BLOB = sealer().seal("a thought", bound=MINE, exchange=EXCHANGE)


@given(st.text(st.characters(), max_size=200))
def test_what_was_sealed_is_opened_as_it_was(text):
    blob = sealer().seal(text, bound=MINE, exchange=EXCHANGE)

    assert sealer().open(blob, bound=MINE) == Thought(text, EXCHANGE)


@given(st.text(st.characters(), max_size=50), st.binary(max_size=200))
def test_a_trace_travels_with_the_text(text, trace):
    blob = sealer().seal(text, bound=MINE, exchange=EXCHANGE, trace=trace)

    assert sealer().open(blob, bound=MINE) == Thought(text, EXCHANGE, trace)


def test_the_text_cannot_be_read_off_the_blob():
    assert "secret" not in sealer().seal("secret", bound=MINE, exchange=EXCHANGE)


def test_two_seals_of_one_text_differ():
    assert sealer().seal("x", bound=MINE, exchange=EXCHANGE) != sealer().seal(
        "x", bound=MINE, exchange=EXCHANGE
    )


@pytest.mark.parametrize(
    "foreign", [{"project": "other"}, {"model": "gpt-oss-120b"}, {"opening": "How?"}]
)
def test_a_blob_is_bound_to_its_project_model_and_conversation(foreign):
    blob = sealer().seal("x", bound=MINE, exchange=EXCHANGE)

    with pytest.raises(SealBroken):
        sealer().open(blob, bound=replace(MINE, **foreign))


def test_project_and_model_cannot_trade_letters():
    blob = sealer().seal("x", bound=Bound("ab", "c", ""), exchange=EXCHANGE)

    with pytest.raises(SealBroken):
        sealer().open(blob, bound=Bound("a", "bc", ""))


@given(st.data())
def test_an_altered_blob_is_refused(data):
    place = data.draw(st.integers(0, len(BLOB) - 1))
    other = data.draw(st.sampled_from("ABCabc01-_=").filter(lambda c: c != BLOB[place]))

    with pytest.raises(SealBroken):
        sealer().open(BLOB[:place] + other + BLOB[place + 1 :], bound=MINE)


def test_another_installation_cannot_open_it():
    with pytest.raises(SealBroken):
        sealer(key=b"o" * 32).open(sealer().seal("x", bound=MINE, exchange=EXCHANGE), bound=MINE)


def test_an_old_blob_is_refused():
    blob = sealer(now=0).seal("x", bound=MINE, exchange=EXCHANGE)

    assert sealer(now=LIFETIME_S).open(blob, bound=MINE).text == "x"
    with pytest.raises(SealBroken):
        sealer(now=LIFETIME_S + 1).open(blob, bound=MINE)


@pytest.mark.parametrize("blob", ["", "AA", "not base64!", "ünïcode", "AQ==" * 3, "A" * 100])
def test_what_is_no_blob_is_refused(blob):
    with pytest.raises(SealBroken):
        sealer().open(blob, bound=MINE)


def test_a_conversation_is_known_by_what_was_first_said_to_the_model():
    said = [Message(Role.DEVELOPER, "Be kind."), Message(Role.USER, " How  are\nyou? ")]
    later = [Message(Role.ASSISTANT, "Fine."), Message(Role.USER, "Good.")]

    assert opening_of(said) == opening_of(said[1:] + later) == "How are you?"
    assert opening_of(said[:1]) == ""
