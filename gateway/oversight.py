"""Reviews exchanges that have ended: the monitor's third tier, off the request's way.

An exchange in which the monitor found or suspected something, or one of a sample, goes to a judge
that reads all of it. What the judge finds is decided by the rules that name it, recorded in the log
(`oversight.decided`), and has the consequences that a decision has: a stopped conversation, an
alert. Nothing of the exchange can be taken back. It counts against no end user.

What it will not do: keep a request waiting, or forget in silence. The queue is bounded; what does
not fit, what the judge gives no answer about and what is still waiting at shutdown is counted, and
recorded as not reviewed (`oversight.skipped`). What a killed process had waiting is lost, and with
it only the review: the decisions that made it worth one are in the log.

What waits is content, in memory only.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Protocol

import structlog

from classifiers.categories import MISALIGNMENT
from classifiers.judges.overseer import Opinion
from classifiers.types import (
    TOO_LONG,
    Assessment,
    Passage,
    Receipt,
    Source,
    Step,
    Verdict,
)
from gateway.audit import oversight_records as records
from gateway.audit.entry import Entry
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from policies.evaluate import evaluate
from policies.types import Decision, Policy, Stage

MOST_WAITING = 256  # exchanges
MOST_CHARS = 16 * 1024 * 1024  # of them together, code points
AT_ONCE = 2  # reviews that go on at the same time
_MODELS = frozenset({Source.ANALYSIS, Source.CALL, Source.COMMENTARY, Source.FINAL})
_STAGES: Mapping[str, Stage] = {"thought": Stage.REASONING, "none": Stage.REASONING}

FLAGGED, SAMPLED = "flagged", "sampled"
QUEUE_FULL, SHUTDOWN, FAILED = "queue_full", "shutdown", "failed"

log = structlog.get_logger(__name__)


class Reviewer(Protocol):
    """A judge that reads whole trajectories; see `classifiers.judges.overseer`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as a classifier's

    @property
    def digest(self) -> str: ...  # noqa: D102 - as a classifier's

    async def review(self, steps: Sequence[Step]) -> Opinion | str:
        """Judge a trajectory; return the reason code if there is no answer."""
        ...


class Log(Protocol):
    """The decision log, after an exchange has ended."""

    async def append(self, *entries: Entry) -> None:
        """Append entries; durable on return. Raises `AuditUnavailable`."""
        ...


class Follower(Protocol):
    """Does what follows from a decision; see `gateway.consequences`."""

    async def follow(
        self,
        exchange: Exchange,
        decision: Decision,
        new: Collection[int] | None,
        recorded: Awaitable[object],
    ) -> None:
        """Do it, durably, once the decision is `recorded`."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An exchange that waits for its review, and why it is reviewed."""

    exchange: Exchange
    steps: tuple[Step, ...]
    why: str
    chars: int


@dataclass(slots=True, eq=False)
class Oversight:
    """The reviews of one gateway. Owned by the event loop.

    Attributes:
        reviewer: Who reviews; None reviews nothing.
        log: Where it is recorded.
        follower: Does what follows.
        percent: The share of unsuspicious exchanges that are reviewed, 0 to 100.
        count: Told how each review ended.
        most_waiting: How many exchanges wait at most.
    """

    reviewer: Reviewer | None
    log: Log
    follower: Follower
    percent: float = 0.0
    count: Callable[[str, int], None] = lambda result, waiting: None
    most_waiting: int = MOST_WAITING
    _queue: asyncio.Queue[_Waiting] = field(default_factory=asyncio.Queue, init=False)
    _chars: int = field(default=0, init=False)
    _closing: bool = field(default=False, init=False)
    _workers: list[asyncio.Task[None]] = field(default_factory=list, init=False)
    _notes: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    def start(self) -> None:
        """Begin to review."""
        if self.reviewer is not None:
            self._workers = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]

    def consider(self, exchange: Exchange) -> None:
        """Take an exchange that has ended, if it is to be reviewed; waits for nothing."""
        why = self._why(exchange)
        if why is None:
            return
        steps = tuple(exchange.course.steps)
        waiting = _Waiting(exchange, steps, why, sum(len(step.text) for step in steps))
        full = self._queue.qsize() >= self.most_waiting or self._chars + waiting.chars > MOST_CHARS
        if full or self._closing:
            self._skip(waiting, QUEUE_FULL if full else SHUTDOWN)
            return
        self._chars += waiting.chars
        self._queue.put_nowait(waiting)

    async def aclose(self, drain_s: float) -> None:
        """Review what waits for up to `drain_s` seconds; record the rest as not reviewed."""
        self._closing = True
        if not self._workers:
            return
        try:
            async with asyncio.timeout(drain_s):
                await self._queue.join()
        except TimeoutError:
            log.warning("oversight_cut_short", waiting=self._queue.qsize())
        for worker in self._workers:
            worker.cancel()  # notes what it had in hand
        await asyncio.gather(*self._workers, return_exceptions=True)
        while not self._queue.empty():
            self._skip(self._queue.get_nowait(), SHUTDOWN)
        if self._notes:
            await asyncio.wait(self._notes)

    def _why(self, exchange: Exchange) -> str | None:
        """Return why an exchange is to be reviewed, or None."""
        said = any(step.source in _MODELS for step in exchange.course.replied())
        if self.reviewer is None or not said or exchange.stopped is not None:
            return None  # of a conversation that was stopped nothing more can follow
        if any(
            outcome.category in MISALIGNMENT
            for decision in exchange.decisions
            for outcome in decision.outcomes
        ):
            return FLAGGED
        return SAMPLED if sampled(exchange.id, self.percent) else None

    async def _work(self) -> None:
        while True:
            waiting = await self._queue.get()
            try:
                await self._review(waiting)
            except asyncio.CancelledError:
                self._skip(waiting, SHUTDOWN)
                raise
            except Exception as error:  # noqa: BLE001 - the boundary: the next one has its turn
                log.warning("oversight_failed", reason=type(error).__name__)
                self._skip(waiting, FAILED)
            finally:
                self._chars -= waiting.chars
                self._queue.task_done()

    async def _review(self, waiting: _Waiting) -> None:
        assert self.reviewer is not None  # noqa: S101 - there are no workers without one
        begun = perf_counter()
        told = await self.reviewer.review(waiting.steps)
        if isinstance(told, str):
            self._skip(waiting, told)
            return
        exchange = waiting.exchange
        elapsed_ms = (perf_counter() - begun) * 1000
        decision = decide(exchange, waiting.steps, told, self.reviewer, elapsed_ms)
        decision_id, entry = records.decided(exchange, decision, told, waiting.why)
        recorded = asyncio.ensure_future(self.log.append(entry))
        exchange.decisions.append(decision)
        exchange.decision_ids.append(decision_id)
        try:
            await self.follower.follow(exchange, decision, None, recorded)
        finally:
            await asyncio.shield(recorded)
        self.count("violation" if told.categories else "clear", self._queue.qsize())

    def _skip(self, waiting: _Waiting, reason: str) -> None:
        """Note that an exchange was not reviewed, without waiting for it to be written."""
        exchange = waiting.exchange
        log.warning("oversight_skipped", request_id=exchange.id, reason=reason)
        self.count("dropped" if reason in (QUEUE_FULL, SHUTDOWN) else "unanswered", self.waiting)
        entry = records.skipped(exchange, waiting.why, reason)
        task = asyncio.create_task(self._append(entry))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _append(self, entry: Entry) -> None:
        try:
            await self.log.append(entry)
        except GatewayError as error:
            log.warning("oversight_skip_unrecorded", reason=str(error))

    @property
    def waiting(self) -> int:
        """How many exchanges wait."""
        return self._queue.qsize()


def sampled(request_id: str, percent: float) -> bool:
    """Return whether a request is of the sample: the same wherever and whenever it is asked."""
    place = int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8], "big")
    return place < percent / 100 * 2**64


def decide(
    exchange: Exchange,
    steps: Sequence[Step],
    told: Opinion,
    reviewer: Reviewer,
    elapsed_ms: float,
) -> Decision:
    """Return what the rules that name the reviewer make of its opinion.

    Decided at the stage of what it found: `reasoning` for a thought; for an act `tool_call`, or
    `output` where nothing was called.
    """
    policy = _narrowed(exchange.policy, reviewer.name.partition("@")[0])
    called = any(step.source is Source.CALL for step in exchange.course.replied())
    stage = _STAGES.get(told.part, Stage.TOOL_CALL if called else Stage.OUTPUT)
    source = {Stage.REASONING: Source.ANALYSIS, Stage.TOOL_CALL: Source.CALL}
    verdicts = [Verdict(reviewer.name, name, score) for name, score in told.scores().items()]
    if told.unread:
        verdicts += [
            Verdict(reviewer.name, name, None, error=TOO_LONG, unread=told.unread)
            for name in MISALIGNMENT
        ]
    chars = sum(len(step.text) for step in steps)
    receipt = Receipt(
        reviewer.name,
        reviewer.digest,
        chars - told.unread,
        told.unread,
        elapsed_ms,
        TOO_LONG if told.unread else None,
    )
    assessment = Assessment(
        passages=(Passage(source.get(stage, Source.FINAL), ""),),
        verdicts=(tuple(verdicts),),
        receipts=(receipt,),
        on_request=dict.fromkeys(MISALIGNMENT, frozenset({reviewer.name})),
        asked={reviewer.name: frozenset((0, name) for name in MISALIGNMENT)},
    )
    return evaluate(policy, stage, assessment, exchange.circumstances)


def _narrowed(policy: Policy, name: str) -> Policy:
    """Return the policy with the rules that ask this judge about misalignment; it decides alone."""
    rules = tuple(
        rule
        for rule in policy.rules
        if rule.category in MISALIGNMENT
        and (name in rule.classifiers or name in {rung.classifier for rung in rule.rungs})
    )
    return replace(policy, rules=rules)
