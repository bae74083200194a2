"""The log gets a new key while it is written, and nobody who trusted the old one is lost."""

import asyncio
import json
import subprocess
import sys
from functools import partial

import pytest

from gateway.audit import key_rotation
from gateway.audit.bundle import BundleError
from gateway.audit.checkpoint import Checkpoint, sign_checkpoint
from gateway.audit.conversion import FORMATS, convert
from gateway.audit.entry import Entry
from gateway.audit.export import Stretch, export, growth, proof, signed_tree
from gateway.audit.heads import FileHeads
from gateway.audit.key_rotation import keys_in_force, retire_keys, rotate_key
from gateway.audit.log_key import FileLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.merkle import leaf_hash
from gateway.audit.publisher import Wrong
from gateway.audit.queries import tail
from gateway.audit.succession import hand_over, parse_succession
from gateway.audit.verifier import single_file
from gateway.audit.verify import Trust, verify_file
from gateway.audit.verify_files import verify_anything
from gateway.audit.verify_main import checked
from gateway.audit.witness import Outdated, Request, Witness
from gateway.errors import Conflict
from gateway.notes import NoteError, SigningKey, parse_note, parse_verifier_key, verify

pytestmark = pytest.mark.integration

AUDITOR = SigningKey("auditor.example", b"a" * 32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "log"


@pytest.fixture
def heads(tmp_path):
    return FileHeads(tmp_path / "heads")


@pytest.fixture
def keys(path):
    return FileLogKeys(path)


@pytest.fixture
async def tree(database, keys, heads):
    tree = LogTree(database, keys, heads)
    yield tree
    await tree.aclose()


@pytest.fixture
def write(ledger, new_exchange, allowed):
    async def exchanges(count=3):
        for _ in range(count):
            async with ledger.exchange(new_exchange()) as exchange:
                await ledger.record(exchange, allowed)

    return exchanges


@pytest.fixture
def rotate(database, path, heads):
    async def rotated():
        held = FileLogKeys(path)
        return await rotate_key(database, held, heads, actor="cli", reason="once a year")

    return rotated


@pytest.fixture
def bundle(database, tmp_path):
    async def make(name="bundle", **what):
        await export(database, Stretch(**what), tmp_path / name)
        return tmp_path / name

    return make


def signers(note, *keys):
    return set(verify(parse_note(note), keys))


async def head_of(database):
    return (await signed_tree(database)).checkpoint


async def test_a_new_key_signs_from_its_entry_on_without_a_restart_and_without_an_alarm(
    database, tree, write, rotate
):
    await write()
    await tree.turn()
    before = tree.head
    done = await rotate()
    assert done.last == before or done.last.size > before.size
    await write()
    await tree.turn()

    assert tree.alarm is None
    assert tree.verifier_key == str(done.new)
    assert tree.head.size > done.last.size
    assert signers(await head_of(database), done.new) == {done.new}
    [entry] = [each for each in await tail(database, 100) if each["type"] == "log_key.rotated"]
    assert (entry["log_key"]["old"], entry["log_key"]["new"]) == (str(done.old), str(done.new))
    assert entry["actor"] == {"key": "cli"}
    assert parse_succession(entry["log_key"]["note"].encode()).last == done.last


async def test_until_it_is_retired_the_old_key_signs_too(
    database, tree, keys, write, rotate, heads
):
    await write()
    await tree.turn()
    done = await rotate()
    await write()
    await tree.turn()
    assert signers(await head_of(database), done.old, done.new) == {done.old, done.new}

    assert await retire_keys(database, keys, heads) == 1
    await write()
    await tree.turn()
    assert (tree.alarm, tree.signs) == (None, True)
    with pytest.raises(NoteError, match="not signed by a trusted key"):
        signers(await head_of(database), done.old)


@pytest.mark.parametrize("which", ["old", "new"])
async def test_an_auditor_with_either_key_verifies_old_and_new_checkpoints(
    database, tree, write, rotate, bundle, heads, keys, which
):
    await write()
    await tree.turn()
    older = await head_of(database)
    decision = next(e for e in await tail(database, 100) if e["type"] == "decision.recorded")
    done = await rotate()
    await retire_keys(database, keys, heads)
    await write()
    await tree.turn()
    key = getattr(done, which)

    report = verify_file(await bundle(), key, older)
    assert report.intact, report
    assert report.keys == (str(done.old), str(done.new))
    file = (await bundle("b")).with_suffix(".json")
    file.write_text(json.dumps(await proof(database, decision["id"])))
    assert verify_file(file, key).intact


async def test_without_the_announcement_the_new_key_is_not_believed(
    tree, write, rotate, bundle, database, heads, keys
):
    await write()
    await tree.turn()
    stranger = SigningKey(keys.held[0].name, b"x" * 32)
    done = await rotate()
    await retire_keys(database, keys, heads)
    await write()
    await tree.turn()
    path = await bundle()
    whole = path.read_bytes()

    assert not verify_file(path, stranger.verifier).intact
    note = done.note.decode().split("\n\n")[1].strip().split("\n")[0]  # the old key's line
    forged = note[:-8] + ("AAAAAAA=" if note[-8:] != "AAAAAAA=" else "BBBBBBA=")
    path.write_bytes(whole.replace(note.encode()[10:], forged.encode()[10:]))
    assert path.read_bytes() != whole
    assert not verify_file(path, done.old).intact


async def test_the_key_is_rotated_again_and_again(database, tree, write, rotate, bundle):
    first = None
    for _ in range(3):
        await write(1)
        await tree.turn()
        done = await rotate()
        first = first or done.old
    await write(1)
    await tree.turn()

    assert tree.alarm is None
    report = verify_file(await bundle(), first)
    assert (report.intact, len(report.keys)) == (True, 4)


async def test_a_witness_follows_while_the_old_key_signs_and_by_the_changes_after_that(
    database, tree, write, rotate, heads, keys, tmp_path
):
    old = keys.held[0].verifier
    witness = Witness(AUDITOR, [old], tmp_path / "seen")

    async def ask(witness, seen):
        signed = await signed_tree(database)
        proof = await growth(database, signed, seen)
        request = Request(seen, tuple(map(_decoded, proof)), signed.checkpoint)
        await witness.add(request, 1_795_000_000)
        return signed.checkpoint_size

    await write()
    await tree.turn()
    seen = await ask(witness, 0)
    await rotate()
    await write()
    await tree.turn()
    seen = await ask(witness, seen)
    await retire_keys(database, keys, heads)
    await write()
    await tree.turn()
    with pytest.raises(NoteError, match="not signed by a trusted key"):
        await ask(witness, seen)

    notes = (await keys_in_force(database, keys)).key_changes
    told = Witness(
        AUDITOR, [old], tmp_path / "seen", [parse_succession(note.encode()) for note in notes]
    )
    assert await ask(told, seen) > seen


async def test_a_witness_that_is_told_the_new_key_alone_goes_on_from_what_the_old_one_signed(
    database, tree, write, rotate, heads, keys, tmp_path
):
    await write()
    await tree.turn()
    before = await signed_tree(database)
    first = Request(0, (), before.checkpoint)
    await Witness(AUDITOR, [keys.held[0].verifier], tmp_path / "seen").add(first, 1_795_000_000)
    done = await rotate()
    await retire_keys(database, keys, heads)
    await write()
    await tree.turn()

    signed = await signed_tree(database)
    proof = await growth(database, signed, before.checkpoint_size)
    after = Request(before.checkpoint_size, tuple(map(_decoded, proof)), signed.checkpoint)
    witness = Witness(AUDITOR, [done.new], tmp_path / "seen")
    with pytest.raises(Outdated):
        await witness.add(Request(0, (), signed.checkpoint), 1_795_000_001)
    assert await witness.add(after, 1_795_000_001)


def _decoded(text):
    from gateway.audit.checkpoint import parse_hash

    return parse_hash(text)


async def test_with_the_new_key_alone_nothing_is_said_of_what_the_old_one_signed(
    database, tree, write, rotate, bundle, tmp_path
):
    await write()
    await tree.turn()
    older, early = await head_of(database), await bundle()
    await write()
    await tree.turn()
    done = await rotate()
    new = Trust(done.new, key_changes=(done.note,))

    with pytest.raises(BundleError, match="only a key that was replaced"):
        verify_file(early, new)
    assert verify_file(early, new, older).intact  # the auditor held it before
    assert verify_file(early, done.old).intact


@pytest.mark.parametrize("shard", ["2026h2", "2025h1"])
async def test_a_thief_of_the_replaced_key_convinces_nobody_who_trusts_the_new_one(tmp_path, shard):
    stolen, new = (SigningKey("log.example", bytes([n]) * 32) for n in (1, 2))
    change = hand_over(Checkpoint("log.example/2026h2", 500, b"r" * 32), stolen, new)
    entry = '{"forged":"yes"}'
    forged = Checkpoint(f"log.example/{shard}", 1, leaf_hash(entry.encode()))
    proof = {
        "format": "ostiary-proof/2",
        "index": 0,
        "entry": entry,
        "hashes": [],
        "checkpoint": sign_checkpoint(forged, stolen).decode(),
        "keys": [change.decode()],
    }
    file, script = tmp_path / "proof.json", tmp_path / "ostiary_verify.py"
    file.write_text(json.dumps(proof))
    script.write_text(single_file())

    status, why = checked(file, str(new.verifier), None, 1, lambda done, total: None)
    assert (status, "only a key that was replaced" in str(why)) == (2, True)
    command = [sys.executable, script, file, "--key", str(new.verifier)]
    run = partial(subprocess.run, capture_output=True, text=True, check=False)
    told = await asyncio.to_thread(run, command)
    assert (told.returncode, told.stdout) == (2, "")
    assert "only a key that was replaced" in told.stderr


@pytest.mark.parametrize("which", ["old", "new"])
async def test_other_formats_under_a_signed_list_verify_with_either_key(
    database, tree, write, rotate, tmp_path, keys, which
):
    await write()
    await tree.turn()
    early, late = tmp_path / "early.tar", tmp_path / "late.tar"
    await convert(database, Stretch(), early, FORMATS["csv"], keys.held[-1])
    done = await rotate()
    await write()
    await tree.turn()
    await convert(database, Stretch(), late, FORMATS["csv"], keys.held[-1])
    key, notes = getattr(done, which), (done.note,)

    assert verify_anything(late, key).intact
    believed = Trust(key, key_changes=notes)
    if which == "old":
        assert verify_anything(early, believed).intact
    else:
        with pytest.raises(BundleError, match="signed the list"):
            verify_anything(early, believed)
    with pytest.raises(NoteError, match="does not sign any more"):
        await convert(database, Stretch(), late, FORMATS["csv"], keys.held[0])


async def test_a_replica_without_the_new_key_leaves_signing_to_others(
    database, tree, keys, write, rotate, tmp_path, heads
):
    await write()
    await tree.turn()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(f"{keys.held[0].secret_text()}\n")
    other = LogTree(database, FileLogKeys(elsewhere), heads)
    await rotate()
    await write()
    await other.turn()
    assert (other.alarm, other.signs, other.head) == (None, False, None)

    await tree.turn()
    await other.turn()
    assert other.alarm is None


@pytest.mark.parametrize("note", ["no note", None, "strangers"])
async def test_an_entry_that_announces_a_key_and_is_not_signed_by_the_logs_says_nothing(
    database, ledger, tree, write, keys, bundle, note
):
    await write()
    await tree.turn()
    key = keys.held[0].verifier
    if note == "strangers":
        strangers = [SigningKey(key.name, bytes([n]) * 32) for n in (1, 2)]
        note = hand_over(tree.head, *strangers).decode()
    body = {"log_key": {"old": str(key), "new": str(key), "note": note}}
    await ledger.append(Entry("log_key.rotated", body))
    await write()
    await tree.turn()
    await tree.turn()

    assert (tree.alarm, tree.verifier_key) == (None, str(key))
    report = verify_file(await bundle(), key)
    assert (report.intact, report.entries) == (True, tree.head.size)


async def test_a_key_that_nobody_announced_is_still_foreign(database, tree, write, tmp_path, heads):
    await write()
    await tree.turn()
    foreign = tmp_path / "foreign"
    name = tree.verifier_key.split("+")[0]
    foreign.write_text(f"{SigningKey(name, b'x' * 32).secret_text()}\n")
    other = LogTree(database, FileLogKeys(foreign), FileHeads(tmp_path / "other"))
    await other.turn()

    assert other.alarm.wrong is Wrong.FOREIGN_KEY


async def test_a_rotation_that_breaks_off_before_its_entry_changes_nothing(
    database, tree, write, rotate, keys, monkeypatch
):
    await write()
    await tree.turn()
    old = keys.held[0]

    async def away(*_):
        raise OSError("away")

    with monkeypatch.context() as broken:
        broken.setattr(key_rotation.entries, "append", away)
        with pytest.raises(Exception, match=r"away|cannot be used"):
            await rotate()
    assert len(keys.held) == 2
    await write()
    await tree.turn()
    assert (tree.alarm, tree.verifier_key) == (None, str(old.verifier))

    done = await rotate()
    assert [key.verifier for key in keys.held] == [done.old, done.new]


async def test_whoever_signs_while_the_key_is_rotated_ends_where_the_log_says(
    database, tree, write, rotate, bundle, heads, path
):
    """Replicas sign and the key changes, over and over; every signed head must verify."""
    await write(1)
    await tree.turn()
    first = tree.verifier_key
    replicas = [LogTree(database, FileLogKeys(path), heads) for _ in range(3)]
    seen = set()

    async def sign(replica):
        for _ in range(8):
            await replica.turn()
            assert replica.alarm is None
            seen.add(await head_of(database))
            await asyncio.sleep(0)

    async def change():
        for _ in range(3):
            await write(1)
            await rotate()

    await asyncio.gather(change(), write(10), *map(sign, replicas))
    await tree.turn()

    assert len(seen) > 3
    whole = await bundle()
    for note in seen:
        assert verify_file(whole, parse_verifier_key(first), note).intact


async def test_nothing_is_rotated_before_something_is_signed(database, rotate, keys):
    with pytest.raises(Conflict, match="nothing is signed"):
        await rotate()
    assert len(keys.held) == 1


async def test_nothing_is_rotated_over_an_alarm(database, tree, write, rotate, meddle):
    await write()
    await tree.turn()
    await meddle("UPDATE audit_tiles SET hashes = :hashes", hashes=b"x" * 32)
    with pytest.raises(Conflict, match="no key is changed while"):
        await rotate()


async def test_a_second_signature_is_required_where_the_auditor_asks_for_it(
    database, path, heads, write, bundle, tmp_path
):
    keys = FileLogKeys(path, tmp_path / "keys" / "log-mldsa")
    tree = LogTree(database, keys, heads)
    await write()
    await tree.turn()
    signed, key = await bundle(), keys.held[0].verifier
    second = keys.mldsa.verifier
    script = tmp_path / "ostiary_verify.py"
    script.write_text(single_file())
    (tmp_path / "second").write_text(f"{second}\n")

    report = verify_file(signed, Trust(key, second))
    assert (report.intact, report.mldsa) == (True, True)
    assert verify_file(signed, key).intact
    command = [sys.executable, script, signed, "--key", str(key), "--mldsa-key", "second"]
    run = partial(subprocess.run, capture_output=True, text=True, check=False, cwd=tmp_path)
    done = await asyncio.to_thread(run, command)
    assert (done.returncode, "ML-DSA-44" in done.stdout) == (0, True), done.stderr

    await write()
    await LogTree(database, FileLogKeys(path), heads).turn()
    report = verify_file(await bundle("plain"), Trust(key, second))
    assert (report.intact, "no ML-DSA-44 signature" in report.problem) == (False, True)


async def test_the_files_hold_keys_of_one_log(path, tmp_path, keys):
    assert FileLogKeys(path).held == keys.held
    other = tmp_path / "other"
    other.write_text(f"{keys.held[0].secret_text()}\n{AUDITOR.secret_text()}\n")
    with pytest.raises(ValueError, match="must have its name"):
        FileLogKeys(other)
    FileLogKeys(path, tmp_path / "mldsa")
    with pytest.raises(ValueError, match="the log is"):
        FileLogKeys(tmp_path / "new", tmp_path / "mldsa")
