from datetime import UTC, datetime, timedelta
from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from policies.ladder import Ladder, Sanction, Standing, Step, standing

NOW = datetime(2026, 11, 26, tzinfo=UTC)
DAY = timedelta(days=1)
LADDER = Ladder(
    30 * DAY,
    (
        Step(1, Sanction.WARN),
        Step(3, Sanction.THROTTLE),
        Step(5, Sanction.SUSPEND, 7 * DAY),
        Step(8, Sanction.DEACTIVATE),
    ),
)


def ago(*days):
    return [NOW - each * DAY for each in days]


def test_nobody_without_strikes_is_sanctioned():
    assert standing([LADDER], [], NOW) == Standing()
    assert standing([], ago(1, 2, 3), NOW) == Standing()


def test_the_highest_step_that_the_count_reaches_is_in_force():
    one, two, three = (standing([LADDER], ago(*range(1, count + 1)), NOW) for count in (1, 2, 3))

    assert (one.strikes, one.sanction) == (1, Sanction.WARN)
    assert (two.strikes, two.sanction) == (2, Sanction.WARN)
    assert (three.strikes, three.sanction) == (3, Sanction.THROTTLE)


def test_a_strike_counts_for_the_window_and_not_a_moment_longer():
    tick = timedelta(microseconds=1)

    assert standing([LADDER], [NOW - 30 * DAY + tick], NOW).sanction is Sanction.WARN
    assert standing([LADDER], [NOW - 30 * DAY], NOW) == Standing()


def test_a_step_with_a_duration_ends_that_long_after_the_strike_that_reached_it():
    strikes = ago(12, 11, 10, 9, 7)
    tick = timedelta(microseconds=1)

    before = standing([LADDER], strikes, NOW - tick)
    after = standing([LADDER], strikes, NOW)

    assert (before.sanction, before.until) == (Sanction.SUSPEND, NOW)
    assert after.sanction is Sanction.THROTTLE


def test_another_strike_begins_the_duration_again():
    assert standing([LADDER], ago(12, 11, 10, 9, 8, 1), NOW).until == NOW + 6 * DAY


def test_a_deactivation_does_not_end_when_its_strikes_do():
    strikes = ago(*range(100, 108))

    assert standing([LADDER], strikes, NOW) == Standing(0, Sanction.DEACTIVATE, NOW - 100 * DAY)


def test_strikes_that_were_never_together_in_the_window_do_not_add_up():
    strikes = ago(*range(0, 400, 31))

    assert standing([LADDER], strikes, NOW) == Standing(1, Sanction.WARN, NOW)


def test_strikes_of_the_future_do_not_count_yet():
    assert standing([LADDER], [NOW + DAY], NOW) == Standing()
    assert standing([LADDER], [NOW], NOW).strikes == 1


def test_of_several_ladders_the_harshest_counts():
    harsh = Ladder(DAY, (Step(1, Sanction.SUSPEND, 2 * DAY),))

    assert standing([LADDER, harsh], ago(0.5), NOW).sanction is Sanction.SUSPEND
    assert standing([harsh, LADDER], ago(0.5), NOW).sanction is Sanction.SUSPEND


def test_of_two_suspensions_the_longer_one_counts():
    short = Ladder(DAY, (Step(1, Sanction.SUSPEND, DAY),))
    long = Ladder(DAY, (Step(1, Sanction.SUSPEND, 3 * DAY),))

    assert standing([short, long], ago(0.5), NOW).until == NOW + 2.5 * DAY


def test_a_sanction_is_since_the_strike_that_it_follows_from():
    assert standing([LADDER], ago(40, 9, 3), NOW).since == NOW - 9 * DAY  # the first that counts
    assert standing([LADDER], ago(6, 5, 4, 3, 2, 1), NOW).since == NOW - DAY  # the last
    assert standing([LADDER], ago(*range(8)), NOW).since == NOW  # the one that made it eight


def test_many_strikes_are_counted_in_little_time():
    strikes = [NOW - timedelta(minutes=minute) for minute in range(10_000)]

    began = perf_counter()
    standing([LADDER], strikes, NOW)

    assert perf_counter() - began < 1  # comparing each with each takes a minute


DAYS = st.lists(st.integers(0, 60), max_size=15)


@given(DAYS, st.integers(0, 60))
def test_one_more_strike_never_makes_it_milder(days, more):
    strikes = ago(*days)
    before = standing([LADDER], strikes, NOW)
    after = standing([LADDER], [*strikes, NOW - more * DAY], NOW)

    assert after.sanction >= before.sanction
    assert after.strikes >= before.strikes


@given(DAYS)
def test_the_order_of_strikes_never_matters(days):
    strikes = ago(*days)

    assert standing([LADDER], strikes, NOW) == standing([LADDER], strikes[::-1], NOW)


@given(DAYS)
def test_it_agrees_with_the_obvious_count(days):
    strikes = ago(*days)
    found = Sanction.NONE
    for moment in strikes:
        then = sum(moment - LADDER.window < each <= moment for each in strikes)
        count = sum(NOW - LADDER.window < each for each in strikes)
        for step in LADDER.steps:
            lasting = (
                moment + step.duration > NOW
                if step.duration
                else count >= step.at or step.sanction is Sanction.DEACTIVATE
            )
            if then >= step.at and lasting:
                found = max(found, step.sanction)

    assert standing([LADDER], strikes, NOW).sanction is found
