"""Closes what a dead replica left open, and keeps this one known to be alive.

Each pass: write our heartbeat; find replicas that have been silent for a lease; fence
them, so that the log refuses them from then on; append `request.lost` for every request
they admitted that has no terminal record; mark them swept. Any step may be repeated and
any number of replicas may do it at once: the log takes one terminal record per request.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from gateway.audit import records
from gateway.audit.ledger import Ledger
from gateway.audit.writer import MAX_TOGETHER
from gateway.errors import AuditUnavailable, StoreUnavailable
from gateway.store import entries, replicas
from gateway.store.replicas import Silent

log = structlog.get_logger(__name__)


class Sweeper:
    """Runs a pass at start and twice a lease. Start it after the ledger.

    Args:
        ledger: Its database, lease and clock are used.
    """

    def __init__(self, ledger: Ledger):
        self._ledger = ledger
        self._database = ledger.database
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run passes until `aclose`."""
        self._task = asyncio.create_task(self._run(), name="audit-sweeper")

    async def aclose(self) -> None:
        """Stop; a pass that was interrupted is finished by the next sweeper."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def sweep(self) -> int:
        """Do one pass.

        Returns:
            How many requests were declared lost.

        Raises:
            StoreUnavailable, AuditUnavailable: If the pass could not be finished.
        """
        await self._ledger.beat()
        now = await self._ledger.clock(self._database)
        since = now - self._ledger.lease_s
        lost = 0
        for silent in await replicas.silent(self._database, since):
            if silent.id == self._ledger.replica:
                continue
            # INVARIANT: after the fence the replica writes nothing, so what is found
            # unfinished below stays so unless a sweeper ends it.
            if await replicas.fence(self._database, silent.id, since, now):
                count = await self._close_requests_of(silent)
                await replicas.mark_swept(self._database, silent.id, now)
                log.warning("replica_swept", replica=silent.id, lost=count)
                lost += count
        return lost

    async def _close_requests_of(self, silent: Silent) -> int:
        count = 0
        while found := await entries.unfinished(
            self._database, silent.id, silent.open_from_seq, MAX_TOGETHER
        ):
            await self._ledger.append(
                *(records.lost(request_id, project, silent.id) for request_id, project in found)
            )
            count += len(found)
        return count

    async def _run(self) -> None:
        while True:
            pause_s = self._ledger.lease_s / 2
            try:
                await self.sweep()
            except (StoreUnavailable, AuditUnavailable) as error:
                log.warning("sweep_failed", error=str(error))
                pause_s = self._ledger.lease_s / 10  # the lease must not run out meanwhile
            await asyncio.sleep(pause_s)
