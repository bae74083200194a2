"""Kill -9 while content is kept: an entry and what it names are there together."""

import pytest
from sqlalchemy import select

from benchmarks.crash import kill_repeatedly
from gateway.audit.master_keys import FileMasterKeys
from gateway.audit.vault import State, Vault
from gateway.store import tables
from gateway.store.session import Database

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

KILLS = 3


async def test_whatever_the_log_of_a_killed_gateway_names_is_in_the_vault(
    database_url, new_gateway, tmp_path
):
    gateway = new_gateway(database_url, content="all")
    findings = await kill_repeatedly(gateway, database_url, KILLS, seed=2)
    naming = [entry for entry in findings.log if "content" in entry]

    database = Database(database_url)
    vault = Vault(database, FileMasterKeys(tmp_path / "keys" / "vault"))
    for entry in naming:
        found = await vault.open(entry["actor"]["project"], entry["id"], entry["content"])
        assert {field.state for field in found} == {State.KEPT}
    async with database.read() as connection:
        kept = set(await connection.scalars(select(tables.content.c.record_id)))
    await database.aclose()

    assert findings.mid_stream
    assert kept == {entry["id"] for entry in naming}
    assert kept
