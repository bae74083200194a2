"""A gateway whose database role can write the log, and neither change nor delete an entry."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import openai
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from gateway.audit.erasure import add_hold, erase, release_hold
from gateway.audit.expiry import Expiry
from gateway.audit.master_keys import FileMasterKeys
from gateway.audit.replay import replay
from gateway.audit.rotation import rotate
from gateway.cli import app
from gateway.errors import SchemaOutdated, StoreUnavailable
from gateway.store import grants
from gateway.store.retention import scrub
from gateway.store.session import Database
from gateway.store.tables import metadata
from tests.contract.live import DONE, Gateway, final, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

KEY = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2
ASKED = f"Please remember that my key is {KEY}"
POLICY = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: striking, version: 1.0.0, owner: test@ostiary.example}
defaults: {on_unsupported_language: allow, deadline_ms: 5000}
categories:
  secrets.credential: {severity: high, clause: "1", rationale: "As in the baseline."}
rules:
  - id: keys
    category: secrets.credential
    stages: [input]
    bands: [{gte: 0.8, actions: [block, strike]}]
enforcement:
  strikes: {window: 30d, ladder: [{at: 1, do: warn}]}
"""


@pytest.fixture
async def role(postgres_server):
    """A role that may nothing yet."""
    name = f"Gate-way_{uuid4().hex}"
    await postgres_server.execute(f'CREATE ROLE "{name}" LOGIN')
    return name


@pytest.fixture
async def owner(postgres_url, postgres_server, role):
    """The database as its owner has it."""
    database = Database(postgres_url)
    await database.migrate()
    yield database
    async with database.write() as connection:
        await connection.execute(text(f'DROP OWNED BY "{role}"'))
    await database.aclose()
    await postgres_server.execute(f'DROP ROLE "{role}"')


@pytest.fixture
async def restricted_url(owner, role):
    """The database as the restricted role has it."""
    await grants.grant(owner, role)
    return owner.url.set(username=role).render_as_string()


@pytest.fixture
async def restricted(restricted_url):
    database = Database(restricted_url)
    await database.migrate()
    yield database
    await database.aclose()


def served(folder, url):
    """Have a gateway answer, block, strike and keep; return the pseudonym of who was struck."""
    (folder / "policy.yaml").write_text(POLICY)
    settings = {"policy": str(folder / "policy.yaml"), "classifiers": ("patterns",)}
    with Gateway(folder / "home", database_url=url, content="all", **settings) as gateway:
        gateway.script(final("Hello there."), DONE)
        ask = gateway.client.responses.create
        ask(model=gateway.model, input="Hello!", safety_identifier="user-17")
        key = gateway.new_key()
        with pytest.raises(openai.BadRequestError):
            ask(model=gateway.model, input=ASKED, safety_identifier="user-17")
        gateway.run(gateway.services.identity.revoke(key.split("_")[2], actor="test"))
        database = gateway.services.database
        subject = gateway.services.ledger.subject_of("default", "user-17")
        reinstate = gateway.services.enforcement.reinstate
        assert gateway.run(reinstate("default", subject, reason="appeal", actor="test")) == 1
        wait_until(lambda: gateway.services.log_tree.head)
        assert gateway.run(database.ready())
        assert gateway.http.get("/readyz").json()["log"]["alarm"] is None
    return subject


async def test_a_gateway_does_all_its_work_as_a_role_that_cannot_change_the_log(
    tmp_path, restricted_url, restricted
):
    subject = await asyncio.to_thread(served, tmp_path, restricted_url)

    hold = await add_hold(restricted, "default", subject, reason="case", actor="test")
    await release_hold(restricted, hold.id, reason="closed", actor="test")
    master = FileMasterKeys(tmp_path / "home" / "keys" / "vault")
    assert (await rotate(restricted, master, actor="test")).keys == 2
    assert await erase(restricted, "default", subject, reason="Art. 17", actor="test") == 2
    later = datetime.now(UTC) + timedelta(days=365)
    await Expiry(restricted, 30, 30, lambda: later).look()
    assert await scrub(restricted)
    found = await replay(restricted, lambda project: (), datetime.now(UTC))
    assert found.equal, found
    assert await grants.powers(restricted) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entries SET type = 'other'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "DELETE FROM audit_trees",
        "UPDATE audit_trees SET first_seq = 0",
        "TRUNCATE audit_tiles",
        "DELETE FROM audit_tiles",
        "DELETE FROM audit_witnessed",
        "DELETE FROM strikes",
        "UPDATE strikes SET subject = 'x'",
        "DELETE FROM api_keys",
        "UPDATE api_keys SET scopes = 'admin'",
        "DELETE FROM replicas",
        "UPDATE alembic_version SET version_num = '0001'",
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_entries_refuse_change ON audit_entries",
        "DROP TABLE audit_entries",
        "SET session_replication_role = replica",
        "CREATE TABLE mine (id int)",
    ],
)
async def test_the_restricted_role_is_refused(restricted, change):
    with pytest.raises(StoreUnavailable) as refused:
        async with restricted.write() as connection:
            await connection.execute(text(change))

    # By privilege, before any trigger is asked.
    assert re.search("permission denied|must be owner", str(refused.value.__cause__))


async def test_the_owner_could_change_the_log_and_is_told_so(owner):
    assert await grants.powers(owner) == ["UPDATE", "DELETE", "TRUNCATE", "TRIGGER"]


async def test_a_role_that_owns_the_tables_cannot_be_restricted(owner, role):
    with pytest.raises(ValueError, match="superuser"):
        await grants.grant(owner, "postgres")
    with pytest.raises(ValueError, match="there is no role `nobody`"):
        await grants.grant(owner, "nobody")
    async with owner.write() as connection:
        await connection.execute(text(f'ALTER TABLE audit_entries OWNER TO "{role}"'))
    with pytest.raises(ValueError, match="owns the tables"):
        await grants.grant(owner, role)
    async with owner.write() as connection:
        await connection.execute(text("ALTER TABLE audit_entries OWNER TO postgres"))


async def test_granting_again_takes_away_what_was_granted_besides(owner, role, restricted):
    async with owner.write() as connection:
        await connection.execute(text(f'GRANT ALL ON audit_entries TO "{role}"'))
    assert await grants.powers(restricted) == ["UPDATE", "DELETE", "TRUNCATE", "TRIGGER"]

    await grants.grant(owner, role)
    assert await grants.powers(restricted) == []


async def test_an_upgrade_is_for_the_owner_and_the_restricted_role_says_so(postgres_url, role):
    database = Database(postgres_url)  # empty
    url = database.url.set(username=role).render_as_string()
    restricted = Database(url)
    with pytest.raises(SchemaOutdated, match="ostiary audit grants"):
        await restricted.migrate()
    await restricted.aclose()
    await database.aclose()


async def test_without_the_right_to_vacuum_a_scrub_says_that_a_part_may_be_left(
    owner, role, restricted
):
    async with owner.write() as connection:
        await connection.execute(
            text(f'REVOKE MAINTAIN ON content_keys, content_projects FROM "{role}"')
        )

    assert not await scrub(restricted)


def test_every_table_of_the_log_says_who_may_do_what_to_it():
    granted = list(grants.statements('a "role"'))

    assert {name for name in metadata.tables if name.startswith("audit_")} <= set(grants._GRANTS)
    assert 'GRANT SELECT, INSERT ON audit_entries TO "a ""role"""' in granted


@pytest.fixture
def run(monkeypatch, tmp_path):
    def invoke(url, *arguments):
        monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("OSTIARY_DATABASE_URL", url)
        return CliRunner().invoke(app, ["audit", "grants", *arguments])

    return invoke


async def test_the_command_prints_grants_applies_and_checks_them(owner, role, run):
    url = owner.url.render_as_string()
    restricted = owner.url.set(username=role).render_as_string()

    async def command(*arguments):
        return await asyncio.to_thread(run, *arguments)

    printed = await command(url, "--role", role)
    assert f'GRANT SELECT, INSERT ON audit_entries TO "{role}";' in printed.stdout.splitlines()
    assert (await command(url, "--role", role, "--apply")).exit_code == 0
    asked = await command(url, "--check", "--json")
    assert (asked.exit_code, json.loads(asked.stdout)["restricted"]) == (1, False)
    asked = await command(restricted, "--check", "--json")
    assert (asked.exit_code, json.loads(asked.stdout)) == (0, {"restricted": True, "could": []})


def test_sqlite_has_no_roles_and_says_so(run, tmp_path):
    done = run(f"sqlite:///{tmp_path / 'ostiary.db'}", "--check")

    assert (done.exit_code, "SQLite has no roles" in done.output) == (2, True)
    assert run("sqlite:///x", "--role", "r", "--check").exit_code == 2
