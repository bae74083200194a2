import json

from gateway.audit.evidence.checks import findings
from gateway.audit.evidence.document import Origin, Status, document, summary
from tests.unit.gateway.audit.evidence.conftest import entry

ORIGIN = Origin("1.0", "log.example+key", "cli:ada")
BLOCKED = entry(decision={"action": "block"})


def made(framework, situation):
    return document(framework, situation, findings(situation, framework.checks), ORIGIN)


def statuses(evidence):
    return [heading["status"] for heading in evidence["headings"]]


def test_a_heading_says_whether_there_are_records(framework, situation):
    assert statuses(made(framework, situation(BLOCKED))) == [
        Status.RECORDS,
        Status.RECORDS,
        Status.YOURS,
    ]
    assert statuses(made(framework, situation())) == [
        Status.NOTHING,
        Status.NOTHING,
        Status.YOURS,
    ]


def test_what_should_not_be_there_is_a_gap_and_so_is_what_should_and_is_not(framework, situation):
    evidence = made(framework, situation(entry("request.lost")))
    gaps = [each["gap"] for each in evidence["headings"][0]["records"]]

    assert gaps == [
        "No such record in this time.",
        "There should be none, and there is 1: look at each.",
        None,
    ]
    assert statuses(evidence)[0] == Status.GAPS
    assert summary(evidence)["gaps"] == 2


def test_a_failed_check_makes_a_gap_of_the_headings_that_it_matters_to(framework, situation):
    late = entry(at="2026-07-09T09:00:00.000000Z", decision={"action": "block"})
    evidence = made(framework, situation(BLOCKED, late))

    assert statuses(evidence) == [Status.GAPS, Status.RECORDS, Status.YOURS]


def test_it_is_json_and_says_what_it_is_and_is_not(framework, situation):
    evidence = json.loads(json.dumps(made(framework, situation(BLOCKED))))

    assert evidence["format"] == "ostiary-evidence/1"
    assert "does not say that anything or anybody complies" in evidence["disclaimer"]
    assert evidence["made"] == {
        "at": "2026-11-01T00:00:00.000000Z",
        "by": "cli:ada",
        "ostiary": "1.0",
    }
    assert evidence["counts"]["actions"] == {"block": 1}
    assert evidence["headings"][0]["records"][0]["samples"][0]["type"] == "decision.recorded"
    assert evidence["framework"]["version"] == 3
