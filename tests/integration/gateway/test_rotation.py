import asyncio

import pytest
from sqlalchemy import event

from gateway.audit.envelope import Unreadable
from gateway.audit.master_keys import FileMasterKeys, GivenMasterKeys
from gateway.audit.queries import tail
from gateway.audit.rotation import rotate
from gateway.audit.vault import Vault, open_project_key
from gateway.errors import StoreUnavailable
from gateway.settings import ContentMode
from gateway.store import tables
from gateway.store.content import ProjectKeyRow
from gateway.types import Principal, Scope
from tests.integration.gateway.content import count, decide, opened

pytestmark = pytest.mark.integration


@pytest.fixture
def master(tmp_path):
    return FileMasterKeys(tmp_path / "keys" / "vault")


@pytest.fixture
def vault(database, master):
    return Vault(database, master, ContentMode.ALL)


@pytest.fixture
def talk(ledger, vault, new_exchange):
    async def talk(what, project="shop"):
        principal = Principal("k", project, frozenset({Scope.CALLER}), 10, 1000)
        return await decide(ledger, vault, new_exchange(principal=principal), what)

    return talk


async def wrapped(database):
    async with database.read() as connection:
        return [
            row.wrapped
            for table in (tables.content_keys, tables.content_projects)
            for row in await connection.execute(table.select())
        ]


async def test_after_a_rotation_content_is_readable_and_every_key_is_another(
    database, master, vault, talk, tmp_path
):
    entries = [await talk(f"text {number}") for number in range(3)]
    entries.append(await talk("text 3", "bank"))
    before, file = await wrapped(database), (tmp_path / "keys" / "vault").read_bytes()

    done = await rotate(database, master, actor="cli", settle_s=0)

    assert (done.projects, done.keys) == (2, 4)
    for number, entry in enumerate(entries):
        assert await opened(vault, entry) == {"input": [f"text {number}"]}
    after = await wrapped(database)
    assert len(after) == len(before) == 6
    assert set(after).isdisjoint(before)
    now = (tmp_path / "keys" / "vault").read_bytes()
    assert len(now) == 32
    assert now != file
    kinds = [
        (entry["type"], entry["vault"]) for entry in await tail(database, 100) if "vault" in entry
    ]
    assert kinds == [
        ("vault.rotation_started", {"projects": 2, "master_key": done.master_key}),
        ("vault.rotated", {"keys": 4, "master_key": done.master_key}),
    ]


async def test_what_was_copied_before_a_rotation_opens_nothing_with_what_is_there_after(
    database, master, talk
):
    await talk("one")
    async with database.read() as connection:
        [copied] = await connection.execute(tables.content_projects.select())
    await rotate(database, master, actor="cli", settle_s=0)

    with pytest.raises(Unreadable):
        await open_project_key(master, ProjectKeyRow(*copied))


async def test_a_replica_that_remembers_the_earlier_key_loses_nothing(
    database, master, vault, talk
):
    await talk("one")  # remembered for a second
    rotating = asyncio.create_task(rotate(database, master, actor="cli"))
    entries = []
    while not rotating.done():
        entries.append(await talk("two"))
        await asyncio.sleep(0.1)
    entries.append(await talk("three"))

    assert [await opened(vault, entry) for entry in entries[:-1]] == [{"input": ["two"]}] * (
        len(entries) - 1
    )
    assert await count(database, "content_projects") == 1


async def test_a_rotation_that_broke_off_loses_nothing_and_is_finished_by_the_next(
    database, master, vault, talk
):
    entries = [await talk("one"), await talk("two")]

    def fail(connection, cursor, statement, *rest):
        if "UPDATE content_keys" in statement:
            raise OSError("pulled the plug")

    event.listen(database.engine.sync_engine, "before_cursor_execute", fail)
    with pytest.raises(StoreUnavailable):
        await rotate(database, master, actor="cli", settle_s=0)
    event.remove(database.engine.sync_engine, "before_cursor_execute", fail)
    assert [await opened(vault, entry) for entry in entries] == [
        {"input": ["one"]},
        {"input": ["two"]},
    ]

    await rotate(database, master, actor="cli", settle_s=0)

    assert await opened(vault, entries[0]) == {"input": ["one"]}
    assert await count(database, "content_projects") == 1


async def test_given_keys_are_rotated_by_giving_a_new_one(database, new_exchange, ledger):
    old, new = "AQ" + "A" * 41 + "=", "Ag" + "A" * 41 + "="
    vault = Vault(database, GivenMasterKeys(old), ContentMode.ALL)
    entry = await decide(ledger, vault, new_exchange(), "one")
    await rotate(database, GivenMasterKeys(f"{new},{old}"), actor="cli", settle_s=0)

    with_new = Vault(database, GivenMasterKeys(new))
    assert await opened(with_new, entry) == {"input": ["one"]}
    with pytest.raises(Unreadable, match="master key"):
        await opened(vault, entry)


async def test_rotations_at_the_same_time_leave_everything_readable(
    database, master, vault, talk, tmp_path
):
    entries = [await talk("one"), await talk("two", "bank")]
    elsewhere = FileMasterKeys(tmp_path / "keys" / "vault")

    await asyncio.gather(*(rotate(database, keys, actor="cli") for keys in (master, elsewhere)))
    await rotate(database, master, actor="cli", settle_s=0)

    assert await opened(vault, entries[0]) == {"input": ["one"]}
    assert await opened(vault, entries[1]) == {"input": ["two"]}
    assert await count(database, "content_projects") == 2
    assert (tmp_path / "keys" / "vault").stat().st_size == 32
