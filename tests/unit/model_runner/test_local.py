import asyncio
import threading
from contextlib import aclosing

import pytest
import torch

from model_runner.local import LocalOptions, LocalRunner, load_local
from model_runner.types import (
    Delta,
    FinishReason,
    Message,
    Prompt,
    PromptRejected,
    Role,
    RunnerUnavailable,
    Sampling,
)

ASKS = ["hello", "what?", "a" * 30, "Z", "tell me more of it"]


class Counting:
    """The model behind a gate that opens for one forward pass at a time."""

    def __init__(self, model, *, gated=False, fails_on=None):
        self.model, self.config, self.device = model, model.config, model.device
        self.passes, self.rows, self.fails_on = 0, [], fails_on
        self.gate = threading.Semaphore(0) if gated else None
        self.threads = set()

    def __call__(self, **inputs):
        if self.gate is not None:
            self.gate.acquire()
        self.passes += 1
        self.rows.append(len(inputs["input_ids"]))
        self.threads.add((threading.current_thread().name, torch.get_num_threads()))
        if self.fails_on is not None and self.fails_on(inputs["input_ids"]):
            raise RuntimeError("the device is lost")
        return self.model(**inputs)


@pytest.fixture
async def start(letters):
    runners = []

    def start(model, **options):
        settings = {"temperature": 0.0, "threads": 1} | options
        runners.append(LocalRunner(model, letters, "random", LocalOptions(**settings)))
        return runners[-1]

    yield start
    for runner in runners:
        await runner.aclose()


def ask(text, **sampling):
    return Prompt("random", (Message(Role.USER, text),), sampling=Sampling(**sampling))


async def collect(runner, prompt):
    return [item async for item in runner.generate(prompt)]


def said(items):
    return "".join(item.text for item in items if isinstance(item, Delta))


async def test_replies_made_together_are_those_made_alone(random_model, start):
    runner = start(random_model)
    prompts = [ask(text, max_tokens=20) for text in ASKS]
    alone = [said(await collect(runner, prompt)) for prompt in prompts]

    async def later(index, prompt):
        await asyncio.sleep(0.003 * index)
        return said(await collect(runner, prompt))

    together = await asyncio.gather(*(later(*each) for each in enumerate(prompts)))

    assert together == alone
    assert len(set(alone)) == len(ASKS)


async def test_replies_share_forward_passes(random_model, start):
    model = Counting(random_model)
    runner = start(model, max_rows=3)

    await asyncio.gather(*(collect(runner, ask(text, max_tokens=20)) for text in ASKS))

    assert max(model.rows) == 3
    assert model.passes < 20 * len(ASKS)


async def test_the_finish_counts_tokens_and_names_the_limit(random_model, start):
    items = await collect(start(random_model), ask("hello", max_tokens=7))

    assert items[-1].reason is FinishReason.LENGTH
    assert (items[-1].usage.input_tokens, items[-1].usage.output_tokens) == (5, 7)


async def test_a_stop_text_ends_the_reply(random_model, start):
    runner = start(random_model)
    whole = said(await collect(runner, ask("hello", max_tokens=20)))
    stop = whole[6:8]

    items = await collect(runner, ask("hello", max_tokens=20, stop=(stop,)))

    assert said(items) == whole[: whole.index(stop)]
    assert items[-1].reason is FinishReason.STOP


async def test_closing_a_reply_frees_its_row_before_the_next_step(random_model, start):
    model = Counting(random_model, gated=True)
    runner = start(model)
    async with aclosing(runner.generate(ask("hello"))) as first:
        model.gate.release()
        await anext(first)
        second = asyncio.create_task(collect(runner, ask("what?", max_tokens=2)))
        await asyncio.sleep(0)  # the worker is inside the first reply's second pass
    before = model.passes

    model.gate.release(10)
    await second

    # At most the pass that had begun was for the closed reply; then only the other's.
    assert model.passes - before <= 3
    assert model.rows[-1] == 1


async def test_when_every_reply_is_closed_no_step_is_made(random_model, start):
    model = Counting(random_model, gated=True)
    runner = start(model)
    async with aclosing(runner.generate(ask("hello"))) as reply:
        model.gate.release()
        await anext(reply)
    model.gate.release(1000)

    await collect(runner, ask("Z", max_tokens=1))

    assert model.passes <= 3  # read, at most one more token, and the second prompt


async def test_one_reply_too_many_is_refused(random_model, start):
    model = Counting(random_model, gated=True)
    runner = start(model, max_rows=1, max_waiting=1)
    replies = [runner.generate(ask("hello", max_tokens=2)) for _ in range(3)]
    tasks = [asyncio.ensure_future(anext(reply)) for reply in replies]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    with pytest.raises(RunnerUnavailable, match="overloaded"):
        await done.pop()

    model.gate.release(100)
    await asyncio.wait(tasks)
    for reply in replies:
        await reply.aclose()


async def test_a_failure_ends_the_replies_it_concerns_and_not_the_worker(random_model, start):
    model = Counting(random_model, fails_on=lambda ids: ids[0, 0] == ord("!") - 32)
    runner = start(model)

    with pytest.raises(RunnerUnavailable, match="the model failed"):
        await collect(runner, ask("!"))

    assert said(await collect(runner, ask("hello", max_tokens=3)))


async def test_a_prompt_that_fills_the_context_is_rejected(random_model, start):
    runner = start(random_model, context_length=8)

    with pytest.raises(PromptRejected) as raised:
        await collect(runner, ask("12345678"))

    assert raised.value.code == "context_length_exceeded"
    assert (await collect(runner, ask("123456")))[-1].usage.output_tokens == 2


async def test_closing_the_runner_ends_what_is_under_way(random_model, start):
    model = Counting(random_model, gated=True)
    runner = start(model)
    reply = asyncio.create_task(collect(runner, ask("hello")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(runner.aclose())
    await asyncio.sleep(0)
    model.gate.release(10)

    with pytest.raises(RunnerUnavailable):
        await reply
    await closing
    assert not await runner.ready()
    with pytest.raises(RunnerUnavailable, match="closed"):
        await collect(runner, ask("hello"))


async def test_the_model_runs_on_its_own_thread(random_model, start):
    model = Counting(random_model)

    await collect(start(model), ask("hello", max_tokens=2))

    assert model.threads == {("model", 1)}


def test_a_name_that_is_no_model_is_refused_with_the_name(tmp_path):
    with pytest.raises(RunnerUnavailable, match="cannot load a model from"):
        load_local(str(tmp_path))
