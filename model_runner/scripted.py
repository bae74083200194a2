"""A runner that replays a script, for tests and demonstrations.

It says what it is told to, whatever it is asked, and remembers what happened to it: what
it was asked, how far it came, and whether it was stopped early. It has no model and no
judgement; it is never a default.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from model_runner.types import Delta, Finish, FinishReason, Prompt, RunnerUnavailable, Usage

FINISH = Finish(FinishReason.STOP, Usage())


@dataclass(frozen=True, slots=True)
class Pause:
    """Say nothing for `seconds`; infinity is a stall that only closing ends."""

    seconds: float = 0.0


Step = Delta | Finish | Exception | Pause


class ScriptedRunner:
    """Replays one script for every prompt.

    A script that ends without a `Finish` or an exception plays a stream that was cut off.
    Safe to share between tasks of one event loop: each `generate` replays from the start.

    Attributes:
        prompts: Every prompt asked, in order.
        produced: How many deltas were yielded, over all prompts.
        stopped_early: Whether a stream was closed before its script ended.
        finished: How many streams ended, early or not.
        closed: Whether `aclose` was called.
    """

    kind = "scripted"

    def __init__(self, *script: Step, model: str = "scripted") -> None:
        self.model = model
        self.prompts: list[Prompt] = []
        self.produced = 0
        self.stopped_early = False
        self.finished = 0
        self.closed = False
        self._script = script

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """Replay the script.

        Raises:
            RunnerUnavailable: If the runner was closed.
            Exception: Whatever the script holds.
        """
        if self.closed:
            raise RunnerUnavailable("the runner is closed")
        self.prompts.append(prompt)
        ended = False
        try:
            for step in self._script:
                if isinstance(step, Pause):
                    await _pause(step)
                elif isinstance(step, Exception):
                    ended = True
                    raise step
                else:
                    self.produced += isinstance(step, Delta)
                    yield step
            ended = True
        finally:
            self.finished += 1
            self.stopped_early = self.stopped_early or not ended

    async def ready(self) -> bool:
        """Return whether it was not closed."""
        return not self.closed

    async def aclose(self) -> None:
        """Refuse further prompts."""
        self.closed = True


async def _pause(step: Pause) -> None:
    if step.seconds == float("inf"):
        await asyncio.get_running_loop().create_future()
    await asyncio.sleep(step.seconds)
