"""The life of one request. Read `Pipeline.answer` top to bottom; it is the product.

    admit -> judge the prompt -> generate -> judge each thought, call and passage -> release

Promises, each tested in tests/unit/gateway/test_pipeline.py:

* Nothing reaches the caller before the decision that allowed it is durable.
* A stop in the thought ends generation before the first visible character.
* Every request that is admitted leaves exactly one closed exchange in the log,
  whether it ended in a reply, a refusal, an error or a hang-up.

What it will not do: decide (that is `policies.evaluate`), know any wire format, or hide
reasoning (that is `gateway.api`, which is told what is reasoning).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from secrets import token_bytes
from typing import TypeAlias

from classifiers.types import Passage, Source
from gateway.disclaimers import disclaimer
from gateway.exchange import Exchange
from gateway.holdback import OVERLAP_CHARS, Ahead, Held, Holdback
from gateway.keeping import Said, said
from gateway.passages import prompt_portions, redact_prompt, reply_passage
from gateway.redaction import Redactor
from gateway.refusing import refusal_text
from gateway.results import cut, for_model
from gateway.roles import DecisionLog, Enforcer, Follower, Keeper, Reviewer
from gateway.types import Outcome, Stopped
from model_runner.types import Delta, Finish, MalformedOutput, Runner, RunnerTimeout
from policies.cascade import Panel, assess
from policies.evaluate import evaluate
from policies.striking import striking
from policies.types import STAGE_OF, Action, Decision, Stage


@dataclass(frozen=True, slots=True)
class Admitted:
    """The prompt may go to the model; nothing has been generated yet."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The safe completion sent instead of what was blocked.

    Attributes:
        decision: Why.
        decision_id: Its id in the log.
        prompt: Whether the prompt itself was blocked, so that no model was asked.
        stopped: By what the whole conversation was stopped, if it was.
    """

    decision: Decision
    decision_id: str
    prompt: bool
    stopped: Stopped | None = None


Reply: TypeAlias = Admitted | Delta | Refusal | Finish


@dataclass(frozen=True, slots=True)
class _Judged:
    """Something that may leave as soon as the decisions about it are durable."""

    item: Delta | Refusal | Finish
    recorded: Sequence[Awaitable[object]]

    async def released(self) -> Delta | Refusal | Finish:
        """Return the item once it may leave. Raises `AuditUnavailable`."""
        for durable in self.recorded:
            await durable
        return self.item


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Runner, classifiers and log, wired once in `gateway.app`.

    Attributes:
        runner: Where tokens come from.
        panel: The classifiers.
        log: The decision log.
        enforcer: Counts violations; None counts none.
        keeper: Keeps content; None keeps none.
        follower: Does what follows from decisions; None does nothing.
        reviewer: Has people decide about tool calls; None releases none that is held.
        timeout_s: Longest time one reply may take, seconds.
        key: What results are marked with, so that nobody can foresee it; secret.
    """

    runner: Runner
    panel: Panel
    log: DecisionLog
    enforcer: Enforcer | None = None
    keeper: Keeper | None = None
    follower: Follower | None = None
    reviewer: Reviewer | None = None
    timeout_s: float = 600.0
    key: bytes = field(default_factory=partial(token_bytes, 32), repr=False)

    async def answer(self, exchange: Exchange) -> AsyncGenerator[Reply]:
        """Stream the judged reply: `Admitted`, deltas, then one `Finish` or `Refusal`.

        A reader of a stream gets each delta as soon as its decision is durable. A unary
        caller has no use for a part, so everything of it is made durable at once, by the
        commit that holds the terminal record.

        Deltas of the analysis channel are judged thoughts; who may see them is the
        wire format's business. A prompt that is blocked yields one `Refusal` alone.

        Raises:
            RunnerError: If the model failed; what was yielded before stands.
            AuditUnavailable: If a decision could not be made durable.
        """
        kept: list[_Judged] = []
        async with self.log.exchange(exchange):
            refusal = await self._judge_prompt(exchange)
            if refusal is not None:
                kept.append(refusal)
            else:
                yield Admitted()
                async with aclosing(self._judged(exchange)) as reply:
                    async for judged in reply:
                        if exchange.stream and isinstance(judged.item, Delta):
                            yield await judged.released()
                        else:
                            kept.append(judged)
        for judged in kept:  # the terminal record is durable: now the caller may know
            yield await judged.released()

    async def moderate(self, exchange: Exchange, passages: Sequence[Passage]) -> list[Decision]:
        """Judge each passage as input by itself, record the decisions, and ask no model."""
        async with self.log.exchange(exchange):
            taken = [await self._decide(exchange, Stage.INPUT, (passage,)) for passage in passages]
            for _, durable in taken:
                await durable
            exchange.outcome = Outcome.COMPLETED
        return [decision for decision, _ in taken]

    async def _judge_prompt(self, exchange: Exchange) -> _Judged | None:
        """Judge all of the prompt; return the refusal, or None once the model may be asked."""
        recorded: list[Awaitable[object]] = []
        exchange.prompt = cut(exchange.prompt, exchange.policy.terms)
        for portion in prompt_portions(exchange.prompt):
            decision, entry = await self._decide(
                exchange, portion.stage, portion.passages, portion.new
            )
            recorded.append(entry)
            if not (decision.released or portion.settled(decision.action)):
                return _Judged(_refuse(exchange, decision, prompt=True), recorded)
            if decision.redactions:
                exchange.prompt = redact_prompt(exchange.prompt, portion, decision.redactions)
        if exchange.stream:
            recorded.append(self.log.stream_started(exchange))
        for durable in recorded:  # queued together, so this is one commit
            await durable
        return None

    async def _judged(self, exchange: Exchange) -> AsyncGenerator[_Judged]:
        """Generate, and yield only what the policy lets out."""
        exchange.steps.replying = True
        redactor = Redactor(exchange.prompt)
        exchange.course.begin(exchange.prompt)
        last: Delta | None = None  # the last passage
        async with aclosing(self._passages(exchange)) as passages:
            async for item in passages:
                if isinstance(item, Finish):
                    if disclaimed := disclaimer(exchange, last):
                        yield _Judged(exchange.release(disclaimed), ())
                    if self.follower is not None:
                        await self.follower.completed(exchange)
                    exchange.usage, exchange.outcome = item.usage, Outcome.COMPLETED
                    yield _Judged(item, ())
                elif isinstance(item, Ahead):
                    yield _Judged(exchange.release(item.delta), ())
                else:
                    judged = await self._judge_held(exchange, item, redactor)
                    last = item.delta
                    if isinstance(judged.item, Refusal):
                        await self._refused(exchange, judged.item)
                        yield judged
                        return
                    yield judged

    async def _refused(self, exchange: Exchange, refusal: Refusal) -> None:
        """Note that the reply ends in a refusal: behind one that stops nothing it may go on."""
        if self.follower is not None and refusal.stopped is None:
            await self.follower.completed(exchange, refusal_text(refusal.decision))

    async def _passages(self, exchange: Exchange) -> AsyncGenerator[Held | Ahead | Finish]:
        """Regroup the runner's deltas into passages; stop the model when closed."""
        # Who reads a reply only when it is whole gains nothing by an unjudged part of it.
        budget = exchange.policy.max_unscreened_chars if exchange.stream else 0
        holdback = Holdback(budget, stream=exchange.stream)
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        read = for_model(exchange.prompt, exchange.policy.terms, self.key)
        async with aclosing(self.runner.generate(read)) as deltas:
            while True:
                delta = await self._next(deltas, deadline + exchange.held_s)
                ready = holdback.flush() if isinstance(delta, Finish) else holdback.push(delta)
                for item in ready:
                    yield item
                if isinstance(delta, Finish):
                    yield delta
                    return

    async def _next(
        self, deltas: AsyncGenerator[Delta | Finish], deadline: float
    ) -> Delta | Finish:
        """Return what the model says next, if it is well-formed and comes in time."""
        try:
            async with asyncio.timeout_at(deadline):
                delta = await anext(deltas)
        except StopAsyncIteration:
            raise MalformedOutput("the reply broke off") from None
        except TimeoutError:
            raise self._late() from None
        if asyncio.get_running_loop().time() > deadline:  # a model that never waits
            raise self._late()
        if isinstance(delta, Delta) and not delta.text.isascii():
            _check_characters(delta.text)
        return delta

    def _late(self) -> RunnerTimeout:
        return RunnerTimeout(f"the reply took longer than {self.timeout_s:g} s")

    async def _judge_held(self, exchange: Exchange, held: Held, redactor: Redactor) -> _Judged:
        passage = reply_passage(held.delta, held.before, exchange.prompt, exchange.course)
        passage = replace(passage, secrets=exchange.noted.secrets)
        exchange.course.add(held.delta)
        decisions = [await self._judge(exchange, STAGE_OF[passage.source], (passage,))]
        exposed = exchange.exposed and decisions[0].stage is Stage.REASONING
        if exposed and decisions[0].released:
            decisions.append(await self._judge(exchange, Stage.OUTPUT, (passage,)))
        redactions = [cut for decision in decisions for cut in decision.redactions]
        what = said(decisions[0].stage, (passage,), redactions, held.delta.message)
        recorded: list[Awaitable[object]] = []
        for decision in decisions:
            recorded.append(await self._record(exchange, decision, what))
            what = []  # once is enough
        last = decisions[-1]
        approved = last.released or await self._approved(exchange, last, held.delta, recorded[-1])
        if not approved:
            return _Judged(_refuse(exchange, last, prompt=False), recorded)
        text = redactor.redact(held.delta.message, held.delta.text, redactions, held.ahead)
        released = replace(held.delta, text=text)
        if decisions[0].stage is Stage.REASONING:
            recorded += await self._summarise(exchange, passage, released)
        return _Judged(exchange.release(released), recorded)

    async def _summarise(
        self, exchange: Exchange, passage: Passage, released: Delta
    ) -> list[Awaitable[object]]:
        """Add what may be read of a released thought to its summary; return the records of it.

        A sentence that may not leave as output is left out, without a record: it does not.
        """
        recorded: list[Awaitable[object]] = []
        summary, message = exchange.summary, released.message
        for sentence in summary.sentences(released) if summary else ():
            if summary is None or not summary.fits(message, sentence):
                break
            before = summary.of(message)[-OVERLAP_CHARS:]
            shown = replace(passage, source=Source.FINAL, text=sentence, before=before)
            assessment = await assess(self.panel, exchange.policy, Stage.OUTPUT, (shown,))
            trail = exchange.steps.at(Stage.OUTPUT, assessment)
            decision = evaluate(
                exchange.policy, Stage.OUTPUT, assessment, exchange.circumstances, trail
            )
            if decision.action <= Action.FLAG:
                summary.add(message, sentence)
                recorded.append(await self._record(exchange, decision, ()))
        return recorded

    async def _approved(
        self, exchange: Exchange, decision: Decision, delta: Delta, recorded: Awaitable[object]
    ) -> bool:
        """Return whether a person lets out a tool call that is held; nothing else is asked of."""
        held = decision.stage is Stage.TOOL_CALL and decision.action is Action.REVIEW
        if not held or delta.tool is None or self.reviewer is None:
            return False
        return await self.reviewer.hold(exchange, decision, delta.tool, recorded)

    async def _decide(
        self,
        exchange: Exchange,
        stage: Stage,
        passages: tuple[Passage, ...],
        new: Collection[int] | None = None,
    ) -> tuple[Decision, Awaitable[str]]:
        """Judge, evaluate, record; the decision may be acted on once the second is done."""
        decision = await self._judge(exchange, stage, passages)
        what = said(stage, passages, decision.redactions)
        return decision, await self._record(exchange, decision, what, new)

    async def _judge(
        self, exchange: Exchange, stage: Stage, passages: tuple[Passage, ...]
    ) -> Decision:
        assessment = await assess(self.panel, exchange.policy, stage, passages)
        exchange.noted.read(assessment)
        trail = exchange.steps.at(stage, assessment)
        decision = evaluate(exchange.policy, stage, assessment, exchange.circumstances, trail)
        exchange.disclaimers += [
            text for text in decision.disclaimers if text not in exchange.disclaimers
        ]
        return decision

    async def _record(
        self,
        exchange: Exchange,
        decision: Decision,
        what: Sequence[Said],
        new: Collection[int] | None = None,
    ) -> Awaitable[str]:
        """Record a decision and what it was about; it may be acted on once that is done.

        A decision that counts against the end user is counted here, before anything of it
        can leave; `new` says which passages can make it count, by default all.
        """
        kept = await self.keeper.keep(exchange, decision, what) if self.keeper else None
        recorded = self.log.record(exchange, decision, kept)
        rules = striking(exchange.policy, decision, new)
        if rules and self.enforcer is not None:
            await self.enforcer.strike(exchange, rules, recorded)
        if self.follower is not None:
            await self.follower.follow(exchange, decision, new, recorded)
        return recorded


def _refuse(exchange: Exchange, decision: Decision, *, prompt: bool) -> Refusal:
    exchange.outcome = Outcome.BLOCKED
    exchange.reason = next(iter(decision.determining_rules), None)
    return Refusal(decision, exchange.decision_ids[-1], prompt, exchange.stopped)


def _check_characters(text: str) -> None:
    """Refuse half a character: it could be judged, but nobody could be sent it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MalformedOutput("the reply holds what is not Unicode text") from None
