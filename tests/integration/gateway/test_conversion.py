"""The log in other formats, from both databases, and what an auditor finds of them."""

import csv
import io
import json
import shutil
import tarfile
import time
from datetime import UTC, datetime

import pytest
from pyarrow import parquet

from gateway.audit.bundle import BundleError
from gateway.audit.conversion import FORMATS, convert
from gateway.audit.export import Stretch, export, signed_tree
from gateway.audit.heads import FileHeads
from gateway.audit.integrator import shard_of
from gateway.audit.log_key import GivenLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.queries import tail
from gateway.audit.verify import verify_file
from gateway.audit.verify_files import verify_anything
from gateway.audit.verify_main import main
from gateway.errors import NotFound
from gateway.notes import NoteError, SigningKey

pytestmark = pytest.mark.integration

SHARD = shard_of(time.time())
KEY = SigningKey("log.example", b"k" * 32)


@pytest.fixture
async def log(database, ledger, tmp_path, new_exchange, allowed):
    """Writes exchanges and signs what is there."""
    tree = LogTree(database, GivenLogKeys(KEY), FileHeads(tmp_path / "heads"))

    async def write(exchanges):
        for _ in range(exchanges):
            async with ledger.exchange(new_exchange()) as exchange:
                await ledger.record(exchange, allowed)
        await tree.turn()

    yield write
    await tree.aclose()


@pytest.fixture
def converted(database, tmp_path):
    async def make(name, what=None, key=KEY):
        path = tmp_path / f"{name}.tar"
        await convert(database, what or Stretch(), path, FORMATS[name], key)
        return path

    return make


def files(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def ids(name, content):
    if name == "csv":
        return [row["id"] for row in csv.DictReader(io.StringIO(content.decode(), newline=""))]
    if name == "parquet":
        return parquet.read_table(io.BytesIO(content))["id"].to_pylist()
    lines = content.decode().splitlines()
    if name == "cef":
        return [line.split("externalId=")[1].split(" ")[0] for line in lines]
    if name == "ocsf":
        return [json.loads(line)["metadata"]["uid"] for line in lines]
    logs = (json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"] for line in lines)
    return [json.loads(each["body"]["stringValue"])["id"] for some in logs for each in some]


@pytest.mark.parametrize("name", FORMATS)
async def test_every_entry_is_there_in_order(database, log, converted, name, monkeypatch):
    monkeypatch.setattr("gateway.audit.export._PAGE", 16)
    await log(20)
    path = await converted(name)
    report = verify_anything(path, KEY.verifier)

    inside = files(path)
    assert sorted(inside) == [
        f"checkpoint-{SHARD}",
        f"entries.{FORMATS[name].suffix}",
        "manifest",
    ]
    found = ids(name, inside[f"entries.{FORMATS[name].suffix}"])
    assert found == [entry["id"] for entry in await tail(database, 1000)]
    assert (report.intact, report.what, report.files) == (True, f"export {name}/1", 2)
    assert (report.logs[0].entries, report.logs[0].size) == (61, 61)
    assert inside[f"checkpoint-{SHARD}"] == (await signed_tree(database)).checkpoint


async def test_only_the_time_that_was_asked_for_is_written(database, log, converted):
    await log(5)
    middle = datetime.now(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
    await log(3)
    late = files(await converted("ocsf", Stretch(since=middle)))
    early = files(await converted("csv", Stretch(until=middle)))

    whole = [entry["id"] for entry in await tail(database, 1000)]
    assert ids("csv", early["entries.csv"]) + ids("ocsf", late["entries.ocsf.jsonl"]) == whole
    assert f"until {middle}\nlog log.example/{SHARD} 0 16 25\n" in early["manifest"].decode()
    assert (
        f"since {middle}\nuntil -\nlog log.example/{SHARD} 16 9 25\n" in late["manifest"].decode()
    )


async def test_a_folder_that_it_was_unpacked_into_is_verified_as_well(log, converted, tmp_path):
    await log(2)
    path = await converted("cef")
    shutil.unpack_archive(path, tmp_path / "here", "tar", filter="data")

    assert verify_anything(tmp_path / "here", KEY.verifier) == verify_anything(path, KEY.verifier)
    (tmp_path / "here" / "notes.txt").write_text("mine")
    report = verify_anything(tmp_path / "here", KEY.verifier)
    assert (report.intact, "`notes.txt`" in report.problem) == (False, True)


@pytest.mark.parametrize("name", ["entries.csv", f"checkpoint-{SHARD}", "manifest"])
@pytest.mark.parametrize("harm", ["alter", "cut", "remove", "empty"])
async def test_whatever_is_changed_is_found(log, converted, tmp_path, name, harm):
    await log(2)
    shutil.unpack_archive(await converted("csv"), tmp_path / "here", "tar", filter="data")
    victim = tmp_path / "here" / name
    content = victim.read_bytes()
    if harm == "remove":
        victim.unlink()
    else:
        middle = len(content) // 2
        altered = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        victim.write_bytes({"alter": altered, "cut": content[:-1], "empty": b""}[harm])

    if (name, harm) == ("manifest", "remove"):
        with pytest.raises(BundleError):
            verify_anything(tmp_path / "here", KEY.verifier)
    else:
        assert not verify_anything(tmp_path / "here", KEY.verifier).intact


async def test_what_somebody_else_signed_is_not_taken(log, converted):
    await log(1)
    stranger = SigningKey("log.example", b"s" * 32)
    path = await converted("csv")

    assert not verify_anything(path, stranger.verifier).intact
    with pytest.raises(NoteError):
        await converted("cef", key=stranger)


async def test_an_older_checkpoint_needs_the_entries_themselves(database, log, converted):
    await log(1)
    older = (await signed_tree(database)).checkpoint
    await log(1)

    with pytest.raises(BundleError, match="to be compared with yours"):
        verify_anything(await converted("csv"), KEY.verifier, older)


async def test_nothing_is_left_where_nothing_could_be_written(log, converted, tmp_path):
    with pytest.raises(NotFound):
        await converted("csv")
    await log(1)
    with pytest.raises(NotFound):
        await converted("csv", Stretch(until="2001-01-01T00:00:00.000000Z"))

    assert not list(tmp_path.glob("*.tar*"))


async def test_the_program_says_what_it_found(log, converted, tmp_path, capsys):
    await log(1)
    path = await converted("ocsf")

    assert main([str(path), "--key", str(KEY.verifier)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("intact: export ocsf/1, made 2")
    assert f"made of 4 of 4 entries of log.example/{SHARD}" in said
    assert main([str(path), "--key", str(KEY.verifier), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["logs"][0]["entries"] == 4


async def test_a_bundle_is_verified_as_ever(database, log, tmp_path):
    await log(2)
    await export(database, Stretch(), tmp_path / "bundle.tar")

    assert verify_anything(tmp_path / "bundle.tar", KEY.verifier) == verify_file(
        tmp_path / "bundle.tar", KEY.verifier
    )
