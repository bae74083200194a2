import random
from collections import Counter

import pytest

from benchmarks.tamper import KEY, TAMPERS, read, tamper, verdict, write_log
from gateway.audit.verify import verify_file


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    import asyncio

    home = tmp_path_factory.mktemp("log")
    whole, since, alarms = asyncio.run(write_log(home, 40))
    return home / "bundle", whole, since, alarms


def test_a_log_that_nobody_touched_is_never_accused(log):
    path, whole, since, alarms = log

    assert alarms == 0
    report = verify_file(path, KEY.verifier, since)
    assert (report.intact, report.problem, report.entries) == (True, None, len(whole.entries))
    assert report.since is not None
    assert report.open_requests == 0


def test_every_kind_of_tampering_is_found_and_its_place_named(log):
    _, whole, since, _ = log
    tally = tamper(whole, since, 3 * len(TAMPERS), seed=7)

    assert tally.missed == []
    assert tally.found == tally.placed == Counter(dict.fromkeys(TAMPERS, 3))


def test_a_bundle_written_anew_without_a_change_is_intact(log, tmp_path):
    path, _, since, _ = log

    assert verdict(read(path), tmp_path / "again", since).intact


def test_what_tampers_signs_with_the_logs_key_is_seen_by_the_older_checkpoint_alone(log, tmp_path):
    path, _, since, _ = log
    for kind in ("roll back, and sign", "fork, and sign"):
        copy = read(path)
        TAMPERS[kind](copy, random.Random(3))  # noqa: S311 - no secret
        assert not verdict(copy, tmp_path / "copy", since).intact
        assert verify_file(tmp_path / "copy", KEY.verifier, processes=1).intact
