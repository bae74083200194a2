"""After an erasure nothing is left of what an end user said; what is held stays."""

import asyncio
import base64
import hashlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.audit.erasure import add_hold, erase, finish_erasures, holds, release_hold
from gateway.audit.expiry import Expiry
from gateway.audit.master_keys import FileMasterKeys
from gateway.audit.queries import tail
from gateway.audit.records import pseudonym
from gateway.audit.vault import State, Vault
from gateway.errors import Conflict, NotFound
from gateway.settings import ContentMode
from gateway.store import tables
from gateway.store.keyfile import read_or_create
from gateway.store.notices import Case, add_case, case_with_id
from policies.types import Action, Stage
from tests.integration.gateway.content import count, decide, of, opened, rows

pytestmark = pytest.mark.integration

IDENTIFIER = "customer-0f3a-jane-roe"
SAID = "my landlord is called Xaver Quittenbaum"
WHY = {"reason": "Art. 17 request 4711", "actor": "cli"}
ROOT = Path(__file__).parents[3]


@pytest.fixture
def vault(database, tmp_path):
    return Vault(database, FileMasterKeys(tmp_path / "keys" / "vault"), ContentMode.ALL)


@pytest.fixture
def subject(tmp_path):
    return pseudonym(read_or_create(tmp_path / "keys" / "pseudonym"), "shop", IDENTIFIER)


@pytest.fixture
def talk(ledger, vault, new_exchange):
    async def talk(subject, what=SAID, stage=Stage.INPUT, **changes):
        named = {"safety_identifier": IDENTIFIER} if subject else {}
        exchange = new_exchange(circumstances=of(subject), **named, **changes)
        return await decide(ledger, vault, exchange, what, stage, action=Action.BLOCK)

    return talk


async def entries(database, kind):
    return [entry for entry in await tail(database, 200) if entry["type"] == kind]


async def test_an_erasure_destroys_the_keys_of_one_end_user_and_says_so(
    database, vault, subject, talk
):
    mine = [await talk(subject) for _ in range(2)]
    others = [await talk("cd" * 16), await talk(None)]
    before = [entry["content"] for entry in mine]

    assert await erase(database, "shop", subject, **WHY) == 2

    for entry in mine:
        [field] = await vault.open("shop", entry["id"], entry["content"])
        assert (field.state, field.said) == (State.GONE, ())
    assert [await opened(vault, entry) for entry in others] == [{"input": [SAID]}] * 2
    [asked] = await entries(database, "erasure.requested")
    [done] = await entries(database, "erasure.completed")
    assert asked["erasure"] == {"id": done["erasure"]["id"], "reason": WHY["reason"]}
    assert done["erasure"]["keys"] == 2
    assert asked["actor"] == done["actor"] == {"key": "cli"}
    kept = [entry["content"] for entry in await entries(database, "decision.recorded")][:2]
    assert kept == before
    assert await count(database, "content_erasures") == 0


async def test_somebody_of_the_same_name_in_another_project_is_not_erased(
    database, vault, subject, talk
):
    await talk(subject)

    assert await erase(database, "bank", subject, **WHY) == 0
    assert await count(database, "content") == 1


def traces(subject):
    """Return what must not be found: what was said, the identifier, and what is made of it."""
    made = [IDENTIFIER, SAID, "Quittenbaum"]
    found = [text.encode() for text in made] + [text.encode("utf-16-le") for text in made]
    for text in made:
        for digest in ("sha256", "sha1", "md5", "sha512", "blake2b"):
            digested = hashlib.new(digest, text.encode())
            found += [digested.digest(), digested.hexdigest().encode()]
        found.append(base64.b64encode(text.encode()).rstrip(b"=")[:-1])
        found.append(text.encode().hex().encode())
    return found


async def test_after_an_erasure_no_dump_holds_what_was_said_or_who_said_it(
    request, database, subject, talk, tmp_path, vault
):
    await talk(subject)
    await talk(subject, stage=Stage.OUTPUT)
    async with database.read() as connection:
        secrets = [
            secret
            for row in await connection.execute(tables.content_keys.select())
            for secret in (row.wrapped, row.id.encode())
        ] + [row.box for row in await connection.execute(tables.content.select())]
    assert all([secret in await rows(database) for secret in secrets])

    await erase(database, "shop", subject, **WHY)

    places = {"tables": await rows(database)}
    folders = [tmp_path]
    if not database.is_sqlite:
        folders.append(request.getfixturevalue("postgres_server").directory)
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_socket():
                places[str(path)] = path.read_bytes()
    for trace in traces(subject):
        assert [name for name, content in places.items() if trace in content] == []
    # SQLite's file is all there is. PostgreSQL's own log keeps rows for a while: what it has
    # of them opens nothing once `keys rotate-vault` has run.
    own = places if database.is_sqlite else {"tables": places["tables"]}
    for secret in secrets:
        assert [name for name, content in own.items() if secret in content] == []


async def test_a_held_end_user_cannot_be_erased_until_the_hold_is_released(
    database, vault, subject, talk
):
    entry = await talk(subject)
    hold = await add_hold(database, "shop", subject, reason="case 12", actor="cli")

    with pytest.raises(Conflict, match=hold.id):
        await erase(database, "shop", subject, **WHY)
    assert await opened(vault, entry) == {"input": [SAID]}
    assert await entries(database, "erasure.requested") == []

    await release_hold(database, hold.id, reason="case closed", actor="cli")
    assert await erase(database, "shop", subject, **WHY) == 1
    [added] = await entries(database, "hold.added")
    [released] = await entries(database, "hold.released")
    assert added["hold"] == {"id": hold.id, "reason": "case 12"}
    assert released["hold"] == {"id": hold.id, "reason": "case closed"}


async def test_a_project_that_is_held_is_held_for_everybody(database, subject, talk):
    await talk(subject)
    await add_hold(database, "shop", None, reason="litigation", actor="cli")

    with pytest.raises(Conflict):
        await erase(database, "shop", subject, **WHY)
    assert [hold.project for hold in await holds(database)] == ["shop"]


async def test_a_hold_that_is_not_there_cannot_be_released(database):
    with pytest.raises(NotFound):
        await release_hold(database, "none", reason="x", actor="cli")

    assert await tail(database, 10) == []


KILLED = """
import asyncio, os, signal, sys
from sqlalchemy import event
from gateway.audit.erasure import erase
from gateway.store.notices import Case, add_case, case_with_id
from gateway.store.session import Database

async def main(url, subject):
    database = Database(url)
    seen = []

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def kill(connection, cursor, statement, parameters, context, many):
        seen.append(statement)
        if "INTO audit_entries" in statement and any("DELETE FROM content_keys" in s for s in seen):
            os.kill(os.getpid(), signal.SIGKILL)

    await erase(database, "shop", subject, reason="Art. 17", actor="cli")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_an_erasure_that_was_killed_before_its_entry_is_finished_on_restart(
    database, database_url, vault, subject, talk
):
    entry = await talk(subject)
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, database_url, subject, cwd=ROOT
    )
    assert await killed.wait() == -9
    assert len(await entries(database, "erasure.requested")) == 1
    assert await entries(database, "erasure.completed") == []
    assert await opened(vault, entry) == {"input": [SAID]}  # both or neither

    expiry = Expiry(database, 30, 30)  # as every start does
    await expiry.look()

    [field] = await vault.open("shop", entry["id"], entry["content"])
    assert field.state is State.GONE
    assert len(await entries(database, "erasure.completed")) == 1
    assert await finish_erasures(database) == 0


async def test_content_expires_and_what_is_held_does_not(database, vault, subject, talk):
    entry, held = await talk(subject), await talk("cd" * 16)
    await add_hold(database, "shop", "cd" * 16, reason="case 12", actor="cli")
    later = datetime.now(UTC) + timedelta(days=30, seconds=1)

    assert await Expiry(database, 30, 30).look() == 0
    assert await Expiry(database, 30, 30, lambda: later).look() == 1
    assert await Expiry(database, 30, 30, lambda: later).look() == 0

    [field] = await vault.open("shop", entry["id"], entry["content"])
    assert field.state is State.GONE
    assert await opened(vault, held) == {"input": [SAID]}
    [expired] = await entries(database, "content.expired")
    assert (expired["expired"]["fields"], expired["expired"]["keys"]) == (1, 1)
    assert await count(database, "content_keys") == 1


async def test_thoughts_can_expire_before_the_rest(database, vault, talk):
    thought, answer = await talk(None, stage=Stage.REASONING), await talk(None)
    later = datetime.now(UTC) + timedelta(days=8)

    assert await Expiry(database, 30, 7, lambda: later).look() == 1

    [field] = await vault.open("shop", thought["id"], thought["content"])
    assert field.state is State.GONE
    assert await opened(vault, answer) == {"input": [SAID]}


async def test_an_erasure_and_a_hold_at_the_same_time_are_one_after_the_other(
    database, vault, subject, talk
):
    entry = await talk(subject)
    hold, erased = await asyncio.gather(
        add_hold(database, "shop", subject, reason="case 12", actor="cli"),
        erase(database, "shop", subject, **WHY),
        return_exceptions=True,
    )

    [field] = await vault.open("shop", entry["id"], entry["content"])
    kept = isinstance(erased, Conflict) or await count(database, "content_erasures") == 1
    assert field.state is (State.KEPT if kept else State.GONE)
    assert hold in await holds(database)


async def test_the_log_goes_on_after_an_erasure(database, subject, talk, tmp_path, vault):
    await talk(subject)
    await erase(database, "shop", subject, **WHY)
    entry = await talk(subject, "something new")

    assert await opened(vault, entry) == {"input": ["something new"]}


async def test_an_erasure_deletes_the_cases_that_name_an_end_user(database, subject, talk):
    await talk(subject)
    now = datetime.now(UTC)
    cases = [
        Case(f"case_{number}", "shop", now, "warning", who, "user-1", "warn after 1 strike")
        for number, who in enumerate([subject, "cd" * 16])
    ]
    async with database.write() as connection:
        for case in cases:
            await add_case(connection, case)

    await erase(database, "shop", subject, **WHY)

    assert await case_with_id(database, "case_0") is None
    assert await case_with_id(database, "case_1") == cases[1]
