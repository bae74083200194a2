"""What a check says of a situation that has the gap, and of one that has not."""

import pytest

from gateway.audit.evidence.checks import (
    CHECKS,
    Keeping,
    Level,
    findings,
    moment,
    plural,
    share,
)
from gateway.audit.verify import Report
from tests.unit.gateway.audit.evidence.conftest import entry

POLICY = {"id": "p", "version": "1", "digest": "d"}
TAMPERED = Report(False, "it is not the entry", 19)
WHOLE = Report(True, origin="log.example/2026h2", size=9, first=0, entries=9, open_requests=0)


def level(check, situation):
    return {found.level for found in findings(situation, [check]) if found.check == check}


CASES = {
    "intact": ([], {"logs": (WHOLE, TAMPERED)}, [], {"logs": (WHOLE,)}),
    "signed": ([], {"unsigned": 3, "last_signed": "2026-10-31T23:00:00.000000Z"}, [], {}),
    "witness": ([], {}, [], {"witnesses": ("auditor.example",)}),
    "began": ([], {"began": "2026-08-01T00:00:00.000000Z"}, [], {}),
    "kept": ([], {"began": "2026-10-01T00:00:00.000000Z"}, [], {}),
    "silent": (
        [entry(at="2026-07-01T09:00:00.000000Z"), entry(at="2026-07-03T09:00:00.000000Z")],
        {},
        [entry()],
        {},
    ),
    "ended": ([entry("request.lost")], {}, [entry("request.completed")], {}),
    "coverage": ([entry(coverage={"state": "none"}), entry()], {}, [entry()], {}),
    "opened": (
        [entry("access.opened", actor={"key": "cli"})],
        {},
        [entry("access.opened", actor={"key": "cli:ada"})],
        {},
    ),
    "approved": (
        [entry("policy.activated", policy=POLICY)],
        {},
        [entry("policy.approved", policy=POLICY), entry("policy.activated", policy=POLICY)],
        {},
    ),
    "keys": (
        [entry("key.created", key={"expires_at": None})],
        {},
        [entry("key.created", key={"expires_at": "2027"})],
        {},
    ),
    "named": (
        [entry("request.admitted", actor={"safety_identifier": None})],
        {},
        [entry("request.admitted", actor={"safety_identifier": "ab"})],
        {},
    ),
}


@pytest.mark.parametrize("check", CASES)
def test_a_gap_is_said_and_its_absence_too(situation, check):
    bad, changes, good, others = CASES[check]

    assert Level.GAP in level(check, situation(*bad, **changes))
    assert level(check, situation(*good, **others)) == {Level.HOLDS}


def test_every_check_has_a_case_here_but_the_one_below():
    assert CHECKS.keys() - CASES.keys() == {"content"}


@pytest.mark.parametrize(
    ("keeping", "keep_days", "wanted", "says"),
    [
        (Keeping("none", 30, 30), 183, Level.NOTE, "not kept at all"),
        (Keeping("flagged", 30, 30), 183, Level.GAP, "30 days, which is shorter than 183 days"),
        (Keeping("all", 200, 7), 183, Level.GAP, "every exchange, for 7 days"),
        (Keeping("all", 200, 200), 183, Level.NOTE, "200 days"),
        (Keeping("flagged", 1, 1), None, Level.NOTE, "1 day."),
    ],
)
def test_how_long_the_text_is_kept_is_held_to_what_is_asked(
    situation, keeping, keep_days, wanted, says
):
    [found] = [
        each
        for each in findings(situation(keeping=keeping, keep_days=keep_days), ["content"])
        if each.check == "content"
    ]

    assert found.level is wanted
    assert says in found.says


def test_what_waits_for_the_next_second_to_be_signed_is_no_gap(situation):
    now = situation(unsigned=2, last_signed="2026-10-31T23:59:59.000000Z")

    assert level("signed", now) == {Level.NOTE}


def test_a_framework_that_asks_for_no_time_gets_no_word_on_it(situation):
    assert level("kept", situation(keep_days=None)) == set()


def test_only_checks_that_were_asked_for_and_the_three_that_always_matter_are_made(situation):
    made = {found.check for found in findings(situation(entry()), ["keys", "named"])}

    assert made == {"intact", "signed", "silent"}


def test_no_check_says_that_anybody_complies(situation):
    said = [
        found.says
        for bad, changes, good, others in CASES.values()
        for made in (situation(*bad, **changes), situation(*good, **others))
        for found in findings(made, CHECKS)
    ]

    assert len(said) > 100
    assert not any("compl" in each.lower() for each in said)


def test_numbers_read_well():
    assert plural(1, "day", "days") == "1 day"
    assert plural(1200, "day", "days") == "1,200 days"
    assert share(1, 100_000) == "less than 0.1 %"
    assert share(1, 8) == "12.5 %"
    assert moment("2026-07-01T09:05:59.000000Z") == "2026-07-01 09:05 UTC"
