"""Exchange: one prompt, its reply, and every decision taken along the way."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.conversation import History, Mark
from gateway.keeping import Keeping
from gateway.passages import Course
from gateway.secrecy import Noted
from gateway.steps import Steps
from gateway.summary import Summary
from gateway.types import Outcome, Principal, Reviewed, Stopped
from model_runner.types import Channel, Delta, Prompt, Usage
from policies.circumstances import ANYBODY, Circumstances
from policies.types import Decision, Policy


@dataclass(slots=True)
class Exchange:
    """The mutable record of one request while it lives; the ledger writes it down.

    Attributes:
        id: The request id, `req_` and 32 hex digits (a UUIDv7); also `x-request-id`.
        principal: Whose key it is.
        prompt: What was asked.
        policy: What governs it, as it was when it was admitted and narrowed to what is for
            it; a snapshot for its whole life.
        endpoint: `responses`, `chat` or `moderations`.
        stream: Whether the caller reads it as a stream.
        runner: The runner's kind, for the record.
        safety_identifier: The caller's opaque id of the end user, or None.
        exposed: Whether the caller sees raw thoughts, so that they are judged as output too.
        summary: What the caller may read of hidden thoughts; None if nothing was asked for.
        circumstances: Who asks, through what and for whom, as policies may look at it.
        keeping: How its content is kept.
        course: What has been said in it; in memory only, as long as it lives.
        disclaimers: Texts that the policy puts behind the reply, in order.
        decision_ids: One id per recorded decision, in order.
        decisions: The recorded decisions, in the same order.
        struck: Rules that have counted against the end user in it; each does once.
        alerted: Rules that an alert was raised about; each is once.
        reviewed: What became of tool calls that were held for a person.
        held_s: How long they were, seconds.
        released_chars: Code points that left for the caller.
        released: What left for the caller, in order, thoughts apart.
        usage: Token counts, once known.
        outcome: How it ended, once known.
        history: The prompt's messages as they came, and the ids that came with them.
        reopens: The opening that it asks anew, if one like it was stopped before.
        stopped: By what the conversation was stopped, if it was.
        reason: A short reason code beside `outcome`: an error code, a rule id.
        traces: Of what sealed thoughts that came back had read, each with its message's index.
        noted: The secrets that the model is told.
        steps: What happens in it, for conditions that look at that.
    """

    id: str
    principal: Principal
    prompt: Prompt
    policy: Policy
    endpoint: str
    stream: bool
    runner: str
    safety_identifier: str | None = None
    exposed: bool = False
    summary: Summary | None = None
    circumstances: Circumstances = ANYBODY
    keeping: Keeping = field(default_factory=Keeping)
    course: Course = field(default_factory=Course)
    disclaimers: list[str] = field(default_factory=list)
    decision_ids: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    struck: set[str] = field(default_factory=set)
    alerted: set[str] = field(default_factory=set)
    history: History = field(default_factory=History)
    reopens: Mark | None = None
    stopped: Stopped | None = None
    reviewed: list[Reviewed] = field(default_factory=list)
    held_s: float = 0.0
    released_chars: int = 0
    released: list[Delta] = field(default_factory=list, repr=False)
    usage: Usage | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    traces: tuple[tuple[int, bytes], ...] = ()
    noted: Noted = field(default_factory=Noted, repr=False)
    steps: Steps = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Note what happened before, if the policy looks at it."""
        self.steps = Steps(self.prompt, self.policy, self.traces)

    def release(self, delta: Delta) -> Delta:
        """Note that `delta` leaves for the caller, and return it."""
        if delta.channel is not Channel.ANALYSIS:
            self.released_chars += len(delta.text)
            self.released.append(delta)
        return delta
