from datetime import UTC, datetime, timedelta

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
    assert standing([LADDER], ago(1), NOW) == Standing(1, Sanction.WARN)
    assert standing([LADDER], ago(1, 2), NOW) == Standing(2, Sanction.WARN)
    assert standing([LADDER], ago(1, 2, 3), NOW) == Standing(3, Sanction.THROTTLE)


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

    assert standing([LADDER], strikes, NOW) == Standing(0, Sanction.DEACTIVATE)


def test_strikes_that_were_never_together_in_the_window_do_not_add_up():
    strikes = ago(*range(0, 400, 31))

    assert standing([LADDER], strikes, NOW) == Standing(1, Sanction.WARN)


def test_strikes_of_the_future_do_not_count_yet():
    assert standing([LADDER], [NOW + DAY], NOW) == Standing()
    assert standing([LADDER], [NOW], NOW).strikes == 1


def test_of_several_ladders_the_harshest_counts():
    harsh = Ladder(DAY, (Step(1, Sanction.SUSPEND, 2 * DAY),))

    assert standing([LADDER, harsh], ago(0.5), NOW).sanction is Sanction.SUSPEND
    assert standing([harsh, LADDER], ago(0.5), NOW).sanction is Sanction.SUSPEND


DAYS = st.lists(st.integers(0, 60), max_size=15)


@given(DAYS, st.integers(0, 60))
def test_one_more_strike_never_makes_it_milder(days, more):
    strikes = ago(*days)
    before = standing([LADDER], strikes, NOW)
    after = standing([LADDER], [*strikes, NOW - more * DAY], NOW)

    assert after.sanction >= before.sanction
    assert after.strikes >= before.strikes


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
