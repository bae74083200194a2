import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from benchmarks.tamper import read
from gateway.audit import entry_check, records
from gateway.audit.bundle import BundleError
from gateway.audit.checkpoint import parse_checkpoint
from gateway.audit.cosignature import cosignatures, witness_key
from gateway.audit.export import Stretch, export, growth, proof, signed_tree
from gateway.audit.heads import FileHeads
from gateway.audit.log_key import GivenLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.queries import tail
from gateway.audit.verifier import single_file
from gateway.audit.verify import verify_file
from gateway.audit.verify_main import main
from gateway.audit.witness import Outdated, Request, Witness, WitnessError, parse_request
from gateway.errors import Conflict, NotFound
from gateway.notes import NoteError, SigningKey, parse_note

pytestmark = pytest.mark.integration

KEY = SigningKey("log.example", b"k" * 32)
AUDITOR = SigningKey("auditor.example", b"a" * 32)


@pytest.fixture
async def tree(database, tmp_path):
    tree = LogTree(database, GivenLogKeys(KEY), FileHeads(tmp_path / "heads"))
    yield tree
    await tree.aclose()


@pytest.fixture
def log(ledger, tree, new_exchange, allowed):
    """Writes exchanges and signs what is there."""

    async def write(exchanges):
        for _ in range(exchanges):
            async with ledger.exchange(new_exchange()) as exchange:
                await ledger.record(exchange, allowed)
        await tree.turn()

    return write


@pytest.fixture
def bundle(database, tmp_path):
    async def make(name="bundle", **what):
        await export(database, Stretch(**what), tmp_path / name)
        return tmp_path / name

    return make


async def test_a_bundle_of_the_whole_log_is_intact(database, log, bundle):
    await log(30)
    path = await bundle()
    report = verify_file(path, KEY.verifier)

    assert report.intact
    assert report.entries == report.size == 91
    assert [json.loads(line)["id"] for line in read(path).entries] == [
        entry["id"] for entry in await tail(database, 1000)
    ]


async def test_several_processes_find_the_same_as_one(log, bundle, monkeypatch):
    monkeypatch.setattr("gateway.audit.bundle.PART", 16)
    monkeypatch.setattr("gateway.audit.verify._ALONE", 0)
    await log(40)
    path = await bundle()
    seen = []
    alone = verify_file(path, KEY.verifier, processes=1)
    together = verify_file(
        path, KEY.verifier, processes=3, progress=lambda *done: seen.append(done)
    )

    assert together == alone
    assert together.intact
    assert seen[-1] == (121, 121)
    assert len(seen) == 8


async def test_the_same_is_found_without_the_faster_reader(log, bundle, monkeypatch):
    await log(10)
    path = await bundle()
    fast = verify_file(path, KEY.verifier)
    monkeypatch.setattr(entry_check, "_fast", None)

    assert verify_file(path, KEY.verifier) == fast
    assert fast.intact


async def test_a_stretch_of_time_is_proved_against_the_whole_log(database, log, bundle):
    await log(100)
    middle = datetime.now(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
    await log(100)
    early = verify_file(await bundle("early", until=middle), KEY.verifier)
    late = verify_file(await bundle("late", since=middle), KEY.verifier)

    assert early.intact
    assert late.intact
    assert (early.first, late.first) == (0, early.entries)
    assert early.entries + late.entries == early.size == late.size == 601


async def test_an_empty_time_and_a_shard_that_is_not_there_are_said_to_be(log, bundle):
    with pytest.raises(NotFound, match="signed are: none"):
        await bundle()
    await log(1)
    with pytest.raises(NotFound, match="nothing was recorded"):
        await bundle(until="2001-01-01T00:00:00.000000Z")
    with pytest.raises(NotFound, match="no shard `1999h1`"):
        await bundle(shard="1999h1")


async def test_a_bundle_is_compared_with_a_checkpoint_from_before(database, log, bundle):
    await log(10)
    older = (await signed_tree(database)).checkpoint
    await log(10)
    report = verify_file(await bundle(), KEY.verifier, older)
    late = await bundle("late", since=datetime.now(UTC).isoformat()[:4])

    assert (report.intact, report.since, report.size) == (True, 31, 61)
    assert verify_file(late, KEY.verifier, older).intact


async def test_a_stretch_that_does_not_show_the_older_checkpoint_says_nothing(
    database, log, bundle
):
    await log(3)
    older = (await signed_tree(database)).checkpoint
    now = datetime.now(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
    await log(3)
    await log(3)
    later = await bundle("later", since=(await tail(database, 4))[0]["recorded_at"])

    with pytest.raises(BundleError, match="export all of them"):
        verify_file(later, KEY.verifier, older)
    assert verify_file(await bundle("from there", since=now), KEY.verifier, older).intact


async def test_what_the_database_lost_is_named(database, log, bundle, meddle):
    await log(10)
    victim = (await tail(database, 100))[12]
    await meddle("DELETE FROM audit_entries WHERE seq = :seq", seq=victim["seq"])
    report = verify_file(await bundle(), KEY.verifier)

    assert (report.intact, report.index) == (False, 12)


async def test_a_decision_is_proved_by_itself(database, log, tmp_path):
    await log(30)
    decision = next(e for e in await tail(database, 40) if e["type"] == "decision.recorded")
    made = await proof(database, decision["decision"]["id"])
    path = tmp_path / "proof"
    path.write_text(json.dumps(made))

    report = verify_file(path, KEY.verifier)
    assert (report.intact, report.size, report.first) == (True, 91, made["index"])
    assert json.loads(made["entry"])["id"] == decision["id"]
    assert await proof(database, decision["id"]) == made


async def test_no_altered_proof_is_taken(database, log, tmp_path):
    await log(30)
    [entry] = await tail(database, 1)
    made = await proof(database, entry["id"])
    path = tmp_path / "proof"
    changes = [
        {"index": made["index"] - 1},
        {"index": -1},
        {"entry": made["entry"].replace("completed", "blocked")},
        {"entry": made["entry"].replace('{"', '{ "', 1)},
        {"hashes": [*made["hashes"], made["hashes"][0]]},
        {"hashes": made["hashes"][:-1]},
        {"checkpoint": made["checkpoint"].replace("\n91\n", "\n+91\n")},
        {"checkpoint": made["checkpoint"].replace("\n91\n", "\n92\n")},
    ]
    for change in changes:
        path.write_text(json.dumps(made | change))
        assert not verify_file(path, KEY.verifier).intact

    unusable = [{"hashes": ["x"]}, {"format": "other"}, {"index": "1"}, {"index": True}]
    for change in [*unusable, {"more": 1}, {"entry": "\ud800"}]:
        path.write_text(json.dumps(made | change))
        with pytest.raises(BundleError):
            verify_file(path, KEY.verifier)


async def test_an_entry_is_proved_when_a_checkpoint_covers_it(database, ledger, tree):
    await ledger.append(records.replica_stopped("test"))
    [entry] = await tail(database, 1)

    with pytest.raises(Conflict, match="no checkpoint covers"):
        await proof(database, entry["id"])
    with pytest.raises(NotFound):
        await proof(database, "dec_unknown")


@pytest.mark.parametrize("end", [b"x", b"\0" * 512 + b"x"])
async def test_a_bundle_that_goes_on_after_its_end_is_none(log, bundle, end):
    await log(1)
    path = await bundle()
    path.write_bytes(path.read_bytes() + end)

    with pytest.raises(BundleError):
        verify_file(path, KEY.verifier)


async def test_spare_hashes_in_a_manifest_are_refused(database, log, bundle, tmp_path):
    await log(5)
    copy = read(await bundle(until=(await tail(database, 5))[0]["recorded_at"]))
    assert copy.manifest["right"]
    copy.manifest["right"].append(copy.manifest["right"][0])
    copy.write(tmp_path / "copy")

    report = verify_file(tmp_path / "copy", KEY.verifier)
    assert (report.intact, "hashes to spare" in report.problem) == (False, True)


async def test_the_one_file_verifies_where_there_is_no_ostiary(log, bundle, tmp_path):
    await log(20)
    path = await bundle()
    file = tmp_path / "ostiary_verify.py"
    file.write_text(single_file())
    code = (
        "import sys, runpy, importlib.abc\n"
        "class Refuse(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in {'gateway', 'orjson', 'sqlalchemy', 'pydantic'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.argv = ['verify', {str(path)!r}, '--key', {str(KEY.verifier)!r}, '--json']\n"
        f"runpy.run_path({str(file)!r}, run_name='__main__')\n"
    )
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={}
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == verify_file(path, KEY.verifier).document()


async def test_the_program_answers_with_its_status(log, bundle, tmp_path, capsys):
    await log(3)
    path = await bundle()
    key = tmp_path / "key"
    key.write_text(f"{KEY.verifier}\n")
    copy = read(path)
    copy.entries[4] = copy.entries[5]
    copy.write(tmp_path / "copy")

    assert main([str(path), "--key", str(key)]) == 0
    assert "entries 0 to 9 are here" in capsys.readouterr().out
    assert main([str(tmp_path / "copy"), "--key", str(key)]) == 1
    assert "TAMPERED at entry 4" in capsys.readouterr().out
    assert main([str(key), "--key", str(key)]) == 2
    assert main([str(tmp_path / "none"), "--key", str(key)]) == 2
    assert main([str(path), "--key", "no key"]) == 2


@pytest.fixture
def witness(tmp_path):
    return Witness(AUDITOR, [KEY.verifier], tmp_path / "seen")


async def request(database, old):
    tree = await signed_tree(database)
    hashes = await growth(database, tree, old)
    return parse_request("\n".join([f"old {old}", *hashes, "", ""]).encode() + tree.checkpoint)


async def test_a_witness_cosigns_a_log_that_only_grows(database, log, witness):
    await log(3)
    first = await witness.add(await request(database, 0), 1_800_000_000)
    await log(3)
    second = await witness.add(await request(database, 10), 1_800_000_001)

    public = witness_key(AUDITOR)
    assert [parse_checkpoint(note.text).size for note in (first, second)] == [10, 19]
    [cosigned] = cosignatures(second, [public])
    assert cosigned.time == 1_800_000_001
    assert parse_note(second.encode()) == second


async def test_a_witness_refuses_a_fork_and_says_where_to_begin(database, log, witness):
    await log(3)
    await witness.add(await request(database, 0), 1)
    with pytest.raises(Outdated, match="has seen 10"):
        await witness.add(await request(database, 0), 1)
    await log(1)
    good = await request(database, 10)
    with pytest.raises(WitnessError, match="inconsistent"):
        await witness.add(Request(10, good.proof[:-1], good.note), 1)
    with pytest.raises(WitnessError, match="does not hold"):
        await witness.add(Request(99, good.proof, good.note), 1)
    with pytest.raises(NoteError):
        await witness.add(Request(10, good.proof, good.note.replace(b"\n13\n", b"\n14\n")), 1)
    assert await witness.add(good, 1)


async def test_a_request_is_written_as_it_is_read(database, log):
    await log(5)
    made = await request(database, 3)

    assert parse_request(made.encode()) == made


@pytest.mark.parametrize(
    "content", [b"", b"old 5", b"old +5\n\n", b"old 05\n\n", b"new 5\n\n", b"old 5\nx\n\n", b"\xff"]
)
def test_what_is_no_request_is_refused(content):
    with pytest.raises(NoteError):
        parse_request(content)
