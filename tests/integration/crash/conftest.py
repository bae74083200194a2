"""Real gateway processes in front of a real, slow engine; all of them end with the test."""

import asyncio
import shutil
import sys
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from benchmarks.callers import Crowd
from benchmarks.gateway_process import GatewayProcess
from benchmarks.overhead import free_port, started
from benchmarks.postgres_server import PostgresServer

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


@pytest.fixture
def doomed_postgres():
    """A server of the test's own, to be killed: others go on using `postgres_server`."""
    directory = Path(tempfile.mkdtemp(prefix="ostiary-pg-"))  # short: it holds a socket
    server = PostgresServer(directory)
    server.create()
    server.start()
    yield server
    with suppress(Exception):  # it may be dead
        server.stop()
    shutil.rmtree(directory)
