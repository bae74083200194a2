import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import text

from gateway.audit import integrator as integrating
from gateway.audit import records
from gateway.audit.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from gateway.audit.heads import DatabaseHeads, FileHeads, open_heads
from gateway.audit.integrator import Integrator, shard_of
from gateway.audit.log_key import GivenLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.merkle import leaf_hash, root_hash
from gateway.audit.publisher import LogAlarm, Publisher, Wrong
from gateway.audit.queries import tail
from gateway.notes import SigningKey, parse_note
from gateway.store import trees as store
from gateway.store.entries import after
from gateway.store.session import Database

pytestmark = pytest.mark.integration

KEY = SigningKey("log.example", b"k" * 32)
NOW = 1_795_000_000.0  # in the second half of 2026

INSERT = (
    "INSERT INTO audit_entries (id, type, recorded_at, replica, replica_seq, terminal, body) "
    "VALUES (:id, 'test', 'now', :id, 1, false, :body)"
)


class HalfYears:
    """The clock that all replicas share, moved by hand."""

    def __init__(self):
        self.now = NOW

    async def shared(self, database):
        return self.now


@pytest.fixture
def half_years():
    return HalfYears()


@pytest.fixture
def integrator(database, half_years):
    return Integrator(database, half_years.shared)


@pytest.fixture
def heads(tmp_path):
    return FileHeads(tmp_path / "heads")


@pytest.fixture
def publisher(database, heads):
    return Publisher(database, GivenLogKeys(KEY), heads)


@pytest.fixture
def insert(database):
    """Puts entries into the log by hand."""

    async def put(*ids):
        async with database.write() as connection:
            for id in ids:
                await connection.execute(text(INSERT), {"id": id, "body": id.encode()})

    return put


async def only_tree(database):
    async with database.read() as connection:
        [tree] = await store.trees(connection)
    return tree


async def leaves(database, first_seq=0):
    return [leaf_hash(entry.body) for entry in await after(database, first_seq, 100_000)]


async def check_whole_log(database, integrator):
    """The tree holds every entry, once, in the log's order."""
    await integrator.integrate()
    tree = await only_tree(database)
    expected = await leaves(database)
    assert tree.size == len(expected)
    root = await Publisher(database, GivenLogKeys(KEY), FileHeads("none"))._root(
        tree.shard, tree.size
    )
    assert root == root_hash(expected)


async def test_everything_that_was_committed_is_in_the_tree(database, ledger, integrator):
    for number in range(3):
        entries = [records.replica_stopped(f"{number}") for _ in range(90)]
        await ledger.append(*entries)
        await check_whole_log(database, integrator)

    assert await integrator.integrate() == 0


async def test_more_than_a_batch_is_added_in_several_passes(
    database, insert, integrator, monkeypatch
):
    monkeypatch.setattr(integrating, "BATCH", 100)
    await insert(*(f"e{number}" for number in range(300)))

    assert await integrator.integrate() == 300
    await check_whole_log(database, integrator)


async def test_numbers_that_were_never_used_leave_no_gap_in_the_tree(database, insert, integrator):
    await insert("one")
    with suppress(ZeroDivisionError):
        async with database.write() as connection:
            await connection.execute(text(INSERT), {"id": "never", "body": b""})
            raise ZeroDivisionError
    await insert("two")

    await check_whole_log(database, integrator)
    assert (await only_tree(database)).size == 2


async def test_an_entry_that_commits_late_is_never_passed_over(database, insert, integrator):
    """Not even one that somebody puts in by hand, without taking the ledger's lock."""
    if database.is_sqlite:
        pytest.skip("has one writer")
    async with database.write() as connection:
        await connection.execute(text(INSERT), {"id": "early", "body": b"early"})
        late = asyncio.create_task(insert("late"))
        await asyncio.sleep(0.3)
        assert not late.done()
        assert await integrator.integrate() == 0
    await late

    await check_whole_log(database, integrator)
    assert [entry.body for entry in await after(database, 0, 9)] == [b"early", b"late"]


async def test_replicas_that_append_and_integrate_at_once_make_one_tree_without_a_gap(
    database, new_ledger, half_years
):
    databases = [Database(database.url.render_as_string()) for _ in range(2)]
    ledgers = [await new_ledger(), await new_ledger()]
    trees = [Integrator(each, half_years.shared) for each in databases]

    async def write(ledger):
        for number in range(40):
            await ledger.append(*(records.replica_stopped(f"{number}") for _ in range(5)))

    async def grow(tree):
        for _ in range(30):
            await tree.integrate()
            await asyncio.sleep(0.01)

    await asyncio.gather(*map(write, ledgers), *map(grow, trees))

    await check_whole_log(database, trees[0])
    assert (await only_tree(database)).size == 2 + 2 * 40 * 5
    for each in databases:
        await each.aclose()


async def test_a_new_half_year_is_a_new_shard(database, insert, integrator, half_years, publisher):
    await insert("one", "two")
    await integrator.integrate()
    await insert("three")
    half_years.now += 60 * 86400  # 2027
    await integrator.integrate()
    half_years.now -= 90 * 86400  # a clock that was set back
    await insert("four")
    await integrator.integrate()

    async with database.read() as connection:
        trees = await store.trees(connection)
    assert [(tree.shard, tree.size) for tree in trees] == [("2026h2", 2), ("2027h1", 2)]
    signed = {checkpoint.origin: checkpoint for checkpoint in await publisher.publish()}
    everything = await leaves(database)
    assert signed["log.example/2026h2"].root == root_hash(everything[:2])
    assert signed["log.example/2027h1"].root == root_hash(everything[2:])


@pytest.mark.parametrize(
    ("moment", "shard"), [(0, "1970h1"), (1782863999, "2026h1"), (1782864000, "2026h2")]
)
def test_a_shard_is_half_a_year(moment, shard):
    assert shard_of(moment) == shard


async def test_an_entry_has_its_index_whatever_its_number(database, insert, integrator):
    await insert(*(f"e{number}" for number in range(300)))
    await integrator.integrate()
    tree = await only_tree(database)

    async with database.read() as connection:
        for at, entry in list(enumerate(await after(database, 0, 300)))[::50]:
            assert await store.index_of(connection, tree, entry.seq, 256) == at
        assert await store.index_of(connection, tree, tree.last_seq + 1, 256) is None


async def test_a_checkpoint_is_signed_when_the_log_has_grown_and_is_kept_apart(
    database, insert, integrator, publisher, heads
):
    await insert("one", "two")
    await integrator.integrate()
    [signed] = await publisher.publish()

    assert signed == Checkpoint("log.example/2026h2", 2, root_hash(await leaves(database)))
    assert await publisher.publish() == []
    tree = await only_tree(database)
    assert parse_checkpoint(parse_note(tree.checkpoint or b"").text) == signed
    assert await heads.kept() == {signed.origin: tree.checkpoint}


async def test_replicas_that_publish_at_once_agree(database, insert, integrator, tmp_path):
    publishers = [
        Publisher(database, GivenLogKeys(KEY), FileHeads(tmp_path / name)) for name in "ab"
    ]
    for round in range(5):
        await insert(f"e{round}")
        await integrator.integrate()
        await asyncio.gather(*(publisher.publish() for publisher in publishers))

    assert (await only_tree(database)).checkpoint_size == 5


async def rolled_back(database, meddle):
    await meddle("DELETE FROM audit_tiles")
    await meddle("DELETE FROM audit_trees")
    await meddle("DELETE FROM audit_entries WHERE id = 'three'")


async def test_a_database_that_was_rolled_back_is_named_and_nothing_signed(
    database, insert, integrator, publisher, meddle
):
    await insert("one", "two", "three")
    await integrator.integrate()
    await publisher.publish()
    await rolled_back(database, meddle)
    with pytest.raises(LogAlarm) as missing:
        await publisher.publish()
    await integrator.integrate()
    with pytest.raises(LogAlarm, match="had 3 entries when it was signed and has 2") as shorter:
        await publisher.publish()
    await insert("another", "and more")
    await integrator.integrate()
    with pytest.raises(LogAlarm, match="forked or edited") as forked:
        await publisher.publish()

    alarms = [each.value.alarm.wrong for each in (missing, shorter, forked)]
    assert alarms == [Wrong.MISSING_SHARD, Wrong.ROLLED_BACK, Wrong.FORKED]
    assert (await only_tree(database)).checkpoint_size == 0


async def test_a_head_that_another_key_signed_is_named(
    database, insert, integrator, publisher, tmp_path
):
    await insert("one")
    await integrator.integrate()
    await publisher.publish()
    other = Publisher(
        database, GivenLogKeys(SigningKey("log.example", b"x" * 32)), FileHeads(tmp_path / "x")
    )

    with pytest.raises(LogAlarm, match="cannot be used") as raised:
        await other.publish()
    assert raised.value.alarm.wrong is Wrong.FOREIGN_KEY


async def test_a_kept_head_that_is_not_signed_is_named(
    database, insert, integrator, publisher, heads
):
    forged = Checkpoint("log.example/2026h2", 1, b"r" * 32)
    await heads.keep(forged, sign_checkpoint(forged, SigningKey("log.example", b"x" * 32)))

    with pytest.raises(LogAlarm) as raised:
        await publisher.publish()
    assert raised.value.alarm.wrong is Wrong.NO_KEEPER


async def test_a_replica_that_never_signs_keeps_what_others_sign(
    database, insert, integrator, publisher, tmp_path
):
    await insert("one")
    await integrator.integrate()
    [signed] = await publisher.publish()
    bystander = FileHeads(tmp_path / "bystander")
    await Publisher(database, GivenLogKeys(KEY), bystander).publish()

    assert list(await bystander.kept()) == [signed.origin]


@pytest.fixture
async def log_tree(database, heads):
    tree = LogTree(database, GivenLogKeys(KEY), heads)
    yield tree
    await tree.aclose()


async def test_a_log_that_nobody_touched_raises_no_alarm(database, ledger, log_tree):
    for _ in range(6):
        await ledger.append(*(records.replica_stopped("test") for _ in range(70)))
        await log_tree.turn()
        assert log_tree.alarm is None

    assert log_tree.head.size == (await only_tree(database)).size == 6 * 70 + 1


CHANGES = {
    "a body": "UPDATE audit_entries SET body = :body WHERE seq = :seq",
    "a column": "UPDATE audit_entries SET project = 'other' WHERE seq = :seq",
    "a row that went": "DELETE FROM audit_entries WHERE seq = :seq",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_an_entry_that_was_edited_afterwards_is_named_by_its_index(
    database, ledger, log_tree, meddle, change
):
    await ledger.append(*(records.replica_stopped("test") for _ in range(20)))
    await log_tree.turn()
    victim = (await tail(database, 8))[0]
    parameters = {"seq": victim["seq"], "body": b"{}"}
    statement = CHANGES[change]
    await meddle(statement, **{k: v for k, v in parameters.items() if f":{k}" in statement})
    await ledger.append(records.replica_stopped("later"))
    size = log_tree.head.size
    await log_tree.turn()

    assert log_tree.alarm.wrong is Wrong.EDITED
    assert "entry 13 of `20" in log_tree.alarm.detail
    assert log_tree.head.size == size


async def test_the_alarm_ends_when_the_right_database_is_back(database, ledger, log_tree, heads):
    await ledger.append(*(records.replica_stopped("test") for _ in range(5)))
    await log_tree.turn()
    later = Checkpoint(log_tree.head.origin, 7, b"r" * 32)
    kept = FileHeads(heads._directory)
    [note] = (await kept.kept()).values()
    await kept.keep(later, sign_checkpoint(later, KEY))
    await log_tree.turn()
    assert log_tree.alarm.wrong is Wrong.ROLLED_BACK
    next(heads._directory.glob("*.checkpoint")).write_bytes(note)
    await log_tree.turn()

    assert log_tree.alarm is None


async def test_the_database_refuses_to_let_a_tree_shrink_or_a_full_tile_change(
    database, insert, integrator
):
    await insert(*(f"e{number}" for number in range(256)))
    await integrator.integrate()

    for change in (
        "UPDATE audit_trees SET size = size - 1",
        "DELETE FROM audit_trees",
        "DELETE FROM audit_tiles",
        "UPDATE audit_tiles SET hashes = '' WHERE level = 0",
        "UPDATE audit_tiles SET hashes = substr(hashes, 2) WHERE level = 1",
        "UPDATE audit_tiles SET number = 7 WHERE level = 1",
        "UPDATE audit_trees SET last_seq = last_seq - 1",
        "UPDATE audit_trees SET first_seq = first_seq + 1",
    ):
        with pytest.raises(Exception, match=r"only grows|does not change|stay|cannot be used"):
            async with database.write() as connection:
                await connection.execute(text(change))


async def test_without_a_head_keeper_nothing_is_signed_and_it_is_said(database, ledger, tmp_path):
    (tmp_path / "a file").write_text("")
    away = DatabaseHeads(Database(f"postgresql+asyncpg://postgres@/none?host={tmp_path}"))
    for heads in (FileHeads(tmp_path / "a file"), away):
        tree = LogTree(database, GivenLogKeys(KEY), heads)
        await tree.turn()
        assert tree.alarm.wrong is Wrong.NO_KEEPER
        assert (await only_tree(database)).checkpoint_size == 0
        await tree.aclose()


async def test_whatever_kills_the_task_that_signs_raises_the_alarm(log_tree, ledger, monkeypatch):
    async def fail(_self):
        raise ZeroDivisionError

    monkeypatch.setattr(Publisher, "publish", fail)
    await log_tree.start()
    while log_tree.alarm is None:  # noqa: ASYNC110 - has no event
        await asyncio.sleep(0.01)
    monkeypatch.undo()

    assert log_tree.alarm.wrong is Wrong.STOPPED


@pytest.mark.parametrize("kind", ["directory", "database"])
async def test_a_head_keeper_never_goes_back(database, tmp_path, kind):
    keeper = open_heads(str(tmp_path / "kept"), tmp_path)
    if kind == "database":
        keeper = DatabaseHeads(Database(database.url.render_as_string()))
    notes = {}
    for size in (5, 9, 7):
        checkpoint = Checkpoint("log.example/2026h2", size, b"r" * 32)
        notes[size] = sign_checkpoint(checkpoint, KEY)
        await keeper.keep(checkpoint, notes[size])

    assert await keeper.kept() == {"log.example/2026h2": notes[9]}
    await keeper.aclose()


async def test_no_head_is_kept_before_the_first(tmp_path):
    assert await open_heads("", tmp_path).kept() == {}
