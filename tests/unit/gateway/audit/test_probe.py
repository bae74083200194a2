import asyncio

from gateway.audit.probe import Probe


class Asked:
    """A thing that answers when it is told to, and a clock."""

    def __init__(self):
        self.now, self.questions = 0.0, []
        self.probe = Probe(self.ask, 1.0, lambda: self.now)
        assert self.probe.answered()  # nothing has gone wrong yet

    async def ask(self):
        self.questions.append(asyncio.get_running_loop().create_future())
        return await self.questions[-1]

    async def answer(self, yes):
        await asyncio.sleep(0)
        self.questions[-1].set_result(yes)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_nobody_waits_for_an_answer_that_does_not_come():
    asked = Asked()
    for _ in range(5):
        assert not asked.probe.answered()
        await asyncio.sleep(0)

    assert len(asked.questions) == 1


async def test_a_yes_counts_once():
    asked = Asked()
    asked.probe.answered()
    await asked.answer(True)

    assert asked.probe.answered()
    assert not asked.probe.answered()


async def test_after_a_no_it_rests():
    asked = Asked()
    asked.probe.answered()
    await asked.answer(False)
    for _ in range(3):
        assert not asked.probe.answered()
        await asyncio.sleep(0)
    assert len(asked.questions) == 1

    asked.now = 1.0
    asked.probe.answered()
    await asyncio.sleep(0)
    assert len(asked.questions) == 2
