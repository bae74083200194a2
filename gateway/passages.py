"""Cuts a prompt into the passages that are judged, and puts redactions into effect. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import orjson

from classifiers.types import Passage, Source, Step, Trajectory
from gateway.redaction import Redactor
from model_runner.types import Channel, Delta, Message, Prompt, Role
from policies.types import STAGE_OF, Action, Redaction, Stage

_SOURCE_OF_ROLE = {
    Role.SYSTEM: Source.SYSTEM,
    Role.DEVELOPER: Source.DEVELOPER,
    Role.USER: Source.USER,
    Role.TOOL: Source.TOOL,
}
_SOURCE_OF_CHANNEL = {
    Channel.ANALYSIS: Source.ANALYSIS,
    Channel.COMMENTARY: Source.COMMENTARY,
    Channel.FINAL: Source.FINAL,
}
# What a monitor reads by what led to it.
_DONE = frozenset({Source.ANALYSIS, Source.CALL})


@dataclass(slots=True)
class Course:
    """What has been said in an exchange, as it grows.

    Attributes:
        steps: In order, oldest first; a message of the reply is one step.
    """

    steps: list[Step] = field(default_factory=list)
    _message: int | None = None  # of the reply, the one that may go on
    _begun: int = 0  # where the reply begins

    def begin(self, prompt: Prompt) -> None:
        """Start with `prompt`, as the model is about to read it."""
        self.steps, self._message = list(steps_of(prompt)), None
        self._begun = len(self.steps)

    def add(self, delta: Delta) -> None:
        """Note a piece of the reply that was judged."""
        if delta.message == self._message:
            last = self.steps[-1]
            self.steps[-1] = replace(last, text=last.text + delta.text)
        else:
            self.steps.append(Step(_source_of_reply(delta), delta.text, delta.tool))
            self._message = delta.message

    def replied(self) -> list[Step]:
        """Return what the model has said in this exchange."""
        return self.steps[self._begun :]

    def trajectory(self) -> Trajectory:
        """Return what has been said so far."""
        return Trajectory(tuple(self.steps))


@dataclass(frozen=True, slots=True)
class Portion:
    """What one stage reads of a prompt.

    Attributes:
        stage: The stage.
        passages: What is judged.
        messages: For each passage the index of its message in the prompt, or None for
            text that is not a message (tool descriptions).
        new: Which passages are of the last turn, by index: those that nobody has judged
            with an earlier request.
    """

    stage: Stage
    passages: tuple[Passage, ...]
    messages: tuple[int | None, ...]
    new: frozenset[int]

    def settled(self, action: Action) -> bool:
        """Return whether a person has decided already what `action` would ask them.

        About a call of the history somebody did when it was made: or it would not be there.
        """
        return action is Action.REVIEW and self.stage is Stage.TOOL_CALL and not self.new


def prompt_portions(prompt: Prompt) -> list[Portion]:
    """Return every text of `prompt`, by stage, in the order the stages happen."""
    found: dict[Stage, list[tuple[int | None, Passage]]] = {}
    steps = steps_of(prompt)
    for index, step in enumerate(steps):
        # What the model did before is judged again as it was then: by what had led to it.
        led = Trajectory(steps[:index]) if step.source in _DONE else None
        passage = Passage(step.source, step.text, tool=step.tool, trajectory=led)
        found.setdefault(STAGE_OF[passage.source], []).append((index, passage))
    if prompt.tools or prompt.json_schema:
        passage = Passage(Source.DEVELOPER, _declared(prompt))
        found.setdefault(Stage.INPUT, []).append((None, passage))
    last_turn = _last_turn(prompt)
    return [_portion(stage, found[stage], last_turn) for stage in Stage if stage in found]


def _portion(stage: Stage, found: Sequence[tuple[int | None, Passage]], last_turn: int) -> Portion:
    messages = tuple(index for index, _ in found)
    # What is not a message stands before the first one.
    new = frozenset(place for place, index in enumerate(messages) if (index or 0) >= last_turn)
    return Portion(stage, tuple(passage for _, passage in found), messages, new)


def _last_turn(prompt: Prompt) -> int:
    """Return the index of the first message after what the model said before."""
    roles = [message.role for message in prompt.messages]
    while roles and roles[-1] is Role.ASSISTANT:  # a reply that the caller has begun
        roles.pop()
    while roles and roles[-1] is not Role.ASSISTANT:
        roles.pop()
    return len(roles)


def reply_passage(delta: Delta, before: str, prompt: Prompt, course: Course) -> Passage:
    """Return the passage to judge for a piece of the reply to `prompt`."""
    source = _source_of_reply(delta)
    asked = last_user_text(prompt)
    led = course.trajectory()
    return Passage(source, delta.text, before, asked, delta.tool, led, probed=delta.probed)


def steps_of(prompt: Prompt) -> tuple[Step, ...]:
    """Return the messages of `prompt` as steps of a trajectory, one each."""
    return tuple(
        Step(_source_of(message), message.text, message.tool) for message in prompt.messages
    )


def last_user_text(prompt: Prompt) -> str:
    """Return the last user message's text, or nothing."""
    return next((m.text for m in reversed(prompt.messages) if m.role is Role.USER), "")


def redact_prompt(prompt: Prompt, portion: Portion, redactions: Sequence[Redaction]) -> Prompt:
    """Return `prompt` with the redactions of one of its portions in effect.

    Tool descriptions are not rewritten: a name or schema with a hole in it is not a tool.
    """
    messages = list(prompt.messages)
    for number, index in enumerate(portion.messages):
        mine = [r for r in redactions if r.passage == number]
        if mine and index is not None:
            text = Redactor(prompt).redact(index, messages[index].text, mine)
            messages[index] = replace(messages[index], text=text)
    return replace(prompt, messages=tuple(messages))


def _source_of_reply(delta: Delta) -> Source:
    return Source.CALL if delta.tool is not None else _SOURCE_OF_CHANNEL[delta.channel]


def _source_of(message: Message) -> Source:
    if message.role is not Role.ASSISTANT:
        return _SOURCE_OF_ROLE[message.role]
    if message.tool is not None:
        return Source.CALL
    return Source.ANALYSIS if message.channel is Channel.ANALYSIS else Source.ASSISTANT


def _declared(prompt: Prompt) -> str:
    """Return all the text that tools and an answer schema put before the model."""
    parts = [f"{tool.name} {tool.description}" for tool in prompt.tools]
    parts += [_json_text(tool.parameters) for tool in prompt.tools if tool.parameters]
    if prompt.json_schema:
        parts.append(_json_text(prompt.json_schema))
    return "\n".join(parts)


def _json_text(value: object) -> str:
    return orjson.dumps(value, default=dict).decode()
