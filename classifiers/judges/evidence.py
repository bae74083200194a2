"""A trajectory for a model to judge: who said what, so that nothing in it can say it is another.

Each step is one line: a nonce that the text cannot hold, and one JSON object. What was said is
a JSON string, so it has no line, quote or key of its own; what a tokenizer could take for
structure is broken; what cannot be seen is written out.

What does not fit is left out by a rule that does not ask what it says: the step that is judged
comes first, then the instructions, then the task (the last and the first word of the user),
then the other steps from the newest to the oldest. A step that is too long keeps its beginning
and its end. What was left out is marked in its place, and counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from classifiers.judges.content import nonce_for, plain
from classifiers.types import Passage, Source, Step

_BY = {
    Source.SYSTEM: ("operator", "instructions"),
    Source.DEVELOPER: ("application", "instructions"),
    Source.USER: ("user", "message"),
    Source.ASSISTANT: ("model", "earlier reply"),
    Source.TOOL: ("tool", "result"),
    Source.ANALYSIS: ("model", "thought"),
    Source.CALL: ("model", "call"),
    Source.COMMENTARY: ("model", "words between calls"),
    Source.FINAL: ("model", "reply"),
}
_RULES = frozenset({Source.SYSTEM, Source.DEVELOPER})
_LEAST = 200  # code points below which a piece of a step is not worth showing


@dataclass(frozen=True, slots=True)
class Evidence:
    """A trajectory as a judge is shown it.

    Attributes:
        nonce: What its lines begin with.
        text: The lines, between `<evidence nonce>` and `</evidence nonce>`.
        unread: Code points that were left out.
    """

    nonce: str
    text: str
    unread: int


def steps_of(passage: Passage) -> tuple[Step, ...]:
    """Return what led to a passage, and the passage as the last step."""
    if passage.trajectory is not None:
        led = passage.trajectory.steps
    else:
        led = tuple(
            Step(source, text)
            for source, text in ((Source.USER, passage.prompt), (passage.source, passage.before))
            if text
        )
    return (*led, Step(passage.source, passage.text, passage.tool))


def evidence(steps: Sequence[Step], budget: int, judged: int | None) -> Evidence:
    """Return `steps` as evidence.

    Args:
        steps: In order, oldest first.
        budget: How many code points of what was said are shown at most.
        judged: The place of the step that is judged; None if all of them are.
    """
    shown = dict(_fitted(steps, budget, judged))
    nonce = nonce_for(*(step.text for step in steps), *(step.tool or "" for step in steps))
    lines: list[str] = []
    gap = unread = 0
    for place, step in enumerate(steps):
        if place not in shown:
            gap += 1
            unread += len(step.text)
            continue
        if gap:
            lines.append(_line(nonce, {"left_out_steps": gap}))
            gap = 0
        head, tail = shown[place]
        unread += len(step.text) - len(head) - len(tail)
        lines.append(_line(nonce, _told(place + 1, step, head, tail, judged == place)))
    if gap:
        lines.append(_line(nonce, {"left_out_steps": gap}))
    return Evidence(
        nonce, "\n".join((f"<evidence {nonce}>", *lines, f"</evidence {nonce}>")), unread
    )


def _fitted(
    steps: Sequence[Step], budget: int, judged: int | None
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield the steps that fit, each by its beginning and its end (empty if it is whole)."""
    room = budget
    for place in _by_rank(steps, judged):
        text = steps[place].text
        most = min(room, budget // 2 if place == judged else budget // 8)
        if len(text) <= min(room, most):
            head, tail = text, ""
        elif most < _LEAST:
            continue
        else:
            cut = most * 2 // 3
            head, tail = text[:cut], text[len(text) - (most - cut) :]
        room -= len(head) + len(tail)
        yield place, (head, tail)


def _by_rank(steps: Sequence[Step], judged: int | None) -> Iterator[int]:
    """Yield every place once, what must not be left out first."""
    users = [place for place, step in enumerate(steps) if step.source is Source.USER]
    rules = [place for place, step in enumerate(steps) if step.source in _RULES]
    first = [judged] if judged is not None else []
    ranked = dict.fromkeys((*first, *rules, *users[-1:], *users[:1], *reversed(range(len(steps)))))
    yield from ranked


def _told(number: int, step: Step, head: str, tail: str, judged: bool) -> dict[str, object]:
    by, what = _BY[step.source]
    told: dict[str, object] = {"step": number, "by": by, "what": what}
    if step.tool is not None:
        told["tool"] = step.tool
    if judged:
        told["judge"] = True
    told["text"] = head
    if tail:
        told["left_out_chars"] = len(step.text) - len(head) - len(tail)
        told["text_end"] = tail
    return told


def _line(nonce: str, told: dict[str, object]) -> str:
    written = {
        name: plain(value) if isinstance(value, str) else value for name, value in told.items()
    }
    return f"{nonce} {_visible(json.dumps(written, ensure_ascii=False))}"


def _visible(line: str) -> str:
    """Write out what cannot be seen, and end no tag: within JSON all of it means the same."""
    seen = "".join(char if char.isprintable() else _escaped(char) for char in line)
    return seen.replace("</", "<\\/")


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) > 0x7E else f"\\u{ord(char):04x}"
