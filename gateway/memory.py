"""Answers that are remembered for a short time, and asked for once however many want them.

What keeps a database from being asked with every request, and what bounds how long a change
elsewhere goes unseen here. A question that fails is not remembered, and leaves the answer
that was there: an operator may let that do while the database is away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from gateway.errors import StoreUnavailable

REMEMBERED_S = 1.0
MAX_REMEMBERED = 10_000  # answers

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class Memory(Generic[Question, Answer]):
    """Remembers the answers of `ask`, each for `REMEMBERED_S` from when it was asked for.

    Args:
        ask: Finds an answer out.
        monotonic: This process's clock, seconds.
        stale_s: So old may an answer be, seconds, where the database cannot be asked.
    """

    def __init__(
        self,
        ask: Callable[[Question], Awaitable[Answer]],
        monotonic: Callable[[], float] = time.monotonic,
        stale_s: float = 0.0,
    ):
        self._ask = ask
        self._monotonic = monotonic
        self._stale_s = stale_s
        self._answers: dict[Question, tuple[Answer, float]] = {}  # and when it was asked for
        self._asking: dict[Question, asyncio.Task[Answer]] = {}

    async def answer(self, question: Question) -> Answer:
        """Return the answer. Raises whatever `ask` raises."""
        known = self._answers.get(question)
        if known is not None and self._monotonic() - known[1] < REMEMBERED_S:
            return known[0]
        # Those who ask the same thing at the same time share one question, and one of them
        # that is cancelled does not take it away from the others.
        asking = self._asking.get(question)
        if asking is None:
            asking = asyncio.create_task(self._find_out(question))
            self._asking[question] = asking
            asking.add_done_callback(lambda done: self._answered(question, done))
        try:
            return await asyncio.shield(asking)
        except StoreUnavailable:
            known = self._answers.get(question)
            if known is None or self._monotonic() - known[1] >= self._stale_s:
                raise
            return known[0]

    def forget(self, question: Question) -> None:
        """Have the next one who asks find out anew, whatever is being found out now."""
        self._answers.pop(question, None)
        self._asking.pop(question, None)

    async def _find_out(self, question: Question) -> Answer:
        asked_at = self._monotonic()
        answer = await self._ask(question)
        if self._asking.get(question) is asyncio.current_task():  # not forgotten meanwhile
            self._answers.pop(question, None)  # so that the order is that of asking
            while len(self._answers) >= MAX_REMEMBERED:
                del self._answers[next(iter(self._answers))]
            self._answers[question] = (answer, asked_at)
        return answer

    def _answered(self, question: Question, done: asyncio.Task[Answer]) -> None:
        if self._asking.get(question) is done:
            del self._asking[question]
        if not done.cancelled():
            done.exception()  # whoever still waits gets it; nobody may be left
