"""Deletes kept content when its time has run out, and finishes erasures that were cut off.

Every replica looks, at its start and then once an hour; what one has deleted the others find
no more. What is held stays. Entries are not touched: the log keeps decisions for good, which
is more than the 183 days that Art. 19 and 26(6) of the EU AI Act ask for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from gateway.audit import content_records as records
from gateway.audit.entry import row_apart
from gateway.audit.erasure import finish_erasures
from gateway.errors import StoreUnavailable
from gateway.store import entries
from gateway.store import retention as store
from gateway.store.content import lock_keys
from gateway.store.session import Database
from gateway.store.times import as_text

PAUSE_S = 3600.0
_TOGETHER = 1000  # fields deleted in one transaction

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Expiry:
    """Looks after the time that content is kept for.

    Args:
        database: Migrated.
        content_days: How long content is kept, days.
        reasoning_days: How long thoughts are kept, days.
        now: The time of day.
    """

    database: Database
    content_days: int
    reasoning_days: int
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin to look, in the background."""
        self._task = asyncio.create_task(self._run(), name="content-expiry")

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> int:
        """Finish erasures, delete what has expired, record it; return how many fields went.

        Raises:
            StoreUnavailable: If it could not be finished; the next look goes on.
        """
        await finish_erasures(self.database)
        now, total = self.now(), 0
        before = {
            "content": as_text(now - timedelta(days=self.content_days)),
            "reasoning": as_text(now - timedelta(days=self.reasoning_days)),
        }
        while True:
            async with self.database.write() as connection:
                await lock_keys(connection)
                fields, keys = await store.expire(
                    connection, before["content"], before["reasoning"], _TOGETHER
                )
                if fields or keys:
                    entry = records.content_expired(fields, keys, before=before)
                    await entries.append(connection, row_apart(entry, "content"))
            total += fields
            if fields < _TOGETHER and keys < _TOGETHER:
                break
        if total:
            await store.scrub(self.database)
        return total

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("content_expiry_failed", error=str(error))
            await asyncio.sleep(PAUSE_S)
