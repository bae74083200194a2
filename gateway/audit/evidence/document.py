"""Evidence as a document for machines, from which the report is made as well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.audit.evidence.checks import Finding, Level, Situation, number
from gateway.audit.evidence.framework import Expect, Framework, Heading, Records
from gateway.audit.evidence.tally import Found, Tally

EVIDENCE_FORMAT = "ostiary-evidence/1"
DISCLAIMER = (
    "This is evidence for the headings below: records that somebody who judges can look at. It "
    "does not say that anything or anybody complies with them."
)


_RULES = 20  # that are listed


class Status(StrEnum):
    """What there is for a heading."""

    RECORDS = "records"
    GAPS = "records, with gaps"
    NOTHING = "no records"
    YOURS = "yours to show"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where evidence comes from.

    Attributes:
        version: Of Ostiary.
        key: The log's verifier key.
        actor: Who made it: `cli`, and a name if one was given.
    """

    version: str
    key: str
    actor: str


def document(
    framework: Framework, situation: Situation, found: list[Finding], origin: Origin
) -> dict[str, Any]:
    """Return evidence as JSON holds it."""
    counted = iter(situation.tally.found)
    headings = [
        _heading(heading, [next(counted) for _ in heading.records], situation, found)
        for heading in framework.headings
    ]
    return {
        "format": EVIDENCE_FORMAT,
        "disclaimer": DISCLAIMER,
        "framework": {
            "id": framework.id,
            "version": framework.version,
            "title": framework.title,
            "source": framework.source,
            "about": framework.about.strip(),
        },
        "made": {"at": situation.period.made, "by": origin.actor, "ostiary": origin.version},
        "period": {"since": situation.period.since, "until": situation.period.until},
        "log": {
            "key": origin.key,
            "began": situation.period.began,
            "last_signed": situation.last_signed,
            "unsigned": situation.unsigned,
            "witnesses": list(situation.witnesses),
            "shards": [log.document() for log in situation.logs],
        },
        "counts": _counts(situation.tally),
        "silences": [each._asdict() for each in situation.tally.silences],
        "headings": headings,
        "findings": [each._asdict() for each in found],
    }


def _counts(tally: Tally) -> dict[str, Any]:
    return {
        "entries": tally.entries,
        "admitted": tally.types["request.admitted"],
        "denied": tally.types["request.denied"],
        "decisions": tally.actions.total(),
        "actions": dict(tally.actions.most_common()),
        "coverage": dict(tally.coverage.most_common()),
        "types": dict(tally.types.most_common()),
        "rules": dict(tally.rules.most_common(_RULES)),
    }


def summary(made: dict[str, Any]) -> dict[str, int]:
    """Return how many headings have which status, and how many gaps there are."""
    statuses = [heading["status"] for heading in made["headings"]]
    gaps = sum(each["level"] == Level.GAP for each in made["findings"])
    missing = sum(each["gap"] is not None for one in made["headings"] for each in one["records"])
    return {**{status.value: statuses.count(status) for status in Status}, "gaps": gaps + missing}


def _heading(
    heading: Heading, found: list[Found], situation: Situation, findings: list[Finding]
) -> dict[str, Any]:
    records = [
        _records(each, counted, situation)
        for each, counted in zip(heading.records, found, strict=True)
    ]
    checked = [each for each in findings if each.check in heading.checks]
    return {
        "id": heading.id,
        "title": heading.title,
        "asks": heading.asks,
        "status": _status(records, checked),
        "records": records,
        "checks": [each._asdict() for each in checked],
        "adds": list(heading.adds),
    }


def _status(records: list[dict[str, Any]], checked: list[Finding]) -> Status:
    if not records:
        return Status.YOURS
    if not any(each["count"] for each in records):
        return Status.NOTHING
    missing = any(each["gap"] for each in records)
    return (
        Status.GAPS
        if missing or any(each.level is Level.GAP for each in checked)
        else (Status.RECORDS)
    )


def _records(records: Records, found: Found, situation: Situation) -> dict[str, Any]:
    return {
        "says": records.says,
        "types": list(records.types),
        "where": {place: list(wanted) for place, wanted in records.where.items()},
        "filled": list(records.filled),
        "expect": records.expect,
        "count": found.count,
        "first": found.first,
        "last": found.last,
        "gap": _gap(records, found),
        "samples": [each._asdict() for each in found.samples],
        "search": records.search(situation.period.since, situation.period.until),
    }


def _gap(records: Records, found: Found) -> str | None:
    if records.expect is Expect.SOME and not found.count:
        return "No such record in this time."
    if records.expect is Expect.NONE and found.count:
        there = "is 1" if found.count == 1 else f"are {number(found.count)}"
        return f"There should be none, and there {there}: look at each."
    return None
