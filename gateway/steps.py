"""What happens in one exchange, step by step, for conditions that look at it. Pure.

The history comes with the request: its calls and results get their scores when they are
judged, as everything is in every request. Then each call that the model makes is added. A
policy that does not look at any of this costs nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from classifiers.types import Assessment
from gateway.traces import taken_out, traced
from model_runner.types import Message, Prompt, Role
from policies.trail import NOTHING_YET, Step, Trail, digest_of, heard_of
from policies.types import Policy, Stage


class Steps:
    """The steps of one exchange.

    Args:
        prompt: What was asked, with its history.
        policy: What governs it; where no rule of it looks, nothing is noted.
        traces: Of what sealed thoughts of the history had read, each with its message's index.

    Attributes:
        replying: Whether the model is answering, so that what is judged is new.
    """

    def __init__(
        self, prompt: Prompt, policy: Policy, traces: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        self.replying = False
        watched = any(rule.when is not None and rule.when.of_trail for rule in policy.rules)
        self._watched = watched
        self._results: list[Step] = []
        self._calls: list[Step] = []
        self._reasoning_chars = 0
        self._left_out: list[Step] = []
        if watched:
            self._results = _steps(prompt.messages, calls=False)
            self._calls = _steps(prompt.messages, calls=True)
            later = [(_turns_after(prompt.messages, at), trace) for at, trace in traces]
            self._left_out = _left_out(prompt.messages) + taken_out(later, self._results)

    def at(self, stage: Stage, assessment: Assessment) -> Trail:
        """Return what happened so far, what is judged now included."""
        if not self._watched:
            return NOTHING_YET
        if self.replying and stage is Stage.TOOL_CALL:
            return self._called(assessment)
        if self.replying and stage is Stage.REASONING:
            self._reasoning_chars += sum(len(each.text) for each in assessment.passages)
        elif not self.replying and stage is Stage.TOOL_RESULT:
            self._results = _scored(self._results, assessment)
        elif not self.replying and stage is Stage.TOOL_CALL:
            self._calls = _scored(self._calls, assessment)
        return self._so_far()

    def trace(self) -> bytes:
        """Return a trace of the results that the model has read."""
        return traced([*self._results, *(step for step in self._left_out if step.digest)])

    def _called(self, assessment: Assessment) -> Trail:
        """Return what happened before the call that is being made, and note it."""
        (passage,) = assessment.passages
        tool = passage.tool or ""
        step = Step(
            tool,
            len(passage.text),
            new=True,
            digest=digest_of(tool, passage.text),
            **heard_of(assessment, 0)._asdict(),
        )
        before = replace(self._so_far(), call=step, arguments=passage.text)
        self._calls.append(step)
        return before

    def _so_far(self) -> Trail:
        results = (*self._results, *self._left_out)
        return Trail(results, tuple(self._calls), self._reasoning_chars)


def _steps(messages: Sequence[Message], *, calls: bool) -> list[Step]:
    """Return the calls or the results among the messages; nobody has scored them yet."""
    role = Role.ASSISTANT if calls else Role.TOOL
    found: list[Step] = []
    turns_ago = 0
    for message in reversed(messages):
        if message.role is Role.USER:
            turns_ago += 1
        elif message.role is role and message.tool is not None:
            digest = digest_of(message.tool, message.text)
            found.append(Step(message.tool, len(message.text), turns_ago, digest=digest))
    return found[::-1]


def _turns_after(messages: Sequence[Message], index: int) -> int:
    return sum(message.role is Role.USER for message in messages[index:])


def _left_out(messages: Sequence[Message]) -> list[Step]:
    """Return a result that nobody scored for each call that the history has no result of.

    There may have been one that the model read and that a client has taken out since.
    """
    steps = iter(_steps(messages, calls=True))
    waiting: dict[str, Step] = {}  # an id may be used again once its call was answered
    for message in messages:
        if message.role is Role.TOOL and message.call_id is not None:
            waiting.pop(message.call_id, None)
        elif message.role is Role.ASSISTANT and message.tool is not None:
            step = next(steps)
            if message.call_id is not None:
                waiting[message.call_id] = Step(step.tool, turns_ago=step.turns_ago)
    return list(waiting.values())


def _scored(steps: Sequence[Step], assessment: Assessment) -> list[Step]:
    """Return the steps with their scores; passages stand in the order of their messages."""
    if len(steps) != len(assessment.passages):  # nobody knows which is which
        return list(steps)
    heard = [heard_of(assessment, index)._asdict() for index in range(len(steps))]
    return [replace(step, **said) for step, said in zip(steps, heard, strict=True)]
