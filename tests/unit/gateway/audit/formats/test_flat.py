import json

from gateway.audit.formats.flat import COLUMNS, flat


def test_every_entry_makes_the_same_columns(all_records):
    for record in all_records:
        assert tuple(flat(record)) == COLUMNS


def test_a_row_says_what_its_entry_says(record):
    row = flat(record("block"))

    assert (row["action"], row["stage"], row["policy"]) == ("block", "output", "baseline")
    assert row["determining_rules"] == row["rules"] == ["a-rule", "b"]
    assert row["categories"] == ["harm.a-rule", "harm.b", "spam", "harm.nothing"]
    assert flat(record("alert"))["rules"] == ["a-rule"]
    assert (row["coverage"], row["project"], row["end_user"]) == ("full", "shop", "ab" * 16)
    assert json.loads(row["entry"])["decision"]["id"] == row["decision"]


def test_the_project_and_the_end_user_are_found_where_a_person_acted(record):
    assert flat(record("key"))["project"] == "bank"
    assert flat(record("key"))["actor"] == "cli:ada"
    assert flat(record("opened"))["project"] == "shop"
