"""One thread that owns a model; whoever stops waiting for it stops its work too.

A thread cannot be cancelled, so work is handed an `abandoned` event and looks at it between
its steps. Work that nobody waits for any longer is not begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

_Done = TypeVar("_Done")


class Abandoned(Exception):
    """Nobody waits for this work any longer."""


class Worker:
    """A thread for the work of one model, started with the first of it."""

    def __init__(self, name: str):
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[Event], _Done]) -> _Done:
        """Return what `work` returns; cancelling this abandons it."""
        abandoned = Event()

        def begin() -> _Done:
            if abandoned.is_set():
                raise Abandoned
            return work(abandoned)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, begin)
        finally:
            abandoned.set()

    async def aclose(self) -> None:
        """Let the step that runs end, and begin no other."""
        self._pool.shutdown(wait=False, cancel_futures=True)
