"""Asks a model many things at once, but not too many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from classifiers.judges.text_model import OVERLOADED, TextModelError

_Asked = TypeVar("_Asked")
_Told = TypeVar("_Told")


class Turns:
    """Lets `most_running` questions run and `most_waiting` wait; one more is refused.

    Of one asker's questions no more are here at once than may run, so that a request with
    hundreds of them does not fill the queue for everybody, nor is refused by itself.

    Args:
        most_running: Questions that are out at the same time.
        most_waiting: Questions that wait for one of them to come back.
    """

    def __init__(self, most_running: int = 8, most_waiting: int = 256):
        self._most_running = most_running
        self._most = most_running + most_waiting
        self._inside = 0
        self._free: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def each(
        self, ask: Callable[[_Asked], Awaitable[_Told]], questions: Iterable[_Asked]
    ) -> list[_Told | str]:
        """Ask all questions, in turn.

        Returns:
            What each was answered, in order, or the reason code why it was not. Being
            cancelled cancels them all.
        """
        own = asyncio.Semaphore(self._most_running)

        async def in_turn(question: _Asked) -> _Told | str:
            async with own:
                return await self._one(ask, question)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(in_turn(question)) for question in questions]
        return [task.result() for task in tasks]

    async def _one(
        self, ask: Callable[[_Asked], Awaitable[_Told]], question: _Asked
    ) -> _Told | str:
        if self._inside >= self._most:
            return OVERLOADED
        self._inside += 1
        try:
            async with self._places():
                return await ask(question)
        except TextModelError as error:
            return error.reason
        finally:
            self._inside -= 1

    def _places(self) -> asyncio.Semaphore:
        """Return the semaphore of this loop; one belongs to the loop that first waited on it."""
        loop = asyncio.get_running_loop()
        if self._free is None or self._loop is not loop:
            self._free, self._loop = asyncio.Semaphore(self._most_running), loop
        return self._free
