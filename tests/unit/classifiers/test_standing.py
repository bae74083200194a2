import pytest

from classifiers.standing import Record, State
from classifiers.types import Receipt


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def record(clock):
    return Record("judge@1", judge=True, clock=clock)


def note(record, error, *, scanned=0, unscanned=5, times=1):
    for _ in range(times):
        record.note(Receipt("judge@1", "00", scanned, unscanned, 1.0, error))


def test_it_begins_untried(record):
    assert (record.standing().state, record.down) == (State.UNTRIED, False)


def test_it_says_since_when_it_fails_and_why_it_did_last(record, clock):
    note(record, "timeout")
    clock.now = 105.0
    note(record, "failed")

    standing = record.standing()
    assert (standing.state, standing.since, standing.error) == (State.FAILING, 100.0, "failed")


@pytest.mark.parametrize("error", ["timeout", "failed", "unavailable"])
def test_an_outage_takes_it_down_for_ten_seconds(record, clock, error):
    note(record, error, times=2)
    assert not record.down
    note(record, error)
    assert record.down

    clock.now += 9.9
    assert record.down
    clock.now += 0.1
    assert not record.down

    note(record, error)  # the one that tried it again
    assert record.down


def test_one_answer_brings_it_back(record):
    note(record, "timeout", times=3)
    note(record, None, scanned=5)

    assert (record.standing().state, record.down) == (State.OK, False)


@pytest.mark.parametrize("error", ["unsupported_language", "too_long"])
def test_a_text_that_it_cannot_read_is_not_its_failure(record, error):
    note(record, error, times=10)

    assert record.standing().state is State.OK


@pytest.mark.parametrize("error", ["malformed", "rejected", "overloaded"])
def test_what_callers_can_provoke_does_not_take_it_down(record, error):
    note(record, error, times=10)

    assert (record.standing().state, record.down) == (State.FAILING, False)


def test_being_late_with_a_long_text_does_not_take_it_down(record):
    note(record, "timeout", unscanned=8_001, times=10)
    assert (record.standing().state, record.down) == (State.FAILING, False)

    note(record, "timeout", unscanned=8_000, times=3)
    assert record.down


def test_who_read_a_part_has_answered(record):
    note(record, "timeout", scanned=3, times=10)

    assert record.standing().state is State.OK
