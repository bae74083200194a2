"""Evidence from both databases: what an auditor finds of it, and what it says of the log."""

import json
import shutil
import tarfile
import time
from collections import Counter
from dataclasses import replace

import pytest

from gateway.audit import content_records, records
from gateway.audit.bundle import ENTRIES
from gateway.audit.checkpoint import parse_checkpoint
from gateway.audit.entry import row_apart
from gateway.audit.evidence.checks import Keeping
from gateway.audit.evidence.framework import FRAMEWORKS, source_of
from gateway.audit.evidence.write import Wanted, write_evidence
from gateway.audit.export import Stretch, signed_tree
from gateway.audit.heads import FileHeads
from gateway.audit.integrator import Integrator, shard_of
from gateway.audit.log_key import GivenLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.verify_files import verify_anything
from gateway.errors import NotFound
from gateway.notes import NoteError, SigningKey, parse_note
from gateway.store import entries
from policies.types import Action

pytestmark = pytest.mark.integration

KEY = SigningKey("log.example", b"k" * 32)
KEEPING = Keeping("flagged", 30, 30)
SHARD = shard_of(time.time())


@pytest.fixture
async def log(database, ledger, tmp_path, new_exchange, allowed):
    """Writes exchanges and signs what is there."""
    tree = LogTree(database, GivenLogKeys(KEY), FileHeads(tmp_path / "heads"))

    async def write(exchanges, decision=allowed):
        for _ in range(exchanges):
            async with ledger.exchange(new_exchange()) as exchange:
                await ledger.record(exchange, decision)
        await tree.turn()

    yield write
    await tree.aclose()


@pytest.fixture
def evidence(database, tmp_path):
    async def make(framework="eu-ai-act", key=KEY, progress=lambda done, total: None, **what):
        wanted = Wanted(source_of(framework), Stretch(**what), "cli:ada", KEEPING)
        path = tmp_path / f"{framework}.tar"
        return path, await write_evidence(database, wanted, path, key, progress)

    return make


def files(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_evidence_is_intact_and_says_what_is_in_it(log, evidence, framework):
    await log(20)
    path, said = await evidence(framework)
    report = verify_anything(path, KEY.verifier)
    inside = files(path)

    assert report.intact
    assert report.what == f"evidence {framework}/1"
    assert (report.logs[0].entries, report.logs[0].open_requests) == (61, 0)
    assert sorted(inside) == [
        "evidence.json",
        f"log-{SHARD}.tar",
        "manifest",
        "mapping.toml",
        "report.html",
    ]
    assert json.loads(inside["evidence.json"]) == json.loads(json.dumps(said))
    assert inside["mapping.toml"] == source_of(framework)
    assert said["counts"]["entries"] == 61
    assert said["log"]["key"] == str(KEY.verifier)


async def test_what_is_counted_is_what_lies_in_the_bundle(log, evidence, allowed, tmp_path):
    await log(7)
    await log(3, replace(allowed, action=Action.BLOCK, determining_rules=("a-rule",)))
    path, said = await evidence("soc2")
    shutil.unpack_archive(path, tmp_path / "here", "tar", filter="data")
    lines = files(tmp_path / "here" / f"log-{SHARD}.tar")[ENTRIES].splitlines()
    found = [json.loads(line) for line in lines]

    assert said["counts"]["types"] == Counter(entry["type"] for entry in found)
    assert said["counts"]["actions"] == {"allow": 7, "block": 3}
    assert said["counts"]["rules"] == {"a-rule": 3}
    held = next(one for one in said["headings"] if one["id"] == "CC6.6")["records"][1]
    ids = {entry["id"] for entry in found if entry.get("decision", {}).get("action") == "block"}
    assert held["count"] == 3
    assert {sample["id"] for sample in held["samples"]} == ids
    assert verify_anything(tmp_path / "here", KEY.verifier).intact


async def test_an_older_checkpoint_is_compared_with_the_log_in_it(database, log, evidence):
    await log(2)
    older = (await signed_tree(database)).checkpoint
    await log(2)
    path, _ = await evidence()

    assert verify_anything(path, KEY.verifier, older).logs[0].since == 7


@pytest.mark.parametrize("name", ["evidence.json", "report.html", "mapping.toml", "log"])
async def test_no_file_can_be_changed(log, evidence, tmp_path, name):
    await log(2)
    path, _ = await evidence()
    shutil.unpack_archive(path, tmp_path / "here", "tar", filter="data")
    victim = tmp_path / "here" / (f"log-{SHARD}.tar" if name == "log" else name)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)

    report = verify_anything(tmp_path / "here", KEY.verifier)
    assert (report.intact, victim.name in report.problem) == (False, True)


async def test_a_log_that_was_changed_is_said_to_be_and_the_evidence_does_not_pass(
    database, log, evidence, meddle
):
    await log(5)
    await meddle("DELETE FROM audit_entries WHERE seq = (SELECT min(seq) + 3 FROM audit_entries)")
    path, said = await evidence()

    assert [shard["intact"] for shard in said["log"]["shards"]] == [False]
    gap = next(each for each in said["findings"] if each["check"] == "intact")
    assert (gap["level"], "not as it was signed at entry 3" in gap["says"]) == ("gap", True)
    assert b"not as it was signed at entry 3" in files(path)["report.html"]
    assert not verify_anything(path, KEY.verifier).intact


async def test_an_entry_that_cannot_be_read_does_not_hide_that(database, log, evidence, meddle):
    await log(2)
    await meddle("UPDATE audit_entries SET body = :body WHERE seq = 2", body=b"no JSON")
    _, said = await evidence()

    assert said["log"]["shards"][0]["index"] == 1
    assert said["counts"]["entries"] == 6


async def test_what_nothing_signed_is_counted_as_missing(database, log, evidence, ledger):
    await log(2)
    await ledger.append(records.replica_stopped("test"))
    _, said = await evidence()

    assert (said["counts"]["entries"], said["log"]["unsigned"]) == (7, 1)
    assert any(each["check"] == "signed" and each["level"] == "note" for each in said["findings"])


async def test_openings_without_a_name_and_the_missing_witness_are_gaps(database, log, evidence):
    opened = content_records.opened([], id="req_1", project="shop", reason="r", actor="cli")
    async with database.write() as connection:
        await entries.append(connection, row_apart(opened, "access"))
    await log(1)
    _, said = await evidence()

    gaps = {each["check"] for each in said["findings"] if each["level"] == "gap"}
    assert {"opened", "witness", "kept", "content"} <= gaps


async def test_two_half_years_are_two_bundles_in_one_list(database, log, evidence, ledger):
    past = Integrator(database, clock=_clock(1_760_000_000.0))
    for _ in range(3):
        await ledger.append(records.replica_stopped("test"))
    await past.integrate()
    await log(2)
    await _sign_past(database, shard_of(1_760_000_000.0))
    path, said = await evidence()
    report = verify_anything(path, KEY.verifier)

    assert report.intact
    assert [each.entries for each in report.logs] == [4, 6]
    assert [shard["origin"] for shard in said["log"]["shards"]] == [
        "log.example/2025h2",
        f"log.example/{SHARD}",
    ]
    assert said["counts"]["entries"] == 10


def _clock(moment):
    async def now(database):
        return moment

    return now


async def _sign_past(database, shard):
    """Publish a checkpoint of a shard that no running gateway would sign any more."""
    from gateway.audit.checkpoint import Checkpoint, sign_checkpoint
    from gateway.audit.merkle import range_hash
    from gateway.audit.tiles import nodes_in, places_of
    from gateway.store import trees as store

    async with database.write() as connection:
        tree = next(each for each in await store.trees(connection) if each.shard == shard)
        nodes = nodes_in(await store.tiles(connection, shard, places_of([(0, tree.size)])))
        root = range_hash(0, tree.size, nodes)
        note = sign_checkpoint(Checkpoint(f"{KEY.name}/{shard}", tree.size, root), KEY)
        await store.publish(connection, tree, tree.size, note)


async def test_progress_reaches_its_end(log, evidence):
    await log(3)
    seen = []
    await evidence(progress=lambda *done: seen.append(done))

    assert seen[-1] == (30, 30)
    assert seen == sorted(seen)


async def test_nothing_is_left_where_nothing_could_be_written(log, evidence, tmp_path):
    with pytest.raises(NotFound):
        await evidence()
    await log(1)
    with pytest.raises(NotFound):
        await evidence(until="2001-01-01T00:00:00.000000Z")
    with pytest.raises(NoteError):
        await evidence(key=SigningKey("log.example", b"s" * 32))

    assert not list(tmp_path.glob("*.tar*"))


async def test_the_checkpoint_in_it_is_the_logs_own(database, log, evidence, tmp_path):
    await log(1)
    path, _ = await evidence()
    shutil.unpack_archive(path, tmp_path / "here", "tar", filter="data")
    inner = files(tmp_path / "here" / f"log-{SHARD}.tar")["checkpoint"]

    assert parse_checkpoint(parse_note(inner).text).size == 4
    assert inner == (await signed_tree(database)).checkpoint
