"""The database: one engine, migrations, and transactions whose errors are ours.

SQLite (one machine) and PostgreSQL (many replicas) behave alike. Whatever the driver
raises because the database is away leaves here as `StoreUnavailable`; a broken
constraint leaves as SQLAlchemy's `IntegrityError`, for the query that caused it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVarTuple

import asyncpg
from sqlalchemy import Connection, Engine, Row, Select, StaticPool, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.errors import SchemaOutdated, StoreUnavailable
from gateway.store.leaves import RecentLeaves

Columns = TypeVarTuple("Columns")

BUSY_TIMEOUT_MS = 5000  # how long SQLite waits for another writer
CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 10.0

# Keys of PostgreSQL advisory locks, arbitrary but fixed: "osti" and a number.
SEQUENCE_LOCK = 0x6F737469_0001
_MIGRATION_LOCK = 0x6F737469_0002

PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",  # first: the next one may have to wait
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit is on the disk when it returns
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what is deleted is overwritten: a destroyed key is gone
    "PRAGMA recursive_triggers = ON",  # without it REPLACE deletes behind the triggers' back
)

_FORBIDDEN = asyncpg.InsufficientPrivilegeError

_UNAVAILABLE = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    sqlite3.Error,
    OSError,
    TimeoutError,
)


@contextmanager
def storage_errors() -> Generator[None]:
    """Turn whatever a driver raises into `StoreUnavailable`, but for broken constraints."""
    try:
        yield
    except IntegrityError:
        raise
    except _UNAVAILABLE as error:
        # Driver messages quote statements and their parameters; only the kind goes on.
        raise StoreUnavailable(
            f"the database cannot be used: {type(error).__name__}", retry_after_s=1.0
        ) from error


class Database:
    """One database for one process. Create it in a running event loop's thread.

    Args:
        url: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://...`.

    Raises:
        ValueError: If the URL names another kind of database, or an in-memory one.

    Attributes:
        recent_leaves: Of the entries that were written through it, for the tree.
        stale_s: So old may an answer of it be, seconds, that is gone by while it is away.
    """

    def __init__(self, url: str):
        self.url = make_url(url)
        if self.url.drivername not in {"sqlite+aiosqlite", "postgresql+asyncpg"}:
            raise ValueError(
                f"`{self.url.drivername}` is not a database Ostiary can use; "
                "write `sqlite:///path` or `postgresql://...`"
            )
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(self) if self.is_sqlite else _postgresql_engine(self)
        self._here = _sqlite_here(self) if self.is_sqlite else None
        self.recent_leaves = RecentLeaves()
        self.stale_s = 0.0
        # SQLite has one writer, and others poll for their turn: under load they never
        # get it. Within this process writers take turns here, first come first served.
        self.turn: AbstractAsyncContextManager[None] = (
            asyncio.Lock() if self.is_sqlite else nullcontext()
        )

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(self.url.database or "")

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """Run queries in one transaction. Raises `StoreUnavailable`."""
        with storage_errors():
            async with self.engine.connect() as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """Run changes in one transaction, durable on exit. Raises `StoreUnavailable`."""
        with storage_errors():
            async with self.turn, self.engine.connect() as connection:
                await connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")
                async with connection.begin():
                    yield connection

    async def look_up(
        self, query: Select[*Columns], values: Mapping[str, object]
    ) -> Sequence[Row[*Columns]]:
        """Run one query that an index answers. Raises `StoreUnavailable`.

        SQLite is asked here and now: readers never wait in WAL mode, and to hand a query to
        a thread and back costs many times what a look into an index does.
        """
        if self._here is None:
            async with self.read() as connection:
                return (await connection.execute(query, values)).all()
        with storage_errors(), self._here.connect() as now:
            return now.execute(query, values).all()

    async def ready(self) -> bool:
        """Return whether a query sent now would be answered."""
        try:
            async with self.read() as connection:
                await connection.execute(text("SELECT 1"))
        except StoreUnavailable:
            return False
        return True

    async def migrate(self) -> None:
        """Bring the schema up to date. Replicas may do so at the same time.

        Raises:
            SchemaOutdated: If only the owner of the tables may change them.
            StoreUnavailable: If the database cannot be reached or changed.
        """
        async with self.write() as connection:
            if not self.is_sqlite:  # SQLite: BEGIN IMMEDIATE already keeps others out
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK}
                )
            try:
                await connection.run_sync(_upgrade)
            except DBAPIError as error:
                if isinstance(error.orig and error.orig.__cause__, _FORBIDDEN):
                    raise SchemaOutdated(
                        "the tables are of another version, and this role may not change them: "
                        "run `ostiary audit grants` as their owner"
                    ) from error
                raise

    async def aclose(self) -> None:
        """Close every connection."""
        if self._here is not None:
            self._here.dispose()
        await self.engine.dispose()


async def take_turn(connection: AsyncConnection) -> None:
    """Be alone with the log until the transaction ends, as whoever appends is.

    What is read and changed from here on happens, for everybody, where its entry stands.
    """
    if connection.dialect.name == "postgresql":  # SQLite: BEGIN IMMEDIATE already is
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SEQUENCE_LOCK})


def _upgrade(connection: Connection) -> None:
    # Here, because only this needs Alembic and it is slow to import.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    import migrations

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    heads = ScriptDirectory.from_config(config).get_heads()
    if set(MigrationContext.configure(connection).get_current_heads()) == set(heads):
        return
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _postgresql_engine(database: Database) -> AsyncEngine:
    return create_async_engine(
        database.url,
        pool_pre_ping=True,
        pool_size=5,
        pool_timeout=CONNECT_TIMEOUT_S,
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": STATEMENT_TIMEOUT_S,
            "server_settings": {"application_name": "ostiary"},
        },
    )


def _sqlite_here(database: Database) -> Engine:
    return create_engine(
        database.url.set(drivername="sqlite"),
        poolclass=StaticPool,
        hide_parameters=True,
        connect_args={"timeout": 0.1, "check_same_thread": False},  # used in one thread, the loop's
    )


def _sqlite_engine(database: Database) -> AsyncEngine:
    if database.url.database in {None, "", ":memory:"}:
        raise ValueError("an in-memory SQLite database cannot be durable; name a file")
    database.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_async_engine(database.url, pool_timeout=CONNECT_TIMEOUT_S, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: DBAPIConnection, _record: object) -> None:
        # The driver's own transactions start too late and never cover DDL; we send BEGIN.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        options: Any = connection.get_execution_options()
        connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN"))

    return engine
