"""Exchanges, decisions and ledgers for the tests of what is stored."""

from contextlib import asynccontextmanager
from itertools import count

import pytest
from sqlalchemy import text

from gateway.audit.ledger import Ledger
from gateway.exchange import Exchange
from gateway.store.session import SEQUENCE_LOCK
from gateway.types import Principal, Scope
from model_runner.types import Message, Prompt, Role
from policies.types import Action, Decision, Policy, Stage

POLICY = Policy("baseline", "1.0.0", "ab" * 32, ())


class Clock:
    """A clock that stands still until it is moved; seconds."""

    def __init__(self):
        self.now = 1_795_000_000.0

    def monotonic(self):
        return self.now

    async def shared(self, database):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def new_exchange():
    """Returns exchanges, each with an id of its own."""
    numbers = count(1)

    def make(**changes):
        defaults = {
            "id": f"req_{next(numbers):032x}",
            "principal": Principal("keyprefix123", "shop", frozenset({Scope.CALLER}), 10, 1000),
            "prompt": Prompt("gpt-oss-20b", (Message(Role.USER, "hello"),)),
            "policy": POLICY,
            "endpoint": "responses",
            "stream": False,
            "runner": "scripted",
        }
        return Exchange(**(defaults | changes))

    return make


@pytest.fixture
def allowed():
    return Decision(Stage.INPUT, Action.ALLOW, (), (), POLICY.id, POLICY.version, POLICY.digest)


@pytest.fixture
async def new_ledger(database, tmp_path, clock):
    """Starts ledgers on one database, as replicas would, and stops them in the end."""
    started = []

    async def start(**changes):
        defaults = {"lease_s": 15.0, "monotonic": clock.monotonic, "clock": clock.shared}
        ledger = Ledger(database, tmp_path, **(defaults | changes))
        await ledger.start()
        started.append(ledger)
        return ledger

    yield start
    for ledger in started:
        await ledger.aclose()


@pytest.fixture
async def ledger(new_ledger):
    return await new_ledger()


@pytest.fixture
def log_held(database):
    """While the context is open nothing can be committed to the log."""

    @asynccontextmanager
    async def hold():
        async with database.write() as connection:
            if not database.is_sqlite:
                lock = text("SELECT pg_advisory_xact_lock(:key)")
                await connection.execute(lock, {"key": SEQUENCE_LOCK})
            yield

    return hold


@pytest.fixture
def log_away(database):
    """While the context is open the log's table is not there."""

    async def rename(old, new):
        async with database.write() as connection:
            await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    @asynccontextmanager
    async def away():
        await rename("audit_entries", "hidden")
        try:
            yield
        finally:
            await rename("hidden", "audit_entries")

    return away


@pytest.fixture
def types_of(database):
    """Returns the types of a request's entries, in log order."""
    from gateway.audit.queries import show

    async def types(exchange):
        return [entry["type"] for entry in await show(database, exchange.id)]

    return types


@pytest.fixture
def meddle(database):
    """Does what only somebody with the database's own rights can: behind the triggers' back."""

    async def do(statement, **parameters):
        async with database.write() as connection:
            if database.is_sqlite:
                names = await connection.scalars(
                    text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
                )
                for name in list(names):
                    await connection.execute(text(f"DROP TRIGGER {name}"))
            else:
                await connection.execute(text("SET LOCAL session_replication_role = replica"))
            await connection.execute(text(statement), parameters)

    return do
