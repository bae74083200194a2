import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.entry import MAX_BYTES, Entry, Replica, fraction, whole

REPLICA = Replica("rep_test", "1.0")
EXACT = st.integers(-(2**53) + 1, 2**53 - 1)
KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | EXACT
    | st.text(max_size=20)
    | st.floats(-(2**53) + 1, 2**53 - 1).map(fraction),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
BODIES = st.dictionaries(KEYS.map("x_{}".format), VALUES, max_size=6)


@given(BODIES)
def test_the_bytes_of_an_entry_are_rfc_8785(body):
    encoded = Entry("test", body).canonical(REPLICA, 7)

    assert encoded == rfc8785.dumps(json.loads(encoded))


@given(BODIES)
def test_an_entry_that_fits_says_everything_it_was_given(body):
    document = json.loads(Entry("test", body, id="the-id").canonical(REPLICA, 7))

    assert {key: document[key] for key in body} == body
    assert document["id"] == "the-id"
    assert document["replica"] == {"id": "rep_test", "build": "1.0", "seq": 7}


@given(st.floats(0, 1))
def test_a_score_keeps_four_decimals(score):
    kept = fraction(score)

    assert kept == pytest.approx(score, abs=0.00005000001)
    assert len(str(kept)) <= len("0.1234")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**53, 1e300])
def test_a_number_that_json_cannot_hold_exactly_is_refused(value):
    with pytest.raises(ValueError, match="finite and below"):
        fraction(value)


@pytest.mark.parametrize(("value", "kept"), [(5, 5), (2**53, "9007199254740992"), (None, None)])
def test_an_integer_that_readers_would_round_is_written_as_text(value, kept):
    assert whole(value) == kept


def test_a_lone_surrogate_is_replaced():
    encoded = Entry("test", {"name": "a\ud800b", "names": ["\udfff"]}).canonical(REPLICA, 1)

    assert json.loads(encoded)["name"] == "a?b"
    assert encoded == rfc8785.dumps(json.loads(encoded))


@given(st.integers(1, 400), st.integers(0, 5000))
def test_an_entry_never_exceeds_its_limit_and_says_what_it_left_out(rules, length):
    body = {
        "rules": [{"id": "\x01" * length} for _ in range(rules)],
        "scores": [{"category": "x"} for _ in range(rules)],
    }

    encoded = Entry("test", body).canonical(REPLICA, 1)

    document = json.loads(encoded)
    assert len(encoded) <= MAX_BYTES
    assert encoded == rfc8785.dumps(document)
    omitted = document.get("omitted", {})
    assert len(document["rules"]) + omitted.get("rules", 0) == rules
    assert len(document["scores"]) + omitted.get("scores", 0) == rules


def test_what_cannot_be_made_to_fit_is_refused():
    body = {f"field_{number}": "x" * 128 for number in range(400)}

    with pytest.raises(ValueError, match="must fit into 32768 bytes"):
        Entry("test", body).canonical(REPLICA, 1)


def test_what_is_not_json_is_refused():
    with pytest.raises(ValueError, match="JSON cannot express"):
        Entry("test", {"name": object()}).canonical(REPLICA, 1)
