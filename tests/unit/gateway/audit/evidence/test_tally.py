import pytest

from gateway.audit.evidence.tally import GROUPS, Silence
from tests.unit.gateway.audit.evidence.conftest import entry


def test_records_are_counted_under_what_they_speak_to(tally):
    counted = tally(
        entry(decision={"action": "block"}),
        entry(at="2026-07-02T09:00:00.000000Z", decision={"action": "review"}),
        entry(decision={"action": "allow"}),
        entry("key.created", key={"expires_at": None}, actor={"key": "cli:ada"}),
        entry("key.created", key={"expires_at": "2027"}, actor={"key": "cli:ada"}),
    )

    assert [found.count for found in counted.found] == [2, 0, 1, 5]
    held = counted.found[0]
    assert (held.first[:10], held.last[:10]) == ("2026-07-01", "2026-07-02")
    assert counted.found[2].samples[0].by == "cli:ada"
    assert counted.lasting_keys == 1


def test_only_the_last_records_are_kept_as_examples(tally):
    counted = tally(
        *(entry("request.lost", at=f"2026-07-01T09:00:{at:02d}.000000Z") for at in range(50))
    )

    assert counted.found[1].count == 50
    assert [sample.recorded_at[17:19] for sample in counted.found[1].samples] == [
        "45",
        "46",
        "47",
        "48",
        "49",
    ]


@pytest.mark.parametrize(
    ("action", "group"),
    [
        ("allow", "let through"),
        ("flag", "marked or altered"),
        ("redact", "marked or altered"),
        ("review", "held back"),
        ("block", "held back"),
    ],
)
def test_decisions_are_counted_by_the_hour_and_by_what_was_done(tally, action, group):
    counted = tally(entry(decision={"action": action}))

    assert counted.hours["2026-07-01T09"] == {group: 1}
    assert group in GROUPS
    assert counted.actions == {action: 1}


def test_a_day_without_an_entry_is_a_silence_wherever_it_lies(tally):
    times = ["2026-07-02T09:00:00.000000Z", "2026-07-03T08:59:59.000000Z"]
    counted = tally(
        *(entry(at=at) for at in times),
        since="2026-06-29T00:00:00.000000Z",
        until="2026-07-05T00:00:00.000000Z",
    )

    assert counted.silences == [
        Silence("2026-06-29T00:00:00.000000Z", times[0]),
        Silence(times[1], "2026-07-05T00:00:00.000000Z"),
    ]


def test_entries_that_are_out_of_order_by_a_moment_are_no_silence(tally):
    counted = tally(
        entry(at="2026-07-03T00:00:01.000000Z"),
        entry(at="2026-07-02T23:59:59.000000Z"),
        entry(at="2026-07-03T23:00:00.000000Z"),
    )

    assert counted.silences == []


def test_what_came_into_force_is_kept_apart_from_what_was_approved(tally):
    policy = {"id": "p", "version": "1", "digest": "d1"}
    counted = tally(
        entry("policy.approved", policy=policy),
        entry("policy.activated", policy=policy),
        entry("policy.loaded", policy={**policy, "version": "2", "digest": "d2"}),
    )

    assert counted.approved == {"d1"}
    assert counted.in_force == {"d1": ("p", "1"), "d2": ("p", "2")}


def test_who_is_not_named_is_counted(tally):
    counted = tally(
        entry("access.opened", actor={"key": "cli"}),
        entry("access.opened", actor={"key": "cli:ada"}),
        entry("request.admitted", actor={"safety_identifier": None}),
        entry("request.admitted", actor={"safety_identifier": "ab"}),
        entry("request.blocked"),
    )

    assert (counted.unnamed_openings, counted.unnamed_requests, counted.ended) == (1, 1, 1)
