import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.errors import StoreUnavailable
from gateway.store.session import Database
from gateway.store.tables import metadata

pytestmark = pytest.mark.integration

INSERT = (
    "INSERT INTO audit_entries (id, type, recorded_at, replica, replica_seq, terminal, body) "
    "VALUES ('one', 'test', 'now', 'r', 1, false, '')"
)


async def test_the_migrations_make_exactly_the_tables_the_code_uses(database):
    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_replicas_that_migrate_at_the_same_time_all_succeed(database_url):
    databases = [Database(database_url) for _ in range(4)]

    await asyncio.gather(*(database.migrate() for database in databases))

    assert all([await database.ready() for database in databases])
    for database in databases:
        await database.aclose()


CHANGES = [
    "UPDATE audit_entries SET type = 'other'",
    "DELETE FROM audit_entries",
]
SQLITE_CHANGES = [*CHANGES, INSERT.replace("INSERT", "INSERT OR REPLACE")]
POSTGRESQL_CHANGES = [*CHANGES, "TRUNCATE audit_entries"]


async def test_the_log_refuses_to_be_changed(database):
    async with database.write() as connection:
        await connection.execute(text(INSERT))

    for change in SQLITE_CHANGES if database.is_sqlite else POSTGRESQL_CHANGES:
        with pytest.raises((StoreUnavailable, DBAPIError)) as refused:
            async with database.write() as connection:
                await connection.execute(text(change))
        assert "append-only" in str(refused.value.__cause__ or refused.value)

    async with database.read() as connection:
        assert await connection.scalar(text("SELECT type FROM audit_entries")) == "test"


async def test_a_sqlite_commit_is_on_the_disk_when_it_returns(tmp_path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'ostiary.db'}")
    async with database.read() as connection:
        assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await connection.scalar(text("PRAGMA synchronous")) == 2
    await database.aclose()


async def test_a_database_that_is_not_there_is_unavailable(tmp_path):
    database = Database(f"postgresql+asyncpg://postgres@/none?host={tmp_path}")

    assert not await database.ready()
    with pytest.raises(StoreUnavailable):
        await database.migrate()
    await database.aclose()


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:"]
)
def test_a_database_that_cannot_hold_the_log_is_refused_by_name(url):
    with pytest.raises(ValueError, match=r"(not a database|in-memory)"):
        Database(url)
