"""A log that cannot be written, and policies that let records wait for it on the disk."""

import asyncio
import time
from dataclasses import replace

import pytest

from gateway.audit import records, writer
from gateway.audit.ledger import Ledger
from gateway.audit.queries import tail
from gateway.audit.spool import Spool
from gateway.errors import AuditUnavailable, StoreUnavailable
from gateway.store import entries as store
from tests.integration.gateway.conftest import POLICY

pytestmark = pytest.mark.integration

SPOOLING = replace(POLICY, spools=True)


class Outage:
    """Stands between ledgers and the log; while it is on, nothing gets through."""

    def __init__(self):
        self.on, self.after_commit = False, False

    def writer(self, database):
        return WriterInOutage(store.open_writer(database), self)


class WriterInOutage:
    def __init__(self, inner, outage):
        self.inner, self.outage = inner, outage

    async def append(self, rows, replica, sealed):
        if self.outage.on and not self.outage.after_commit:
            raise StoreUnavailable("away")
        await self.inner.append(rows, replica, sealed)
        if self.outage.on:
            raise StoreUnavailable("the connection was lost")

    async def aclose(self):
        await self.inner.aclose()


@pytest.fixture
def outage(monkeypatch):
    monkeypatch.setattr(writer, "PROBE_S", 0.05)
    return Outage()


@pytest.fixture
async def start(database, tmp_path, outage):
    """Starts ledgers of one home."""
    started = []

    async def begin(room=1 << 20):
        ledger = Ledger(
            database, tmp_path, lease_s=600.0, monotonic=time.monotonic, open_sink=outage.writer
        )
        ledger.spool = Spool(tmp_path / "spool", room)
        await ledger.start()
        started.append(ledger)
        return ledger

    yield begin
    outage.on = False
    for ledger in started:
        await ledger.aclose()


async def crash(ledger):
    """Ends a ledger as a crash would: it writes nothing more and lets go of its files."""
    tasks = [task for task in (ledger._writer._task, ledger._writer._draining) if task]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await ledger._writer._sink.aclose()
    ledger.spool.close()


async def drained(ledger):
    while ledger.spool.entries:  # noqa: ASYNC110 - polls what has no event
        await asyncio.sleep(0.01)


async def log_of(database, *exchanges):
    """Types of the entries of some exchanges, in log order, with the number of the exchange."""
    numbers = {exchange.id: number for number, exchange in enumerate(exchanges)}
    return [
        (numbers[entry["request"]["id"]], entry["type"].split(".")[-1])
        for entry in await tail(database, 1000)
        if entry.get("request", {}).get("id") in numbers
    ]


def whole(number):
    return [(number, "admitted"), (number, "recorded"), (number, "completed")]


async def test_what_waits_goes_into_the_log_in_order_when_that_is_back(
    database, start, outage, new_exchange, allowed
):
    ledger = await start()
    exchanges = [new_exchange(policy=SPOOLING) for _ in range(4)]
    for number, exchange in enumerate(exchanges):
        outage.on = number in {1, 2}
        async with ledger.exchange(exchange):
            await ledger.record(exchange, allowed)
        if number == 2:
            assert ledger.spool.entries == 6
            assert not ledger.healthy
            assert ledger.would_record(SPOOLING)
            assert not ledger.would_record(POLICY)
            outage.on = False
            await drained(ledger)

    assert await log_of(database, *exchanges) == [each for n in range(4) for each in whole(n)]
    assert ledger.healthy
    own = [
        e["replica"]["seq"] for e in await tail(database, 1000) if e["type"] != "replica.started"
    ]
    assert own == list(range(2, 2 + len(own)))


async def test_without_leave_of_the_policy_it_is_refused_as_ever(
    start, outage, new_exchange, allowed
):
    ledger = await start()
    outage.on = True
    spooling, strict = new_exchange(policy=SPOOLING), new_exchange()
    with pytest.raises(AuditUnavailable):
        async with ledger.exchange(strict):
            await ledger.record(strict, allowed)
    async with ledger.exchange(spooling):
        await ledger.record(spooling, allowed)
    with pytest.raises(AuditUnavailable):
        async with ledger.exchange(new_exchange()):
            pytest.fail("was admitted")

    assert ledger.spool.entries == 3


async def test_a_full_spool_refuses_and_keeps_what_it_has(
    database, start, outage, new_exchange, allowed
):
    ledger = await start(room=80_000)
    outage.on = True
    served = []
    with pytest.raises(AuditUnavailable):
        for _ in range(1000):
            exchange = new_exchange(policy=SPOOLING)
            async with ledger.exchange(exchange):
                await ledger.record(exchange, allowed)
            served.append(exchange)
    assert not ledger.would_record(SPOOLING)
    outage.on = False
    await drained(ledger)

    assert len(served) > 3
    log = await log_of(database, *served)
    assert log == [each for number in range(len(served)) for each in whole(number)]


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_crash_with_something_in_the_spool_loses_nothing(
    database, start, outage, new_exchange, allowed, after_commit
):
    ledger = await start()
    outage.on, outage.after_commit = True, after_commit
    exchanges = [new_exchange(policy=SPOOLING) for _ in range(2)]
    for exchange in exchanges:
        async with ledger.exchange(exchange):
            await ledger.record(exchange, allowed)
    assert ledger.spool.entries
    await crash(ledger)
    outage.on = False
    second = await start()

    assert second.spool.entries == 0
    assert await log_of(database, *exchanges) == whole(0) + whole(1)


async def test_a_crash_while_the_spool_is_written_leaves_each_entry_once(
    database, start, outage, new_exchange, allowed
):
    ledger = await start()
    outage.on = True
    exchange = new_exchange(policy=SPOOLING)
    async with ledger.exchange(exchange):
        for _ in range(3):
            await ledger.record(exchange, allowed)
    batch = ledger.spool.oldest()
    await crash(ledger)
    outage.on = False
    ledger._writer._sink = store.open_writer(database)
    await ledger._writer._append(list(batch))  # committed, and the file not yet shortened
    await ledger._writer._sink.aclose()
    await start()

    log = await log_of(database, exchange)
    assert log == [(0, "admitted"), *[(0, "recorded")] * 3, (0, "completed")]


async def test_who_was_taken_for_lost_meanwhile_ended_late(
    database, start, outage, new_exchange, allowed
):
    ledger = await start()
    exchange = new_exchange(policy=SPOOLING)
    async with ledger.exchange(exchange):
        await ledger.record(exchange, allowed)
        outage.on = True
    other = Ledger(database, ledger._home, lease_s=600.0)
    await other.start()
    await other.append(records.lost(exchange.id, "shop", ledger.replica))
    outage.on = False
    await drained(ledger)
    await other.aclose()

    ends = [kind for _, kind in await log_of(database, exchange)]
    assert ends == ["admitted", "recorded", "lost", "closed_late"]


async def test_to_write_a_long_spool_at_the_start_does_not_cost_the_lease(
    database, tmp_path, start, outage, new_exchange, allowed, clock
):
    ledger = await start()
    outage.on = True
    exchange = new_exchange(policy=SPOOLING)
    async with ledger.exchange(exchange):
        for _ in range(5):
            await ledger.record(exchange, allowed)
    batches = ledger.spool.entries
    await crash(ledger)
    outage.on = False

    class SlowWriter(WriterInOutage):
        async def append(self, rows, replica, sealed):
            clock.now += 2.0
            await super().append(rows, replica, sealed)

    second = Ledger(
        database,
        tmp_path,
        lease_s=6.0,
        monotonic=clock.monotonic,
        clock=clock.shared,
        open_sink=lambda database: SlowWriter(store.open_writer(database), outage),
    )
    second.spool = Spool(tmp_path / "spool", 1 << 20)
    await second.start()
    await second.aclose()

    assert batches > 5
    assert (await log_of(database, exchange))[-1] == (0, "completed")
