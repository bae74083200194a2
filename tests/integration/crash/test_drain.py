import asyncio

import pytest

from benchmarks.callers import Question
from benchmarks.completeness import contradictions, ends
from benchmarks.crash import swept_log

pytestmark = [pytest.mark.integration, pytest.mark.timeout(200)]


@pytest.fixture
async def open_stream(ask, until):
    """Opens a stream; returns the task that reads it once it has begun."""

    async def begin(gateway):
        task = asyncio.create_task(ask(gateway, Question()))
        await until(lambda: ask.given and ask.given[-1].status)
        return task

    return begin


async def test_an_open_stream_is_finished_after_sigterm(database_url, new_gateway, open_stream):
    gateway = new_gateway(database_url, drain_s="60")
    await gateway.start()
    stream = await open_stream(gateway)

    gateway.terminate()
    given = await stream
    status = await gateway.wait()

    log = await swept_log(database_url)
    assert given.completed
    assert status == 0
    assert contradictions(log, [given]) == []
    assert log[-1]["type"] == "replica.stopped"


async def test_a_stream_that_outlasts_the_drain_ends_as_aborted(
    database_url, new_gateway, slow_engine_url, open_stream
):
    gateway = new_gateway(database_url, drain_s="1", upstream_url=slow_engine_url)
    await gateway.start()
    stream = await open_stream(gateway)

    gateway.terminate()
    given = await stream
    status = await gateway.wait()

    log = await swept_log(database_url)
    assert not given.completed
    assert status == 0
    assert contradictions(log, [given]) == []
    assert ends(log) == {"request.aborted": 1}


async def test_a_second_signal_waits_for_nothing(
    database_url, new_gateway, slow_engine_url, open_stream
):
    gateway = new_gateway(database_url, drain_s="100", upstream_url=slow_engine_url)
    await gateway.start()
    stream = await open_stream(gateway)

    gateway.terminate()
    while (await gateway.readyz())[0]:  # until it has heard the first
        pass
    gateway.terminate()
    given = await stream
    status = await gateway.wait()
    await gateway.start()

    assert not given.completed
    assert status == 0
    assert contradictions(await swept_log(database_url), [given]) == []
