"""The decision log as the pipeline sees it: durable on return, or `AuditUnavailable`.

Every exchange that is opened is closed exactly once, on every exit: a reply, a refusal,
an error, a hang-up. Its terminal record is written even if its caller is gone. If the
log is away just then, the record is kept and written when it is back; if this process
dies first, the sweeper of another replica writes `request.lost`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from gateway.audit import records
from gateway.audit.answers import Names, panel_recorded
from gateway.audit.entry import Entry, Replica
from gateway.audit.groups import Admission
from gateway.audit.spool import Spool
from gateway.audit.vault import Kept
from gateway.audit.writer import Writer
from gateway.errors import AuditUnavailable, GatewayError, StoreUnavailable
from gateway.exchange import Exchange
from gateway.store import replicas
from gateway.store.entries import EntryWriter, open_writer
from gateway.store.keyfile import read_or_create
from gateway.store.session import Database
from gateway.types import Outcome
from policies.types import Decision, Policy

_MAX_UNWRITTEN = 4096  # terminal records kept while the log is away

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Life:
    """What the ledger knows of an exchange that has not ended."""

    exchange: Exchange
    subject: str | None  # the end user's pseudonym
    admission: Admission
    replica: Replica
    from_seq: int  # no entry of it has a smaller replica_seq
    since: float  # monotonic, seconds
    undecided: bool = False  # a decision of it could not be written


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision on its way into the log: await it before acting on the decision."""

    id: str
    durable: asyncio.Future[None]

    def __await__(self) -> Generator[Any, None, str]:
        """Return the decision's id once it is durable. Raises `AuditUnavailable`."""
        yield from self.durable
        return self.id


class Ledger:
    """Appends to the decision log. Create and start it in a running event loop.

    Args:
        database: Migrated.
        home: Holds `keys/pseudonym`, the secret behind end users' pseudonyms.
        lease_s: After this long without a heartbeat a replica counts as dead, seconds.
            `gateway.audit.sweeper.Sweeper` writes the heartbeats; start one.
        monotonic: This process's clock, seconds.
        clock: The clock that all replicas share, Unix seconds.
        open_sink: What batches of entries are given to.

    Attributes:
        spool: Where records wait while the log is away, of exchanges whose policy lets them;
            set it before `start`, which opens it.
        cancelled_as: The outcome of an exchange whose task is cancelled; set it to
            `aborted` when it is us who cancel, at shutdown.
    """

    def __init__(
        self,
        database: Database,
        home: Path,
        *,
        lease_s: float = 15.0,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[Database], Awaitable[float]] = replicas.database_time,
        open_sink: Callable[[Database], EntryWriter] = open_writer,
    ):
        self.database = database
        self.lease_s = lease_s
        self.clock = clock
        self.cancelled_as = Outcome.CLIENT_DISCONNECTED
        self.spool: Spool | None = None
        self._home = home
        self._subject_key = b""
        self._monotonic = monotonic
        self._writer = Writer(
            database, _build(), lease_s, monotonic, clock, self._write_unwritten, open_sink
        )
        self.cancelled_as = Outcome.CLIENT_DISCONNECTED
        self._cast: tuple[Names, Names, str] | None = None  # the last one, and its entry's id
        self._lives: dict[str, _Life] = {}
        self._unwritten: deque[tuple[_Life, Entry]] = deque()

    async def start(self) -> None:
        """Enter this replica and begin to write.

        Raises:
            AuditUnavailable: If the log cannot be written.
            OSError: If the secret under `home` can neither be read nor made, or the spool
                cannot be read.
        """
        path = self._home / "keys" / "pseudonym"
        self._subject_key = await asyncio.to_thread(read_or_create, path)
        if self.spool is not None:
            await asyncio.to_thread(self.spool.open)
            self._writer.spool = self.spool
        try:
            await self._writer.start()
        except StoreUnavailable as error:
            raise AuditUnavailable(str(error), retry_after_s=error.retry_after_s) from error
        await self.append()  # nothing but `replica.started`, which the writer adds

    async def aclose(self) -> None:
        """Write what is queued, say that this replica stops, and stop.

        Exchanges that are still open then are left to another replica's sweeper.
        """
        try:
            await self.append(records.replica_stopped("shutdown"))
            await self._writer.aclose()
            if not self._lives:
                now = await self.clock(self.database)
                await replicas.mark_swept(self.database, self.replica, now)
        except (AuditUnavailable, StoreUnavailable) as error:
            log.warning("replica_stopped_unrecorded", error=str(error))
        finally:
            await self._writer.aclose()
            if self.spool is not None:
                self.spool.close()

    @property
    def healthy(self) -> bool:
        """Whether an entry appended now would be tried.

        While False nothing is admitted, unless its policy lets its records wait in the spool.
        """
        return self._writer.refusal() is None

    def would_record(self, policy: Policy) -> bool:
        """Return whether a request under a policy would be admitted."""
        return self._writer.refusal(policy.spools) is None

    @property
    def replica(self) -> str:
        """The id this process writes under; a new one after it was taken for dead."""
        return self._writer.replica.id

    async def append(self, *entries: Entry) -> None:
        """Append entries, at most 100, in one transaction; durable on return.

        Raises:
            AuditUnavailable: If they are not known to be durable.
        """
        await self._writer.put(*entries)

    def exchange(self, exchange: Exchange) -> AbstractAsyncContextManager[Exchange]:
        """Open `exchange`; leaving it writes its terminal record, on every exit path.

        The record says `exchange.outcome`. If that is None it is set from how the block
        was left: `client_disconnected` when cancelled, `error` for another exception,
        `completed` otherwise.

        Raises:
            AuditUnavailable: On entering, while the log is away; on leaving without an
                exception, if the terminal record is not durable (it will be, later).
        """
        return _Opened(self, exchange)

    def record(self, exchange: Exchange, decision: Decision, kept: Kept | None = None) -> Recorded:
        """Queue `decision` and add it to `exchange`; it may be acted on once durable.

        Args:
            exchange: Whose; open.
            decision: What was decided.
            kept: The content that is written with it.

        Returns:
            Its id, to be awaited: that returns when it is durable and raises
            `AuditUnavailable` when it is not, and then it must not be acted on.

        Raises:
            AuditUnavailable: If it cannot even be queued.
        """
        life = self._lives[exchange.id]
        panel, unrecorded = self._panel(decision)
        decision_id, entry = records.decided(exchange, decision, life.subject, kept, panel)
        recorded = Recorded(decision_id, self._append_to(life, *unrecorded, entry))
        if unrecorded:
            recorded.durable.add_done_callback(self._panel_heard)
        exchange.decisions.append(decision)
        exchange.decision_ids.append(decision_id)
        return recorded

    def stream_started(self, exchange: Exchange) -> asyncio.Future[None]:
        """Queue that a stream began; no byte leaves before it is durable. As `record`."""
        life = self._lives[exchange.id]
        return self._append_to(life, records.stream_started(exchange, life.subject))

    async def beat(self) -> None:
        """Write this replica's heartbeat. Raises `StoreUnavailable`."""
        replica = self.replica
        own = (life.from_seq for life in self._lives.values() if life.replica.id == replica)
        await self._writer.beat(min(own, default=self._writer.next_seq))

    def _panel(self, decision: Decision) -> tuple[str | None, list[Entry]]:
        """Return the id of the entry that says who answered; and the entry, if it is new."""
        if not decision.covered and not decision.on_request:
            return None, []
        known = self._cast
        if known and known[0] is decision.covered and known[1] is decision.on_request:
            return known[2], []
        entry = panel_recorded(decision.covered, decision.on_request)
        self._cast = (decision.covered, decision.on_request, entry.id)
        return entry.id, [entry]

    def _panel_heard(self, done: asyncio.Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._cast = None  # the next decision brings it again

    def _append_to(self, life: _Life, *entries: Entry) -> asyncio.Future[None]:
        if life.replica is not self._writer.replica:
            raise AuditUnavailable("this request was declared lost in the decision log")
        spools = life.exchange.policy.spools
        done = self._writer.put(*entries, admission=life.admission, spools=spools)
        done.add_done_callback(partial(_heard, life))
        return done

    def subject_of(self, project: str, safety_identifier: str | None) -> str | None:
        """Return the pseudonym that stands for an end user, or None for nobody known."""
        return records.pseudonym(self._subject_key, project, safety_identifier)

    def _open(self, exchange: Exchange) -> None:
        refusal = self._writer.refusal(exchange.policy.spools)
        if refusal is not None:
            raise refusal
        project = exchange.principal.project
        subject = self.subject_of(project, exchange.safety_identifier)
        self._lives[exchange.id] = _Life(
            exchange,
            subject,
            Admission(records.admitted(exchange, subject)),
            self._writer.replica,
            self._writer.next_seq,
            self._monotonic(),
        )

    def _close(self, exchange: Exchange) -> asyncio.Future[None]:
        life = self._lives[exchange.id]
        duration_s = self._monotonic() - life.since
        return self._put_end(life, records.closed(exchange, life.subject, duration_s))

    def _put_end(self, life: _Life, entry: Entry) -> asyncio.Future[None]:
        settle, spools = partial(self._ended, life, entry), life.exchange.policy.spools
        return self._writer.put(entry, admission=life.admission, settle=settle, spools=spools)

    def _ended(self, life: _Life, entry: Entry, written: bool) -> None:
        if written:
            del self._lives[life.exchange.id]
            return
        self._unwritten.append((life, entry))
        if len(self._unwritten) > _MAX_UNWRITTEN:
            # Left to a sweeper: the life stays, and with it the bound it searches from.
            dropped, _ = self._unwritten.popleft()
            log.error("terminal_record_left_to_sweeper", request_id=dropped.exchange.id)

    def _write_unwritten(self) -> None:
        waiting, self._unwritten = self._unwritten, deque()
        for life, entry in waiting:
            if life.undecided and not life.exchange.stream and entry.type == "request.completed":
                entry = records.withheld(entry)
            # Nobody waits for it; `settle` hears how it went.
            self._put_end(life, entry).add_done_callback(_retrieve)


class _Opened(AbstractAsyncContextManager[Exchange]):
    """An open exchange as a context; see `Ledger.exchange`."""

    __slots__ = ("_exchange", "_ledger")

    def __init__(self, ledger: Ledger, exchange: Exchange):
        self._ledger = ledger
        self._exchange = exchange

    async def __aenter__(self) -> Exchange:
        self._ledger._open(self._exchange)
        return self._exchange

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        exchange = self._exchange
        if exchange.outcome is None:
            self._set_outcome(error)
        try:
            # Queued before the first await, so that it is written even if we are
            # cancelled while we wait for it.
            await self._ledger._close(exchange)
        except AuditUnavailable:
            log.warning("terminal_record_delayed", request_id=exchange.id)
            if error is None:  # nobody may be told of an end that is not in the log
                raise

    def _set_outcome(self, error: BaseException | None) -> None:
        exchange = self._exchange
        if error is None:
            exchange.outcome = Outcome.COMPLETED
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            exchange.outcome = self._ledger.cancelled_as
        else:
            exchange.outcome = Outcome.ERROR
            code = error.code if isinstance(error, GatewayError) else None
            exchange.reason = exchange.reason or code or type(error).__name__


def _heard(life: _Life, done: asyncio.Future[None]) -> None:
    # Also for an exchange that ended early and waits no more.
    if not done.cancelled() and done.exception() is not None:
        life.undecided = True


def _retrieve(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()


def _build() -> str:
    try:
        return version("ostiary")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "checkout"
