import asyncio

import pytest

from gateway.errors import StoreUnavailable
from gateway.memory import MAX_REMEMBERED, Memory


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Source:
    """Answers with how often it was asked; waits for `gate`, if there is one."""

    def __init__(self):
        self.asked, self.gate, self.fails = [], None, False
        self.was_asked = asyncio.Event()

    async def __call__(self, question):
        self.asked.append(question)
        number = len(self.asked)
        self.was_asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise OSError("away")
        return number


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def memory(source, clock):
    return Memory(source, clock)


async def test_an_answer_is_remembered_for_less_than_a_second(memory, source, clock):
    assert [await memory.answer("a"), await memory.answer("a")] == [1, 1]

    clock.now += 0.99
    assert await memory.answer("a") == 1
    clock.now += 0.01
    assert await memory.answer("a") == 2


async def test_the_second_begins_when_the_question_is_asked(memory, source, clock):
    source.gate = asyncio.Event()
    asking = asyncio.create_task(memory.answer("a"))
    await source.was_asked.wait()
    clock.now += 1.0
    source.gate.set()

    assert await asking == 1
    assert await memory.answer("a") == 2


async def test_those_who_ask_at_the_same_time_share_one_question(memory, source):
    assert await asyncio.gather(*(memory.answer("a") for _ in range(20))) == [1] * 20
    assert source.asked == ["a"]


async def test_one_who_goes_away_does_not_take_the_answer_from_the_others(memory, source):
    source.gate = asyncio.Event()
    first, second = (asyncio.create_task(memory.answer("a")) for _ in range(2))
    await source.was_asked.wait()
    first.cancel()
    source.gate.set()

    assert await second == 1
    assert source.asked == ["a"]


async def test_a_failure_is_not_remembered(memory, source):
    source.fails = True
    with pytest.raises(OSError, match="away"):
        await memory.answer("a")
    source.fails = False

    assert await memory.answer("a") == 2


async def test_what_was_forgotten_is_asked_anew(memory):
    await memory.answer("a")
    memory.forget("a")

    assert await memory.answer("a") == 2


async def test_what_was_being_asked_when_it_was_forgotten_is_not_remembered(memory, source):
    source.gate = asyncio.Event()
    before = asyncio.create_task(memory.answer("a"))
    await source.was_asked.wait()
    memory.forget("a")
    source.was_asked.clear()
    after = asyncio.create_task(memory.answer("a"))
    await source.was_asked.wait()
    source.gate.set()

    assert [await before, await after, await memory.answer("a")] == [1, 2, 2]


async def test_it_remembers_no_more_than_its_fill(memory, source):
    for question in range(MAX_REMEMBERED + 1):
        await memory.answer(question)
    source.asked.clear()
    await memory.answer(MAX_REMEMBERED)
    await memory.answer(0)

    assert source.asked == [0]


@pytest.mark.parametrize(("age_s", "answers"), [(59.9, True), (60.0, False)])
async def test_while_the_database_is_away_an_older_answer_may_do_for_so_long(clock, age_s, answers):
    away = False

    async def ask(question):
        if away:
            raise StoreUnavailable("away")
        return "known"

    memory = Memory(ask, clock, stale_s=60.0)
    assert await memory.answer("q") == "known"
    away = True
    clock.now += age_s

    if answers:
        assert await memory.answer("q") == "known"
    else:
        with pytest.raises(StoreUnavailable):
            await memory.answer("q")
    with pytest.raises(StoreUnavailable):
        await memory.answer("never asked before")


async def test_what_was_to_be_forgotten_is_not_gone_by(clock):
    away = False

    async def ask(question):
        if away:
            raise StoreUnavailable("away")
        return "known"

    memory = Memory(ask, clock, stale_s=60.0)
    await memory.answer("q")
    away = True
    memory.forget("q")

    with pytest.raises(StoreUnavailable):
        await memory.answer("q")
