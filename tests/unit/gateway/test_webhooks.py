from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks import MOST_TRIES, wait_s

CHANCES = st.floats(0, 1)


@given(st.integers(1, MOST_TRIES), CHANCES)
def test_a_wait_is_spread_over_half_of_its_length(tries, chance):
    assert wait_s(tries, 0.0) <= wait_s(tries, chance) <= wait_s(tries, 1.0)
    assert wait_s(tries, 0.0) * 2 == wait_s(tries, 1.0)


def test_each_wait_is_longer_than_the_one_before_up_to_six_hours():
    waits = [wait_s(tries, 1.0) for tries in range(1, 100)]

    assert waits[0] == 5.0
    assert all(before <= after for before, after in pairwise(waits))
    assert waits[-1] == 6 * 3600


def test_tries_go_on_for_more_than_a_day():
    assert sum(wait_s(tries, 0.5) for tries in range(1, MOST_TRIES)) > 86_400
