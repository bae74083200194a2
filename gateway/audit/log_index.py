"""Keeps the log's index up to date, some seconds behind. Any number of replicas may try.

It reads decisions back for their rules and categories, so it takes its time: under a load
that is more than `_BATCH` times `_BATCHES` entries every `PAUSE_S` it falls behind, and what it
has not reached is searched through as if there were no index. Nothing waits for it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import orjson
import structlog

from gateway.audit.search import ACTION, CATEGORY, RULE, TYPE, categories_of, rules_of, term
from gateway.errors import StoreUnavailable
from gateway.store import log_index as store
from gateway.store.log_index import BLOCK, Times, Unindexed
from gateway.store.session import Database

PAUSE_S = 5.0
_BATCH = 1024  # entries in one transaction
_BATCHES = 20  # between two pauses
_READ = 64  # entries that are read before others get their turn
_REST_S = 0.01  # after a batch, for those who wait for an answer

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class LogIndex:
    """Indexes one database's log.

    Args:
        database: Migrated.
    """

    database: Database
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin to index, in the background."""
        self._task = asyncio.create_task(self._run(), name="log-index")

    async def aclose(self) -> None:
        """Stop indexing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def turn(self, batches: int = _BATCHES) -> int:
        """Index some of what is new; return how many entries that was.

        Raises:
            StoreUnavailable: If the database cannot be used. What was indexed stays.
        """
        total = 0
        for _ in range(batches):
            added = await self._batch()
            total += added
            if added < _BATCH:
                break
            await asyncio.sleep(_REST_S)
        return total

    async def _batch(self) -> int:
        async with self.database.read() as connection:
            old = await store.reached(connection)
            entries = await store.unindexed(connection, old, _BATCH)
        if not entries:
            return 0
        times: dict[int, Times] = {}
        terms: set[tuple[str, int]] = set()
        for at in range(0, len(entries), _READ):
            gather(entries[at : at + _READ], times, terms)
            await asyncio.sleep(0)
        async with self.database.write() as connection:
            won = await store.advance(connection, old, entries[-1].seq, times, sorted(terms))
        return len(entries) if won else 0

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
            except StoreUnavailable as error:
                log.warning("log_index_failed", error=str(error))
            await asyncio.sleep(PAUSE_S)


def gather(entries: list[Unindexed], times: dict[int, Times], terms: set[tuple[str, int]]) -> None:
    """Add by block when entries were recorded, and what occurs in which block."""
    for entry in entries:
        block, at = entry.seq // BLOCK, entry.recorded_at
        first, last = times.get(block, (at, at))
        times[block] = (min(first, at), max(last, at))
        terms.add((term(TYPE, entry.type), block))
        if entry.body is not None:
            terms.update((each, block) for each in _named_in(entry.body))


def _named_in(body: bytes) -> set[str]:
    try:
        entry = orjson.loads(body)
        action = (entry.get("decision") or {}).get("action")
        return {
            *(term(RULE, each) for each in rules_of(entry)),
            *(term(CATEGORY, each) for each in categories_of(entry)),
            *({term(ACTION, action)} if isinstance(action, str) else ()),
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()  # somebody wrote into the database; what checks the log says so
