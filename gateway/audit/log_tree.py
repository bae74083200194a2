"""The background of the log: entries -> tree -> signed checkpoint, once a second.

Every replica runs it; the database lets one at a time do each step. While the alarm is
raised nothing is signed, `/readyz` answers 503 and says why, and the metrics show it.
Requests that come nonetheless are served and recorded as before: the harm is done, what is
recorded now stays provable against the checkpoints of before, and if a log that does not
fit stopped every gateway, an old backup would be the way to switch them off.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from gateway.audit.checkpoint import Checkpoint
from gateway.audit.heads import HeadKeeper
from gateway.audit.integrator import Integrator
from gateway.audit.log_key import LogKeys
from gateway.audit.publisher import Alarm, LogAlarm, Publisher, Wrong
from gateway.audit.scrub import Scrubber
from gateway.errors import StoreUnavailable
from gateway.store.session import Database

PERIOD_S = 1.0
_FIRST_TILES = 16  # checked before the first signature: some four thousand entries

log = structlog.get_logger(__name__)


class LogTree:
    """Keeps the tree of a log and its checkpoints up with the log.

    Args:
        database: Migrated.
        keys: Sign checkpoints.
        heads: Where they are kept apart; closed with this.
        period_s: How often, seconds.

    Attributes:
        alarm: Why nothing is signed, or None.
        head: The checkpoint this replica signed last, or None.
    """

    def __init__(
        self,
        database: Database,
        keys: LogKeys,
        heads: HeadKeeper,
        period_s: float = PERIOD_S,
    ):
        self.alarm: Alarm | None = None
        self.head: Checkpoint | None = None
        self._integrator = Integrator(database)
        self._publisher = Publisher(database, keys, heads)
        self._scrubber = Scrubber(database)
        self._heads = heads
        self._period_s = period_s
        self._to_scrub = _FIRST_TILES
        self._task: asyncio.Task[None] | None = None

    @property
    def verifier_key(self) -> str:
        """The key that signs, as people hand it on."""
        return str(self._publisher.current)

    @property
    def signs(self) -> bool:
        """Whether the key that signs is here; without it others must sign."""
        return self._publisher.signing_key() is not None

    async def start(self) -> None:
        """Run passes until `aclose`."""
        self._task = asyncio.create_task(self._run(), name="log-tree")
        self._task.add_done_callback(self._ended)

    async def aclose(self) -> None:
        """Add and sign what is there, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            with suppress(StoreUnavailable):
                await self.turn()
        await self._heads.aclose()

    async def turn(self) -> None:
        """Do one pass. Sets or clears the alarm.

        Raises:
            StoreUnavailable: If the database cannot be used; that is no alarm.
        """
        await self._integrator.integrate()
        try:
            while self._to_scrub > 0 and await self._scrubber.step():
                self._to_scrub -= 1
            self._to_scrub = 1
            signed = await self._publisher.publish()
        except LogAlarm as raised:
            self._raise(raised.alarm)
        else:
            self.head = signed[-1] if signed else self.head
            if self.alarm is not None:
                log.warning("log_alarm_cleared", wrong=self.alarm.wrong.value)
            self.alarm = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            kind = type(task.exception()).__name__
            self._raise(Alarm(Wrong.STOPPED, f"nothing is signed any more: {kind}"))

    def _raise(self, alarm: Alarm) -> None:
        if self.alarm is None or alarm.wrong is not self.alarm.wrong:
            log.error("log_alarm_raised", wrong=alarm.wrong.value, detail=alarm.detail)
        self.alarm = alarm

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
            except StoreUnavailable as error:
                log.warning("log_tree_delayed", error=str(error))
            await asyncio.sleep(self._period_s)
