"""Real gateway processes in front of a real, slow engine; all of them end with the test."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from benchmarks.callers import Crowd
from benchmarks.gateway_process import GatewayProcess
from benchmarks.overhead import free_port, started

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def start_engine():
    """Returns a context in which an engine runs; it yields its URL."""

    def engine(token_ms):
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.engine", "--port", str(port)]
        return started(
            [*command, "--token-ms", str(token_ms)], port, "/v1/models", PYTHONPATH=str(ROOT)
        ), f"http://127.0.0.1:{port}/v1"

    return engine


@pytest.fixture(scope="session")
def engine_url(start_engine):
    """An engine that takes half a second for an answer."""
    running, url = start_engine(8)
    with running:
        yield url


@pytest.fixture(scope="session")
def slow_engine_url(start_engine):
    """An engine that takes ten seconds for an answer."""
    running, url = start_engine(150)
    with running:
        yield url


@pytest.fixture
def new_gateway(tmp_path, engine_url):
    """Makes gateways that share their home, not yet started."""
    made = []

    def make(database_url, **settings):
        defaults = {"lease_s": "3", "log_level": "warning", "upstream_url": engine_url}
        gateway = GatewayProcess(tmp_path, database_url=database_url, **(defaults | settings))
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.close()


class Caller:
    """Asks a gateway once; returns what was given, and keeps all of it in `given`."""

    def __init__(self, session):
        self.session, self.crowd = session, Crowd()
        self.given = self.crowd.given

    async def __call__(self, gateway, question):
        return await self.crowd.ask(self.session, gateway.url, question)


@pytest.fixture
async def ask():
    async with aiohttp.ClientSession() as session:
        yield Caller(session)


@pytest.fixture
def besieged():
    """A context in which a crowd asks a gateway without a pause."""

    @asynccontextmanager
    async def siege(gateway):
        crowd = Crowd()
        task = asyncio.create_task(crowd.besiege(gateway.url, until_refused=False))
        try:
            await until(lambda: crowd.streaming)
            yield crowd
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return siege


async def until(condition):
    """Waits until `condition()` holds; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - polls what has no event
        await asyncio.sleep(0.02)


@pytest.fixture(name="until")
def until_fixture():
    return until


class DoomedServer:
    """A PostgreSQL server that can be killed like the process it is."""

    def __init__(self, server):
        self.server = server
        self.url = server.url("postgres")

    def kill(self):
        lock = self.server.directory / "pgdata" / "postmaster.pid"
        postmaster = int(lock.read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in [postmaster, *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # What a killed server leaves lying about; a new one might take it for alive.
        lock.unlink()
        for left in self.server.directory.glob(".s.PGSQL.*"):
            left.unlink()

    def start(self):
        self.server.start()


@pytest.fixture
def doomed_postgres(postgres_server):
    """A server of the test's own: others go on using `postgres_server`."""
    directory = Path(tempfile.mkdtemp(prefix="ostiary-pg-"))  # short: it holds a socket
    server = type(postgres_server)(directory)
    server.create()
    server.start()
    yield DoomedServer(server)
    with suppress(Exception):  # it may be dead
        server.stop()
    shutil.rmtree(directory)
