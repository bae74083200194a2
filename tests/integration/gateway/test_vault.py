"""Content in both databases: written with its entry, read back, and nothing else."""

import asyncio
import hashlib
from dataclasses import replace

import pytest
from sqlalchemy import func, select, text, update

from classifiers.types import Passage, Source, Span
from gateway.audit.envelope import Unreadable
from gateway.audit.master_keys import FileMasterKeys
from gateway.audit.queries import show
from gateway.audit.vault import State, Vault
from gateway.errors import AuditUnavailable, StoreUnavailable
from gateway.keeping import Keeping, said
from gateway.settings import ContentMode
from gateway.store import tables
from policies.circumstances import Circumstances
from policies.types import Action, Redaction, Stage

pytestmark = pytest.mark.integration

SUBJECT = "ab" * 16


@pytest.fixture
def new_vault(database, tmp_path):
    def make(mode=ContentMode.ALL):
        return Vault(database, FileMasterKeys(tmp_path / "keys" / "vault"), mode)

    return make


@pytest.fixture
def vault(new_vault):
    return new_vault()


@pytest.fixture
def decide(ledger, new_vault, allowed):
    """Judges a text, as the pipeline does; returns the entry that was recorded."""
    vaults = {}

    async def decide(exchange, what, action=Action.ALLOW, mode=ContentMode.ALL, stage=Stage.INPUT):
        vault = vaults.setdefault(mode, new_vault(mode))
        decision = replace(allowed, stage=stage, action=action)
        texts = said(stage, [Passage(Source.USER, what)], (), 0)
        kept = await vault.keep(exchange, decision, texts)
        async with ledger.exchange(exchange):
            decision_id = await ledger.record(exchange, decision, kept)
        [entry] = await show(ledger.database, decision_id)
        return entry

    return decide


@pytest.fixture
def opened(vault):
    async def opened(entry):
        project = entry["actor"]["project"]
        found = await vault.open(project, entry["id"], entry["content"])
        return {each.field: [one["text"] for one in each.said] for each in found}

    return opened


async def everything(database):
    """Return all rows of all tables as one text."""
    async with database.read() as connection:
        rows = [
            str(row)
            for table in tables.metadata.sorted_tables
            for row in await connection.execute(table.select())
        ]
    return "\n".join(rows)


async def count(database, table):
    async with database.read() as connection:
        table = tables.metadata.tables[table]
        return await connection.scalar(select(func.count()).select_from(table))


async def test_content_is_apart_from_its_entry_and_opens_again(
    database, decide, opened, new_exchange
):
    entry = await decide(new_exchange(), "a secret of mine")

    [named] = entry["content"]
    assert (named["field"], named["chars"]) == ("input", 16)
    async with database.read() as connection:
        box = await connection.scalar(text("SELECT box FROM content"))
    assert named["ciphertext_sha256"] == hashlib.sha256(box).hexdigest()
    assert await opened(entry) == {"input": ["a secret of mine"]}
    assert "secret of mine" not in await everything(database)


async def test_a_data_key_is_filed_under_the_end_user(database, decide, new_exchange):
    await decide(new_exchange(circumstances=Circumstances(end_user=SUBJECT)), "hello")
    await decide(new_exchange(), "hello")

    async with database.read() as connection:
        rows = await connection.execute(text("SELECT project, subject FROM content_keys"))
        assert {tuple(row) for row in rows} == {("shop", SUBJECT), ("shop", None)}


async def test_an_exchange_has_one_key_and_a_project_one_above(
    database, ledger, vault, new_exchange, allowed
):
    for _ in range(2):
        exchange = new_exchange()
        async with ledger.exchange(exchange):
            for what in ("one", "two"):
                texts = said(Stage.INPUT, [Passage(Source.USER, what)], ())
                kept = await vault.keep(exchange, allowed, texts)
                await ledger.record(exchange, allowed, kept)

    assert await count(database, "content") == 4
    assert await count(database, "content_keys") == 2
    assert await count(database, "content_projects") == 1


async def test_replicas_that_begin_at_the_same_time_share_a_projects_key(
    database, ledger, new_vault, new_exchange, allowed, opened
):
    async def one():
        exchange = new_exchange()
        texts = said(Stage.INPUT, [Passage(Source.USER, exchange.id)], ())
        kept = await new_vault().keep(exchange, allowed, texts)
        async with ledger.exchange(exchange):
            return exchange.id, await ledger.record(exchange, allowed, kept)

    for request_id, decision_id in await asyncio.gather(*(one() for _ in range(6))):
        [entry] = await show(database, decision_id)
        assert await opened(entry) == {"input": [request_id]}
    assert await count(database, "content_projects") == 1


async def test_where_flagged_content_is_kept_what_came_before_the_flag_is_kept_with_it(
    database, ledger, new_vault, new_exchange, allowed, opened
):
    vault, exchange = new_vault(ContentMode.FLAGGED), new_exchange()
    entries = []
    async with ledger.exchange(exchange):
        for stage, what, action in [
            (Stage.INPUT, "asked", Action.ALLOW),
            (Stage.REASONING, "thought", Action.ALLOW),
            (Stage.OUTPUT, "answered", Action.FLAG),
            (Stage.OUTPUT, "and more", Action.ALLOW),
        ]:
            decision = replace(allowed, stage=stage, action=action)
            kept = await vault.keep(
                exchange, decision, said(stage, [Passage(Source.USER, what)], ())
            )
            entries += await show(database, await ledger.record(exchange, decision, kept))

    assert ["content" in entry for entry in entries] == [False, False, True, True]
    assert await opened(entries[2]) == {
        "input": ["asked"],
        "reasoning": ["thought"],
        "output": ["answered"],
    }
    assert await opened(entries[3]) == {"output": ["and more"]}


@pytest.mark.parametrize(
    ("mode", "action", "wanted"),
    [
        (ContentMode.NONE, Action.BLOCK, True),
        (ContentMode.FLAGGED, Action.ALLOW, True),
        (ContentMode.ALL, Action.BLOCK, False),
    ],
)
async def test_what_is_not_to_be_kept_is_not(database, decide, new_exchange, mode, action, wanted):
    exchange = new_exchange(keeping=Keeping(wanted=wanted))
    entry = await decide(exchange, "a secret of mine", action, mode)

    assert "content" not in entry
    assert await count(database, "content") == await count(database, "content_keys") == 0


async def test_what_a_decision_hid_is_hidden_here_too(
    database, ledger, vault, new_exchange, allowed, opened
):
    exchange = new_exchange()
    cut = Redaction(0, Span(3, 14, "us_ssn"))
    decision = replace(allowed, action=Action.REDACT, redactions=(cut,))
    texts = said(Stage.INPUT, [Passage(Source.USER, "I: 123-45-6789")], decision.redactions)
    kept = await vault.keep(exchange, decision, texts)
    async with ledger.exchange(exchange):
        [entry] = await show(database, await ledger.record(exchange, decision, kept))

    assert await opened(entry) == {"input": ["I: [us_ssn]"]}


CONTENT, KEYS = tables.content, tables.content_keys


async def row_of(connection, entry):
    """Return what is kept for an entry, and its key."""
    query = select(CONTENT, KEYS).join(KEYS, KEYS.c.id == CONTENT.c.key_id)
    return (await connection.execute(query.where(CONTENT.c.record_id == entry["id"]))).one()


async def test_swapped_ciphertexts_are_refused(database, decide, opened, new_exchange):
    entries = [await decide(new_exchange(), what) for what in ("one", "two")]
    async with database.write() as connection:
        rows = [await row_of(connection, entry) for entry in entries]
        for entry, other in zip(entries, reversed(rows), strict=True):
            change = update(CONTENT).where(CONTENT.c.record_id == entry["id"])
            await connection.execute(change.values(box=other.box, key_id=other.key_id))

    for entry in entries:
        with pytest.raises(Unreadable):
            await opened(entry)


async def test_a_key_that_was_moved_does_not_open(database, decide, opened, new_exchange):
    entry, other = [await decide(new_exchange(), what) for what in ("one", "two")]
    async with database.write() as connection:
        own, foreign = [await row_of(connection, each) for each in (entry, other)]
        change = update(KEYS).where(KEYS.c.id == own.key_id)
        await connection.execute(change.values(wrapped=foreign.wrapped))

    with pytest.raises(Unreadable):
        await opened(entry)


async def test_content_that_is_not_what_the_log_names_is_refused(decide, opened, new_exchange):
    entry = await decide(new_exchange(), "one")
    other = await decide(new_exchange(), "two")
    entry["content"][0]["commitment"] = other["content"][0]["commitment"]

    with pytest.raises(Unreadable, match="not what the log names"):
        await opened(entry)


async def test_content_under_a_key_that_was_destroyed_meanwhile_is_not_written(
    database, ledger, vault, new_exchange, allowed
):
    exchange = new_exchange()
    async with ledger.exchange(exchange):
        for what in ("before", "after"):
            texts = said(Stage.INPUT, [Passage(Source.USER, what)], ())
            kept = await vault.keep(exchange, allowed, texts)
            [entry] = await show(database, await ledger.record(exchange, allowed, kept))
            async with database.write() as connection:
                await connection.execute(text("DELETE FROM content_keys"))
                await connection.execute(text("DELETE FROM content"))
    project = exchange.principal.project

    assert await count(database, "content") == 0
    assert [each.state for each in await vault.open(project, entry["id"], entry["content"])] == [
        State.GONE
    ]


async def test_without_its_entry_there_is_no_content(
    database, decide, new_exchange, log_away, vault
):
    await decide(new_exchange(), "one")
    async with log_away():
        with pytest.raises(AuditUnavailable):
            await decide(new_exchange(), "two")

    assert await count(database, "content") == await count(database, "content_keys") == 1


async def test_without_a_key_nothing_is_decided(tmp_path, vault, new_exchange, allowed):
    path = tmp_path / "keys" / "vault"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"short")
    texts = said(Stage.INPUT, [Passage(Source.USER, "one")], ())

    with pytest.raises(StoreUnavailable, match="cannot be sealed"):
        await vault.keep(new_exchange(), allowed, texts)


async def test_a_gateway_does_not_start_with_the_master_key_of_another(
    database, tmp_path, vault, decide, new_exchange
):
    await decide(new_exchange(), "one")
    await vault.check()
    (tmp_path / "keys" / "vault").write_bytes(bytes(32))

    with pytest.raises(ValueError, match="put back `keys/vault`"):
        await vault.check()
