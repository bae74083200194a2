"""Entries as evidence counts them, and a framework that is small enough to reason about."""

import pytest

from gateway.audit.evidence.checks import Keeping, Period, Situation
from gateway.audit.evidence.framework import read_framework
from gateway.audit.evidence.tally import Tally
from gateway.audit.verify import Report

SMALL = b"""
format = "ostiary-framework/1"
id = "small"
version = 3
title = "A small framework"
source = "made up"
about = "For tests."
keep_days = 183
keep_why = "Its first heading asks for it"

[[heading]]
id = "1(a)"
title = "Decisions"
asks = "That there are some."
checks = ["silent"]
adds = ["something"]
[[heading.records]]
says = "Decisions that held something back"
types = ["decision.recorded"]
where = { "decision.action" = ["review", "block"] }
[[heading.records]]
says = "Lost requests"
types = ["request.lost"]
expect = "none"
[[heading.records]]
says = "Keys that expire"
types = ["key.created"]
filled = ["key.expires_at"]
expect = "any"

[[heading]]
id = "2"
title = "Everything"
asks = "That there is something."
adds = ["something"]
[[heading.records]]
says = "Entries"
types = ["*"]

[[heading]]
id = "3"
title = "Beyond the log"
asks = "What no log can show."
adds = ["all of it"]
"""


def entry(type="decision.recorded", at="2026-07-01T09:00:00.000000Z", **body):
    if type == "decision.recorded":
        body = {
            "decision": {"action": "allow", "stage": "input"},
            "coverage": {"state": "full"},
            "determining_rules": [],
        } | body
    return {
        "id": f"{type}-{at}",
        "type": type,
        "recorded_at": at,
        "replica": {"id": "rep", "seq": 1},
        **body,
    }


@pytest.fixture
def framework():
    return read_framework(SMALL)


@pytest.fixture
def tally(framework):
    def count(*entries, since=None, until=None):
        counted = Tally(framework, since)
        counted.add(entries)
        if until:
            counted.end(until)
        return counted

    return count


@pytest.fixture
def situation(tally):
    def make(*entries, began="2026-01-01T00:00:00.000000Z", **changes):
        report = Report(True, origin="log.example/2026h2", size=9, root="r", first=0, entries=9)
        defaults = {
            "tally": tally(*entries),
            "logs": (report,),
            "period": Period(
                "2026-07-01T00:00:00.000000Z",
                "2026-10-01T00:00:00.000000Z",
                made="2026-11-01T00:00:00.000000Z",
                began=began,
            ),
            "unsigned": 0,
            "last_signed": "2026-10-31T23:59:59.000000Z",
            "witnesses": (),
            "keeping": Keeping("flagged", 30, 30),
            "keep_days": 183,
            "keep_why": "Its first heading asks for it",
        }
        return Situation(**(defaults | changes))

    return make
