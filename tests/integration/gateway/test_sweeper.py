import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.audit.queries import show, tail
from gateway.audit.sweeper import Sweeper
from gateway.errors import AuditUnavailable
from gateway.store import replicas

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


async def die(ledger):
    """Stops a ledger as `kill -9` would: without a word."""
    ledger._writer._task.cancel()
    await asyncio.gather(ledger._writer._task, return_exceptions=True)
    await ledger._writer._sink.aclose()


async def lost_in(database):
    return [e["request"]["id"] for e in await tail(database, 10_000) if e["type"] == "request.lost"]


@pytest.fixture
async def dead(new_ledger, new_exchange, allowed, clock):
    """A replica that died a lease ago with three requests open and one finished."""
    ledger = await new_ledger()
    async with ledger.exchange(new_exchange()) as finished:
        await ledger.record(finished, allowed)
    opened = [new_exchange() for _ in range(3)]
    stack = AsyncExitStack()
    for exchange in opened:
        await stack.enter_async_context(ledger.exchange(exchange))
        await ledger.record(exchange, allowed)
    await die(ledger)
    clock.now += 15.1
    return [exchange.id for exchange in opened]


async def test_what_a_dead_replica_left_open_is_declared_lost(database, dead, new_ledger):
    sweeper = Sweeper(await new_ledger())

    assert await sweeper.sweep() == 3
    assert sorted(await lost_in(database)) == sorted(dead)
    assert await sweeper.sweep() == 0


async def test_replicas_that_sweep_at_the_same_time_declare_it_once(database, dead, new_ledger):
    sweepers = [Sweeper(await new_ledger()) for _ in range(4)]

    await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))

    assert sorted(await lost_in(database)) == sorted(dead)


async def test_a_replica_that_is_alive_is_left_alone(
    database, new_ledger, new_exchange, allowed, clock
):
    alive, other = await new_ledger(), await new_ledger()
    async with alive.exchange(new_exchange()) as exchange:
        await alive.record(exchange, allowed)
        clock.now += 10
        await alive.beat()
        clock.now += 10
        assert await Sweeper(other).sweep() == 0

    assert await lost_in(database) == []


async def test_a_replica_that_stopped_in_order_leaves_nothing_to_sweep(database, new_ledger, clock):
    stopped = await new_ledger()
    await stopped.aclose()
    clock.now += 100

    assert await replicas.silent(database, clock.now) == []


async def test_a_search_starts_at_the_oldest_open_request(
    database, new_ledger, new_exchange, allowed, clock
):
    ledger = await new_ledger()
    for _ in range(5):
        async with ledger.exchange(new_exchange()) as exchange:
            await ledger.record(exchange, allowed)
    async with ledger.exchange(new_exchange()) as exchange:
        await ledger.record(exchange, allowed)
        [admitted, _] = await show(database, exchange.id)
        await ledger.beat()

        async with database.read() as connection:
            query = text("SELECT open_from_seq FROM replicas WHERE id = :id")
            from_seq = await connection.scalar(query, {"id": ledger.replica})

    assert from_seq == admitted["replica"]["seq"]


async def test_a_replica_taken_for_dead_is_refused_and_goes_on_under_a_new_id(
    database, new_ledger, new_exchange, allowed, clock
):
    stuck, other = await new_ledger(monotonic=lambda: 0.0), await new_ledger()
    before = stuck.replica
    exchange = new_exchange()
    with pytest.raises(AuditUnavailable, match="declared lost"):
        async with stuck.exchange(exchange):
            await stuck.record(exchange, allowed)
            clock.now += 15.1
            await Sweeper(other).sweep()
            with pytest.raises(AuditUnavailable, match="cannot be written"):
                await stuck.record(exchange, allowed)  # the database refuses it
            await stuck.append()  # enters anew
            await stuck.record(exchange, allowed)

    assert stuck.replica != before
    entries = await show(database, exchange.id)
    assert [entry["type"] for entry in entries] == [
        "request.admitted",
        "decision.recorded",
        "request.lost",
        "request.closed_late",
    ]
    async with stuck.exchange(new_exchange()) as later:
        await stuck.record(later, allowed)
    assert (await show(database, later.id))[-1]["type"] == "request.completed"


async def test_a_stuck_replica_learns_from_its_heartbeat_that_it_was_declared_dead(
    new_ledger, clock
):
    stuck, other = await new_ledger(), await new_ledger()
    before = stuck.replica
    clock.now += 15.1
    await Sweeper(other).sweep()

    await stuck.beat()
    await stuck.append()

    assert stuck.replica != before
    assert stuck.healthy


async def test_the_sweeper_runs_by_itself(database, dead, new_ledger, clock):
    sweeper = Sweeper(await new_ledger())
    await sweeper.start()
    while len(await lost_in(database)) < 3:  # noqa: ASYNC110 - polls what has no event
        await asyncio.sleep(0.02)
    await sweeper.aclose()

    assert sorted(await lost_in(database)) == sorted(dead)


VICTIM = """
import asyncio, sys
from pathlib import Path
from gateway.audit.ledger import Ledger
from gateway.exchange import Exchange
from gateway.log import configure_logging
from gateway.store.session import Database
from gateway.types import Principal
from model_runner.types import Prompt
from policies.types import Action, Decision, Policy, Stage

POLICY = Policy("p", "1", "ab", ())
ALLOWED = Decision(Stage.INPUT, Action.ALLOW, (), (), "p", "1", "ab")

async def serve(ledger, number):
    for turn in range(10_000):
        exchange = Exchange(f"req_{number}_{turn}", Principal("k", "shop", frozenset(), 1, 1),
                            Prompt("m", ()), POLICY, "chat", False, "scripted")
        async with ledger.exchange(exchange):
            for _ in range(3):
                print(await ledger.record(exchange, ALLOWED), flush=True)

async def main():
    configure_logging()
    ledger = Ledger(Database(sys.argv[1]), Path(sys.argv[2]))
    await ledger.start()
    await asyncio.gather(*(serve(ledger, number) for number in range(8)))

asyncio.run(main())
"""


async def test_a_killed_replica_loses_nothing_it_acknowledged(
    database, database_url, tmp_path, new_ledger, clock
):
    victim = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", VICTIM, database_url, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    acknowledged = [(await victim.stdout.readline()).decode().strip() for _ in range(300)]
    victim.send_signal(signal.SIGKILL)
    rest = (await victim.stdout.read()).decode().splitlines(keepends=True)
    acknowledged += [line.strip() for line in rest if line.endswith("\n")]
    await victim.wait()
    clock.now = await replicas.database_time(database) + 15.1

    await Sweeper(await new_ledger()).sweep()

    log = await tail(database, 100_000)
    written = {entry["decision"]["id"] for entry in log if entry["type"] == "decision.recorded"}
    assert set(acknowledged) <= written
    admitted = [e["request"]["id"] for e in log if e["type"] == "request.admitted"]
    ended = [
        entry["request"]["id"]
        for entry in log
        if entry["type"] in {"request.completed", "request.lost"}
    ]
    assert sorted(admitted) == sorted(ended)
