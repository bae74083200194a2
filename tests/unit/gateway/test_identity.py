import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import ENVIRONMENTS, mint, prefix_of

KEY, PREFIX = mint("live")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_minted_key_shows_its_environment_and_its_prefix(environment):
    key, prefix = mint(environment)

    assert key.startswith(f"ost_{environment}_{prefix}_")
    assert prefix_of(key) == prefix


def test_an_unknown_environment_is_refused():
    with pytest.raises(ValueError, match="`staging` is not one of live, test"):
        mint("staging")


def test_no_two_keys_are_alike():
    assert len({mint("test") for _ in range(200)}) == 200


@given(st.integers(0, len(KEY) - 1), st.characters())
def test_one_wrong_character_is_noticed_without_asking_anybody(position, character):
    mistyped = KEY[:position] + character + KEY[position + 1 :]

    assert (prefix_of(mistyped) == PREFIX) == (mistyped == KEY)


@given(st.text(max_size=80))
def test_any_other_text_is_no_key(text):
    assert prefix_of(text) is None


@given(st.integers(0, len(KEY) - 1))
def test_a_key_that_was_cut_off_is_no_key(length):
    assert prefix_of(KEY[:length]) is None
