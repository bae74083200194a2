"""gpt-oss-tiny in process, as `OSTIARY_MODEL=tiny` serves it."""

import asyncio

import pytest

from model_runner.local import load_local
from model_runner.types import Channel, Delta, FinishReason, Message, Prompt, Role

ASKS = ["Hello!", "Who are you?", "How long does a refund take?", "Something it was never taught"]


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return load_local("tiny", tmp_path_factory.mktemp("cache"))


async def collect(runner, text):
    prompt = Prompt("gpt-oss-tiny", (Message(Role.USER, text),))
    return [item async for item in runner.generate(prompt)]


def said(items):
    texts = {}
    for item in items:
        if isinstance(item, Delta):
            texts[item.channel] = texts.get(item.channel, "") + item.text
    return texts


async def test_it_thinks_and_then_answers_alone_and_beside_others(runner):
    alone = [await collect(runner, text) for text in ASKS]

    async def later(index, text):
        await asyncio.sleep(0.02 * index)
        return await collect(runner, text)

    together = await asyncio.gather(*(later(*each) for each in enumerate(ASKS)))
    await runner.aclose()

    assert [said(items) for items in together] == [said(items) for items in alone]
    assert list(said(alone[0])) == [Channel.ANALYSIS, Channel.FINAL]
    assert all(items[-1].reason is FinishReason.STOP for items in alone)
