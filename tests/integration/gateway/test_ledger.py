import asyncio
from collections import Counter
from contextlib import aclosing, suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from gateway.audit import records, writer
from gateway.audit.queries import show, tail
from gateway.errors import AuditUnavailable, EngineFailed, StoreUnavailable
from gateway.store import entries as store
from gateway.types import Outcome
from model_runner.types import RunnerTimeout

pytestmark = pytest.mark.integration


async def until(condition):
    """Waits until `condition()` holds; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - polls what has no event
        await asyncio.sleep(0.02)


class ForgetfulWriter:
    """Commits and then loses the connection before the answer, the first so many times."""

    def __init__(self, database, times):
        self.inner, self.times = store.open_writer(database), times

    async def append(self, rows, replica, sealed):
        await self.inner.append(rows, replica, sealed)
        if self.times:
            self.times -= 1
            raise StoreUnavailable("the connection was lost")

    async def aclose(self):
        await self.inner.aclose()


async def test_a_decision_is_in_the_database_when_its_id_is_returned(
    database, ledger, new_exchange, allowed
):
    async with ledger.exchange(new_exchange()) as exchange:
        decision_id = await ledger.record(exchange, allowed)
        [entry] = await show(database, decision_id)

    assert entry["decision"]["id"] == decision_id
    assert entry["request"]["id"] == exchange.id
    assert (exchange.decision_ids, exchange.decisions) == ([decision_id], [allowed])


async def test_an_exchange_leaves_its_admission_its_decisions_and_one_end(
    ledger, new_exchange, allowed, types_of
):
    async with ledger.exchange(new_exchange()) as exchange:
        await ledger.record(exchange, allowed)
        await ledger.stream_started(exchange)
        await ledger.record(exchange, allowed)

    assert await types_of(exchange) == [
        "request.admitted",
        "decision.recorded",
        "stream.started",
        "decision.recorded",
        "request.completed",
    ]


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (EngineFailed("broke off"), "error", "engine_failed"),
        (RunnerTimeout("too long"), "error", "RunnerTimeout"),
        (ValueError("a bug"), "error", "ValueError"),
        (asyncio.CancelledError(), "client_disconnected", None),
        (GeneratorExit(), "client_disconnected", None),
    ],
)
async def test_an_exchange_that_fails_says_how(
    database, ledger, new_exchange, error, outcome, reason
):
    exchange = new_exchange()
    with pytest.raises(type(error)):
        async with ledger.exchange(exchange):
            raise error

    admitted, end = await show(database, exchange.id)
    assert (admitted["type"], end["type"]) == ("request.admitted", f"request.{outcome}")
    assert end["outcome"]["reason"] == reason


async def test_a_caller_who_hangs_up_on_a_stream_leaves_one_end(ledger, new_exchange, types_of):
    exchange = new_exchange()

    async def stream():
        async with ledger.exchange(exchange):
            yield 1
            yield 2

    async with aclosing(stream()) as items:
        async for _ in items:
            break

    assert await types_of(exchange) == ["request.admitted", "request.client_disconnected"]


async def test_what_the_exchange_says_of_its_end_is_what_is_written(ledger, new_exchange, types_of):
    with suppress(ValueError):
        async with ledger.exchange(new_exchange()) as exchange:
            exchange.outcome = Outcome.BLOCKED
            raise ValueError

    assert (await types_of(exchange))[-1] == "request.blocked"


async def test_what_is_cancelled_at_shutdown_was_aborted_by_us(ledger, new_exchange, types_of):
    ledger.cancelled_as = Outcome.ABORTED
    exchange = new_exchange()
    with suppress(asyncio.CancelledError):
        async with ledger.exchange(exchange):
            raise asyncio.CancelledError

    assert (await types_of(exchange))[-1] == "request.aborted"


async def test_an_end_is_written_even_if_its_task_is_cancelled_while_it_waits(
    ledger, new_exchange, log_held, types_of
):
    exchange = new_exchange()

    async def serve():
        async with ledger.exchange(exchange):
            pass

    async with log_held():
        task = asyncio.create_task(serve())
        await asyncio.sleep(0.05)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await ledger.append()

    assert await types_of(exchange) == ["request.admitted", "request.completed"]


async def test_a_caller_cancelled_while_a_decision_is_written_leaves_a_whole_record(
    ledger, new_exchange, allowed, log_held, types_of
):
    exchange = new_exchange()

    async def serve():
        async with ledger.exchange(exchange):
            await ledger.record(exchange, allowed)

    async with log_held():
        task = asyncio.create_task(serve())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
    with suppress(asyncio.CancelledError):
        await task

    assert await types_of(exchange) == [
        "request.admitted",
        "decision.recorded",
        "request.client_disconnected",
    ]


async def test_many_exchanges_at_once_each_end_once_and_leave_no_gap(
    database, new_ledger, new_exchange, allowed
):
    ledgers = [await new_ledger() for _ in range(3)]

    async def serve(number):
        ledger = ledgers[number % 3]
        with suppress(EngineFailed):
            async with ledger.exchange(new_exchange()) as exchange:
                for _ in range(number % 5):
                    await ledger.record(exchange, allowed)
                if number % 7 == 0:
                    raise EngineFailed("broke off")

    await asyncio.gather(*(serve(number) for number in range(300)))

    log = await tail(database, 10_000)
    ends = Counter(entry["request"]["id"] for entry in log if entry["type"] in ENDS)
    assert len(ends) == 300
    assert set(ends.values()) == {1}
    for ledger in ledgers:
        own = [entry["replica"]["seq"] for entry in log if entry["replica"]["id"] == ledger.replica]
        assert own == list(range(1, len(own) + 1))


ENDS = {f"request.{outcome.value}" for outcome in Outcome}


async def test_the_database_takes_one_end_per_request(database, ledger, new_exchange):
    async with ledger.exchange(new_exchange()) as exchange:
        pass

    second = (
        "INSERT INTO audit_entries "
        "(id, type, recorded_at, request_id, replica, replica_seq, terminal, body) "
        "VALUES ('two', 'request.error', 'now', :request_id, 'r', 1, true, '')"
    )
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(text(second), {"request_id": exchange.id})


async def test_an_end_that_comes_too_late_is_kept_beside_the_first_and_fails_nobody(
    ledger, new_exchange, types_of
):
    bystander = new_exchange()
    async with ledger.exchange(bystander), ledger.exchange(new_exchange()) as exchange:
        await ledger.append(records.lost(exchange.id, "shop", "rep_other"))

    assert await types_of(exchange) == ["request.lost", "request.admitted", "request.closed_late"]
    assert (await types_of(bystander))[-1] == "request.completed"


async def test_a_full_queue_refuses_at_once(ledger, log_held):
    async with log_held():
        waiting = [asyncio.ensure_future(ledger.append(records.replica_started()))]
        await asyncio.sleep(0.05)  # the writer has taken that one and waits
        waiting += [
            asyncio.ensure_future(ledger.append(records.replica_started()))
            for _ in range(writer.MAX_QUEUED)
        ]
        await asyncio.sleep(0)

        with pytest.raises(AuditUnavailable, match="cannot keep up"):
            await ledger.append(records.replica_started())

    await asyncio.gather(*waiting)


async def test_more_entries_than_fit_a_batch_are_refused(ledger):
    entries = [records.replica_started() for _ in range(writer.MAX_TOGETHER + 1)]

    with pytest.raises(ValueError, match="at most 100 entries"):
        await ledger.append(*entries)
    await ledger.append(*entries[1:])


async def test_nothing_is_acknowledged_while_the_log_is_away_and_it_recovers(
    ledger, new_exchange, allowed, log_away, types_of
):
    exchange = new_exchange()
    with pytest.raises(AuditUnavailable):
        async with ledger.exchange(exchange), log_away():
            await ledger.record(exchange, allowed)
    await until(lambda: ledger.healthy)

    assert await types_of(exchange) == ["request.admitted", "request.error"]


async def test_an_end_that_could_not_be_written_is_written_when_the_log_is_back(
    ledger, new_exchange, allowed, log_away, types_of
):
    exchange = new_exchange()
    async with log_away():
        with pytest.raises(AuditUnavailable):
            async with ledger.exchange(exchange):
                exchange.outcome = Outcome.COMPLETED
        assert not ledger.healthy
        with pytest.raises(AuditUnavailable):
            async with ledger.exchange(new_exchange()):
                pytest.fail("nothing may be admitted while the log is away")
    await until(lambda: ledger.healthy)
    await ledger.append()

    assert await types_of(exchange) == ["request.admitted", "request.completed"]


async def test_a_lost_connection_is_made_anew(
    database, ledger, new_exchange, allowed, postgres_server, types_of
):
    if database.is_sqlite:
        pytest.skip("has no connection that could be lost")
    async with ledger.exchange(new_exchange()) as exchange:
        await ledger.record(exchange, allowed)
        await postgres_server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 - our own name
            f"WHERE datname = '{database.url.database}'"
        )
        with pytest.raises(AuditUnavailable):
            await ledger.record(exchange, allowed)
        await ledger.record(exchange, allowed)

    assert (await types_of(exchange))[-1] == "request.completed"


async def test_a_commit_nobody_heard_of_is_not_repeated(
    database, new_ledger, new_exchange, allowed, types_of
):
    ledger = await new_ledger(open_sink=lambda database: ForgetfulWriter(database, 0))
    sink = ledger._writer._sink
    exchange = new_exchange()
    with pytest.raises(AuditUnavailable):
        async with ledger.exchange(exchange):
            sink.times = 2  # the decision, then the end
            await ledger.record(exchange, allowed)
    await until(lambda: ledger.healthy)
    await ledger.append()

    assert await types_of(exchange) == ["request.admitted", "decision.recorded", "request.error"]
    own = [
        entry["replica"]["seq"]
        for entry in await tail(database, 100)
        if entry["replica"]["id"] == ledger.replica
    ]
    assert own == list(range(1, len(own) + 1))


async def test_a_replica_whose_heartbeat_is_old_writes_nothing(ledger, clock):
    clock.now += 15.1

    with pytest.raises(AuditUnavailable, match="cannot be written"):
        await ledger.append(records.replica_started())
    assert not ledger.healthy

    await ledger.beat()
    await ledger.append(records.replica_started())


async def test_a_stopped_ledger_says_so_in_the_log_and_refuses(database, new_ledger):
    ledger = await new_ledger()
    await ledger.aclose()

    assert (await tail(database, 1))[0]["type"] == "replica.stopped"
    with pytest.raises(AuditUnavailable, match="is closed"):
        await ledger.append(records.replica_started())


async def test_a_ledger_without_a_database_does_not_start(tmp_path, new_ledger, log_away, database):
    async with database.write() as connection:
        await connection.execute(text("ALTER TABLE replicas RENAME TO hidden"))

    with pytest.raises(AuditUnavailable):
        await new_ledger()


async def test_the_log_can_be_read_in_pages_and_by_id(database, ledger, new_exchange, allowed):
    async with ledger.exchange(new_exchange()) as exchange:
        decision_id = await ledger.record(exchange, allowed)

    everything = await tail(database, 100)
    assert [entry["seq"] for entry in everything] == sorted(e["seq"] for e in everything)
    assert await tail(database, 2) == everything[-2:]
    assert await tail(database, 2, after_seq=everything[0]["seq"]) == everything[1:3]
    assert await show(database, exchange.id) == everything[-3:]
    assert await show(database, decision_id) == [everything[-2]]
    assert await show(database, everything[-2]["id"]) == [everything[-2]]
    assert await show(database, "req_unknown") == []
