import asyncio
from contextlib import aclosing

import pytest

from model_runner.scripted import FINISH, Pause, ScriptedRunner
from model_runner.types import (
    Channel,
    Delta,
    Message,
    Prompt,
    Role,
    Runner,
    RunnerTimeout,
    RunnerUnavailable,
)

ASK = Prompt("scripted", (Message(Role.USER, "hi"),))
ONE, TWO = Delta(Channel.FINAL, "one"), Delta(Channel.FINAL, "two")


async def collect(runner):
    return [item async for item in runner.generate(ASK)]


async def test_it_is_a_runner_and_replays_its_script_for_every_prompt():
    runner: Runner = ScriptedRunner(ONE, Pause(), TWO, FINISH)

    assert await collect(runner) == await collect(runner) == [ONE, TWO, FINISH]
    assert runner.prompts == [ASK, ASK]
    assert runner.produced == 4
    assert not runner.stopped_early


async def test_it_remembers_where_it_was_stopped():
    runner = ScriptedRunner(ONE, TWO, FINISH)

    async with aclosing(runner.generate(ASK)) as stream:
        assert await anext(stream) == ONE

    assert runner.produced == 1
    assert runner.stopped_early
    assert runner.finished == 1


async def test_an_exception_in_the_script_is_raised_in_its_place():
    runner, seen = ScriptedRunner(ONE, RunnerTimeout("too slow"), TWO), []

    with pytest.raises(RunnerTimeout, match="too slow"):
        async for item in runner.generate(ASK):
            seen.append(item)

    assert seen == [ONE]
    assert not runner.stopped_early


async def test_a_stall_lasts_until_it_is_cancelled():
    runner = ScriptedRunner(ONE, Pause(float("inf")), TWO)
    task = asyncio.create_task(collect(runner))

    for _ in range(5):  # turns of the event loop; the script needs two
        await asyncio.sleep(0)

    assert runner.produced == 1
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runner.stopped_early


async def test_a_closed_runner_is_not_ready_and_answers_nothing():
    runner = ScriptedRunner(ONE, FINISH)
    assert await runner.ready()

    await runner.aclose()

    assert not await runner.ready()
    with pytest.raises(RunnerUnavailable):
        await collect(runner)
