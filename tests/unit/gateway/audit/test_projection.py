import json

from gateway.audit.entry import Entry, Replica
from gateway.audit.projection import TERMINAL, columns_of
from gateway.types import Outcome

REPLICA = Replica("rep_test", "1.0")


def columns(entry):
    row = entry.row(REPLICA, 3)
    return tuple(columns_of(json.loads(row.body))), row[:-1]


def test_every_column_follows_from_the_entry():
    request = {"request": {"id": "req_1", "endpoint": "chat"}, "actor": {"project": "shop"}}
    entries = [
        Entry("request.completed", request, "req_1", "shop", terminal=True),
        Entry("decision.recorded", request, "req_1", "shop"),
        Entry("replica.started", {}),
        Entry("key.created", {"actor": {"key": "cli"}, "key": {"project": "shop"}}, project="shop"),
    ]
    for entry in entries:
        derived, stored = columns(entry)
        assert derived == stored
        assert "project" not in json.loads(entry.row(REPLICA, 3).body)


def test_what_the_body_does_not_say_of_its_columns_is_added():
    for body in ({}, {"actor": {"project": "other"}}, {"request": {"endpoint": "chat"}}):
        derived, stored = columns(Entry("test", body, "req_1", "shop"))

        assert derived == stored
        assert (stored[3], stored[4]) == ("req_1", "shop")


def test_what_only_the_body_says_is_in_the_columns():
    derived, stored = columns(Entry("test", {"request": {"id": "r"}, "hold": {"project": "shop"}}))

    assert derived == stored
    assert (stored[3], stored[4]) == ("r", "shop")


def test_the_types_that_end_a_request_are_its_outcomes():
    assert {f"request.{outcome.value}" for outcome in Outcome} == TERMINAL
