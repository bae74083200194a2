from itertools import count

import pytest

from gateway.audit.fold import Fold, Recorded

WHO = "ab" * 16
REPLICA = "rep_01a218d1a94476b4b0971e0f1fcf5e6a"


@pytest.fixture
def new_entry():
    """Returns entries of one replica, each after the one before."""
    numbers = count(1)

    def make(kind, request=None, document=None, **changes):
        number = next(numbers)
        entry = Recorded(
            seq=number,
            id=f"01a218d1-a944-76b4-b097-{number:012x}",
            type=kind,
            recorded_at=f"2026-07-01T00:00:{number:02}.000000Z",
            request_id=request,
            replica=REPLICA,
            replica_seq=number,
            terminal=kind in {"request.completed", "request.lost"},
            document=document,
        )
        return entry._replace(**changes)

    return make


def folded(*entries, whole=True):
    fold = Fold(whole=whole)
    for entry in entries:
        fold.take(entry)
    return fold


def struck(request, rule="no-bombs", at="2026-07-01T00:00:00.000000Z"):
    return {
        "request": {"id": request},
        "actor": {"project": "shop", "safety_identifier": WHO},
        "strike": {"decision": f"dec_{request}", "rule": rule, "policy": "baseline", "at": at},
    }


def reversed_(*requests, count=None):
    return {
        "end_user": {"project": "shop", "safety_identifier": WHO},
        "reversal": {"strikes": len(requests) if count is None else count, "reason": "r"},
        "decisions": [f"dec_{request}" for request in requests],
    }


def test_a_strike_counts_until_it_is_reversed(new_entry):
    first = new_entry("enforcement.struck", "a", struck("a"))
    second = new_entry("enforcement.reversed", None, reversed_("a"))
    third = new_entry("enforcement.struck", "b", struck("b"))
    fold = folded(first, second, third)

    assert fold.state["strike", "a", "no-bombs"]["reversed"]
    assert not fold.state["strike", "b", "no-bombs"]["reversed"]
    assert fold.missing == []


def test_a_reversal_of_a_strike_that_is_not_in_the_log_is_missing_something(new_entry):
    fold = folded(new_entry("enforcement.reversed", None, reversed_("a", count=2)))

    [lack] = fold.missing
    assert (lack.kind, lack.about) == ("reversal", f"shop/{WHO}")


def test_a_sanction_for_more_strikes_than_there_are_is_missing_one(new_entry):
    sanction = {"from": "none", "to": "warn", "since": None, "until": None, "strikes": 2}
    document = {"actor": {"project": "shop", "safety_identifier": WHO}, "sanction": sanction}
    fold = folded(
        new_entry("enforcement.struck", "a", struck("a")),
        new_entry("enforcement.sanctioned", "a", document),
    )

    assert [lack.kind for lack in fold.missing] == ["strike"]
    assert fold.sanctions["shop", WHO]["to"] == "warn"


@pytest.mark.parametrize(("went", "detail"), [(1, "number 2"), (2, "number 2 to 3")])
def test_a_gap_in_a_replicas_numbers_is_named(new_entry, went, detail):
    entries = [new_entry("replica.started") for _ in range(5)]
    fold = folded(*entries[:1], *entries[1 + went :])

    assert fold.missing == [("gap", REPLICA, detail)]


def test_a_stretch_does_not_say_what_was_before_it(new_entry):
    new_entry("replica.started")
    fold = folded(new_entry("request.completed", "a"), whole=False)

    assert fold.missing == []


def test_a_replica_that_came_later_must_begin_with_its_first_number(new_entry):
    later = "rep_01a218d1ffff76b4b0971e0f1fcf5e6a"
    first = new_entry("replica.started")
    fold = folded(first, new_entry("replica.stopped", replica=later), whole=False)

    assert fold.missing == [("gap", later, "number 1")]


def test_a_request_that_ended_is_neither_open_nor_missing(new_entry):
    fold = folded(new_entry("request.admitted", "a"), new_entry("request.completed", "a"))

    assert (fold.open, fold.missing, fold.never_ended()) == ({}, [], [])


def test_a_second_end_is_named(new_entry):
    fold = folded(
        new_entry("request.admitted", "a"),
        new_entry("request.completed", "a"),
        new_entry("request.lost", "a"),
    )

    [lack] = fold.missing
    assert (lack.kind, lack.about) == ("not_admitted", "a")


def test_an_open_request_is_missing_its_end_once_its_replica_is_closed_or_a_day_has_passed(
    new_entry,
):
    fold = folded(new_entry("request.admitted", "a"))
    assert fold.never_ended() == []
    assert [lack.about for lack in fold.never_ended(frozenset({REPLICA}))] == ["a"]

    fold.take(new_entry("replica.stopped", recorded_at="2026-07-03T00:00:00.000000Z"))
    assert [lack.about for lack in fold.never_ended()] == ["a"]


def test_entries_out_of_order_are_refused(new_entry):
    first, second = new_entry("replica.started"), new_entry("replica.stopped")

    with pytest.raises(ValueError, match="in the order of the log"):
        folded(second, first)


def test_an_entry_that_lacks_what_its_type_says_is_refused(new_entry):
    with pytest.raises(ValueError, match=r"entry 1 is no `hold\.added`"):
        folded(new_entry("hold.added", None, {"hold": {}}))
