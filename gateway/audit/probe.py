"""Asks now and then whether something answers again, without anybody waiting for it.

A database that hangs takes its timeout to say no. While records wait in the spool nobody
may be held up by that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Probe:
    """One question at a time.

    Args:
        ask: Returns whether it answers; does not raise.
        period_s: How long to rest after a no, seconds.
        monotonic: This process's clock, seconds.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[bool]], period_s: float, monotonic: Callable[[], float]
    ):
        self._ask = ask
        self._period_s = period_s
        self._monotonic = monotonic
        self._next = monotonic()
        self._trusted = True  # nothing has gone wrong yet
        self._asking: asyncio.Future[bool] | None = None

    def answered(self) -> bool:
        """Return whether the last question was answered with yes, and forget that.

        Begins to ask, in the background, if nobody does and the rest is over.
        """
        if self._trusted:
            self._trusted = False
            return True
        if self._asking is None:
            if self._monotonic() >= self._next:
                self._asking = asyncio.ensure_future(self._ask())
            return False
        if not self._asking.done():
            return False
        yes = self._asking.result()
        self._asking = None
        if not yes:
            self.rest()
        return yes

    def rest(self) -> None:
        """Do not ask for a while."""
        self._next = self._monotonic() + self._period_s
