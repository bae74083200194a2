"""Group commit: one queue and one task write the decision log for the whole process.

Everything queued while the last commit ran goes into the next one, so that hundreds of
requests share a commit and nobody waits for a timer. A full queue refuses at once;
nothing is dropped silently.

A replica numbers its own entries from 1 without a gap: numbers are given when a batch
is written, and read back from the log after a batch whose outcome is unknown.

It writes only while its heartbeat is fresh. A replica that was silent for a lease may be
declared dead by another one (`gateway.audit.sweeper`), so it stops by itself, and the
database refuses it besides. It then goes on under a new replica id.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from uuid_utils import uuid7

from gateway.audit.entry import Entry, Replica
from gateway.audit.groups import Admission, Group, flattened
from gateway.audit.records import closed_late, replica_started
from gateway.audit.spool import Spool, SpoolFull
from gateway.errors import AuditUnavailable, StoreUnavailable
from gateway.store import entries as store
from gateway.store import replicas
from gateway.store.content import together
from gateway.store.session import Database

MAX_QUEUED = 8192  # groups waiting to be written; well under a second's work
MAX_TOGETHER = 100  # entries of one group; several groups go into one batch
PROBE_S = 1.0  # how often a log that is away is tried again
_CONFLICT_ATTEMPTS = 3

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Writer:
    """Writes groups in order. Start it in a running event loop.

    Args:
        database: Migrated.
        build: The version of Ostiary, for the record.
        lease_s: After this long without a heartbeat it stops writing, seconds.
        monotonic: This process's clock, seconds.
        clock: The clock all replicas share, Unix seconds.
        recovered: Called when the log can be written again after it could not.
        open_sink: What the batches are given to.

    Attributes:
        spool: Where entries wait that may; opened and closed by whoever owns it.
    """

    database: Database
    build: str
    lease_s: float
    monotonic: Callable[[], float] = time.monotonic
    clock: Callable[[Database], Awaitable[float]] = replicas.database_time
    recovered: Callable[[], None] = lambda: None
    open_sink: Callable[[Database], store.EntryWriter] = store.open_writer
    spool: Spool | None = field(default=None, init=False)
    replica: Replica = field(init=False)
    next_seq: int = field(default=1, init=False)
    _seq_known: bool = field(default=True, init=False)
    _beat_at: float = field(default=float("-inf"), init=False)
    _failing: bool = field(default=False, init=False)
    _fenced: bool = field(default=False, init=False)
    _stopped: bool = field(default=True, init=False)
    _queue: deque[Group] = field(default_factory=deque, init=False)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _sink: store.EntryWriter = field(init=False)
    _draining: asyncio.Task[None] | None = field(default=None, init=False)
    _next_try: float = field(default=float("-inf"), init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    async def start(self) -> None:
        """Enter this replica, write what a spool holds, and begin to write.

        Raises:
            StoreUnavailable, AuditUnavailable: If the log cannot be written.
        """
        await self._enter()
        self._sink = self.open_sink(self.database)
        if self._waiting:
            await self._drain()
        self._stopped = False
        self._task = asyncio.create_task(self._run(), name="audit-writer")
        self._task.add_done_callback(self._refuse_all)

    async def aclose(self) -> None:
        """Take nothing more, write what is queued, and stop."""
        if self._task is None or self._task.done():
            return
        last = Group((), asyncio.get_running_loop().create_future())
        self._put(last)
        self._stopped = True
        with suppress(AuditUnavailable):
            await last.done
        for task in (self._task, self._draining):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self._sink.aclose()

    def refusal(self, spools: bool = False) -> AuditUnavailable | None:
        """Return why nothing can be written now, or None.

        Args:
            spools: Whether the spool would do.
        """
        if self._stopped:
            return _unavailable("the decision log is closed")
        if spools and self.spool is not None and self.spool.has_room:
            return None
        if self._fenced or self.monotonic() - self._beat_at > self.lease_s:
            return _unavailable("this replica has lost its lease on the decision log")
        if self._failing:
            return _unavailable("the decision log cannot be written")
        return None

    def put(
        self,
        *entries: Entry,
        admission: Admission | None = None,
        settle: Callable[[bool], None] | None = None,
        spools: bool = False,
    ) -> asyncio.Future[None]:
        """Queue entries to be written together; they are, even if nobody waits.

        Args:
            entries: At most `MAX_TOGETHER`, in order.
            admission: Goes first, unless it is in the log already.
            settle: Told whether they were written. A group with one is taken even when
                the queue is full, because it ends work instead of beginning it.
            spools: Whether the spool will do while the log cannot be written.

        Returns:
            A future that is resolved when they are durable and failed, with
            `AuditUnavailable`, when they are not.

        Raises:
            AuditUnavailable: If the queue is full, or the writer is stopped.
            ValueError: If there are too many entries.
        """
        if len(entries) > MAX_TOGETHER:
            raise ValueError(f"at most {MAX_TOGETHER} entries can be written together")
        if self._stopped:
            raise _unavailable("the decision log is closed")
        if settle is None and len(self._queue) >= MAX_QUEUED:
            raise _unavailable("the decision log cannot keep up")
        done = asyncio.get_running_loop().create_future()
        group = Group(entries, done, admission, settle, spools)
        self._put(group)
        return group.done

    async def beat(self, open_from_seq: int) -> None:
        """Write a heartbeat, and go on as a new replica if this one was declared dead.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        # Taken first: our lease must run out before anybody else thinks it has.
        began = self.monotonic()
        now = await self.clock(self.database)
        if await replicas.beat(self.database, self.replica.id, open_from_seq, now):
            self._beat_at = began
        else:
            self._fenced = True
            self._wanted.set()  # the writer's task enters anew: one owner of `replica`

    def _put(self, group: Group) -> None:
        self._queue.append(group)
        self._wanted.set()

    async def _enter(self) -> None:
        began = self.monotonic()
        replica = Replica(f"rep_{uuid7().hex}", self.build)
        await replicas.register(
            self.database, replica.id, replica.build, await self.clock(self.database)
        )
        self.replica, self.next_seq, self._seq_known = replica, 1, True
        self._beat_at, self._fenced = began, False
        log.info("replica_entered", replica=replica.id)

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S if self._probes else None):
                    await self._wanted.wait()
            await asyncio.sleep(0)  # whoever is ready now may still come along: a fifth more
            batch = self._take()
            try:
                await self._write(batch)
            except Exception as error:  # noqa: BLE001 - if this task died, its callers would hang
                self._fail(await self._spooled(batch, error), error)
            else:
                self._succeed(batch)

    def _take(self) -> list[Group]:
        batch: list[Group] = []
        room = store.MAX_BATCH
        while self._queue and (room := room - len(self._queue[0].entries) - 1) >= 0:
            batch.append(self._queue.popleft())
        if not self._queue:
            self._wanted.clear()
        return batch

    async def _prepare(self) -> None:
        if self._fenced:
            await self._enter()
        if self.monotonic() - self._beat_at > self.lease_s:
            raise _unavailable("this replica has lost its lease on the decision log")
        if not self._seq_known:
            await self._read_seq()

    @property
    def _probes(self) -> bool:
        return self._failing or self._fenced or self._waiting

    @property
    def _waiting(self) -> bool:
        """Whether something is in the spool. INVARIANT: then `_drain` alone writes the log."""
        return self.spool is not None and self.spool.entries > 0

    async def _write(self, batch: list[Group]) -> None:
        if self._waiting:
            self._begin_draining()
            raise _unavailable("what was recorded before still waits for the decision log")
        await self._prepare()
        await self._append(flattened(batch))

    def _begin_draining(self) -> None:
        # In the background: a database that hangs takes its time to say no, and whatever is
        # queued meanwhile goes into the spool behind what waits there.
        idle = self._draining is None or self._draining.done()
        if idle and self.monotonic() >= self._next_try:
            self._draining = asyncio.create_task(self._try_to_drain(), name="audit-spool")

    async def _try_to_drain(self) -> None:
        try:
            await self._drain()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
            log.warning("audit_spool_waits", kind=type(error).__name__)
            self._fenced = self._fenced or isinstance(error, store.Fenced)
            self._seq_known = False
            self._next_try = self.monotonic() + PROBE_S

    async def _drain(self) -> None:
        """Write what waits in the spool, in order."""
        await self._prepare()
        while self.spool is not None and (batch := self.spool.oldest()):
            await self._append(list(batch))
            self.spool.forget(batch)
            if self.monotonic() - self._beat_at > self.lease_s / 3:
                await self.beat(1)  # at the start nobody else does yet; the bound is a safe one
        log.info("audit_spool_written")
        self._wanted.set()

    async def _spooled(self, batch: list[Group], error: Exception) -> list[Group]:
        """Put into the spool what may wait there; return the groups that must fail."""
        for group in batch:
            if group.admission is not None:
                group.admission.in_batch = False
        kept = [group for group in batch if group.spools]
        if self.spool is None or not kept or not _away(error):
            return batch
        try:
            await asyncio.to_thread(self.spool.append, flattened(kept))
        except (SpoolFull, OSError) as full:
            log.error("audit_spool_failed", kind=type(full).__name__)  # noqa: TRY400 - not ours
            return batch
        self._succeed(kept, in_log=False)
        return [group for group in batch if not group.spools]

    async def _append(self, entries: list[Entry]) -> None:
        if self.next_seq == 1:  # INVARIANT: a replica's first entry says that it started
            entries.insert(0, replica_started())
        for _ in range(_CONFLICT_ATTEMPTS):
            rows = [
                entry.row(self.replica, seq) for seq, entry in enumerate(entries, self.next_seq)
            ]
            if not rows:
                return
            try:
                sealed = together(entry.sealed for entry in entries)
                await self._sink.append(rows, self.replica.id, sealed)
            except store.Conflict:
                await self._read_seq()
                entries = await self._without_conflicts(entries)
            else:
                self.next_seq += len(rows)  # INVARIANT: moves after the commit only
                return
        raise _unavailable("the decision log is contended")

    async def _read_seq(self) -> None:
        self.next_seq = 1 + await store.last_replica_seq(self.database, self.replica.id)
        self._seq_known = True

    async def _without_conflicts(self, entries: Sequence[Entry]) -> list[Entry]:
        # An entry is there already when a commit went through and we never heard of it.
        # A request has ended already when a sweeper took this replica for dead.
        present = await store.present(self.database, [entry.id for entry in entries])
        ends = [entry.request_id for entry in entries if entry.terminal and entry.request_id]
        ended = await store.ended(self.database, ends)
        kept: list[Entry] = []
        for entry in entries:
            if entry.id in present:
                continue
            if not entry.terminal or entry.request_id not in ended:
                kept.append(entry)
            elif entry.type != "request.lost":  # lost twice says nothing new
                kept.append(closed_late(entry))
            if entry.terminal and entry.request_id:
                ended.add(entry.request_id)
        return kept

    def _refuse_all(self, _task: asyncio.Task[None]) -> None:
        # However the task ended: nobody may wait for what will never be written.
        self._stopped = True
        waiting = list(self._queue)
        self._queue.clear()
        self._fail(waiting, _unavailable("the decision log is closed"))

    def _succeed(self, batch: list[Group], in_log: bool = True) -> None:
        for group in batch:
            if group.admission is not None and group.admission.in_batch:
                group.admission.in_batch, group.admission.written = False, True
            if not group.done.done():  # cancelled when its caller has gone
                group.done.set_result(None)
            if group.settle is not None:
                group.settle(True)
        if self._failing and in_log:
            self._failing = False
            log.info("audit_log_recovered")
            self.recovered()

    def _fail(self, batch: list[Group], error: Exception) -> None:
        if isinstance(error, store.Fenced):
            self._fenced = True
        if batch:
            log.error("audit_batch_failed", groups=len(batch), kind=type(error).__name__)
        # After a lapsed lease, too: the ends that were refused wait for `recovered`.
        self._failing = self._failing or _away(error)
        self._seq_known = False
        for group in batch:
            if group.admission is not None:
                group.admission.in_batch = False
            if not group.done.done():
                failure = _unavailable("the decision log cannot be written")
                failure.__cause__ = error
                group.done.set_exception(failure)
            if group.settle is not None:
                group.settle(False)


def _away(error: Exception) -> bool:
    return isinstance(error, StoreUnavailable | AuditUnavailable | store.Fenced)


def _unavailable(message: str) -> AuditUnavailable:
    return AuditUnavailable(message, retry_after_s=PROBE_S)
