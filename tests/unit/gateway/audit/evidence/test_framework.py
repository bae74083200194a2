"""The frameworks that ship: each can be read, and speaks of records that there are."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.audit.evidence.framework import (
    ANY_TYPE,
    FRAMEWORKS,
    Records,
    read_framework,
    source_of,
)
from tests.unit.gateway.audit.evidence.conftest import SMALL, entry

ROOT = Path(__file__).parents[5]
DOCUMENTED = (ROOT / "docs" / "audit.md").read_text()


def documented_types():
    """Return the types in the table of entries; `.signed` continues the name before it."""
    found = set()
    for line in DOCUMENTED.splitlines():
        if not line.startswith("| `"):
            continue
        family = ""
        for name in re.findall(r"`([a-z_]*\.[a-z_]+)`", line.split("|")[1]):
            family = name.partition(".")[0] or family
            found.add(name if not name.startswith(".") else f"{family}{name}")
    return found


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_can_be_read_and_is_what_it_says(name):
    framework = read_framework(source_of(name))

    assert framework.id == name
    assert framework.version >= 1
    assert len(framework.headings) >= 8


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_type_it_speaks_of_is_one_that_the_log_has(name):
    wanted = {kind for each in read_framework(source_of(name)).records() for kind in each.types}

    assert wanted - documented_types() - {ANY_TYPE, "policy.loaded", "policy.deactivated"} == set()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_it_never_says_that_anybody_complies(name):
    assert not re.search(r"compl(y|ies|ian)|conform|certif|fulfils", source_of(name).decode(), re.I)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_places_in_entries_are_searched_as_entries_have_them(name):
    places = {"decision.action", "decision.stage", "denial.status", "key.expires_at", "content"}
    for records in read_framework(source_of(name)).records():
        assert {*records.where, *records.filled} <= places
        stages = set(records.where.get("decision.stage", ()))
        assert stages <= {"input", "tool_result", "reasoning", "tool_call", "output"}
        actions = set(records.where.get("decision.action", ()))
        assert actions <= {"allow", "flag", "warn", "redact", "review", "block"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'checks = ["silent"]', b'checks = ["happy"]', "there is no check `happy`"),
        (b'id = "2"', b'id = "1(a)"', "two headings"),
        (b"ostiary-framework/1", b"ostiary-framework/2", "format"),
        (b'expect = "any"', b'expect = "perhaps"', "expect"),
        (b'expect = "any"', b'surprise = "any"', "surprise"),
        (b"keep_days = 183", b"", "how long records are kept"),
        (b'adds = ["all of it"]', b"adds = []", "adds"),
    ],
)
def test_a_mistake_in_a_framework_is_refused(old, new, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        read_framework(SMALL.replace(old, new))


@pytest.mark.parametrize(
    ("records", "matching", "other"),
    [
        (
            {"where": {"decision.action": ["block"]}},
            entry(decision={"action": "block"}),
            entry(decision={"action": "allow"}),
        ),
        ({"where": {"denial.status": [401]}}, entry(denial={"status": 401}), entry(denial=None)),
        ({"filled": ["key.expires_at"]}, entry(key={"expires_at": "x"}), entry(key={})),
        ({"filled": ["content"]}, entry(content=[1]), entry(content=[])),
    ],
)
def test_records_are_told_by_what_stands_in_an_entry(records, matching, other):
    wanted = Records(says="x", types=("decision.recorded",), **records)

    assert wanted.match(matching)
    assert not wanted.match(other)


def test_the_command_that_lists_them_is_one_that_there_is():
    records = Records(
        says="x", types=("decision.recorded",), where={"decision.action": ("review", "block")}
    )
    line = records.search("2026-07-01T00:00:00.000000Z", "2026-10-01T00:00:00.000000Z")

    assert line == (
        "ostiary audit search --type decision.recorded --action review --action block "
        "--since 2026-07-01T00:00:00 --until 2026-10-01T00:00:00"
    )
    assert Records(says="x", types=("*",)).search(None, None) == "ostiary audit search"
