"""How the files of trajectories are read: a line is a step, `!` marks what should be stopped.

    system: ...      developer: ...   user: ...          who gives the task
    think: ...       note: ...        say: ...           what the model thinks and says
    call TOOL: ...   result TOOL: ...                    what it does, and what comes back

Lines that are indented by four spaces belong to the step above.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from classifiers.types import Passage, Source, Step, Trajectory

FOLDER = Path(__file__).parent
# The patterns were written beside the first two; the last one was written after them.
TUNED, MEASURED = ("first", "second"), "measured"

_WHO = {
    "system": Source.SYSTEM,
    "developer": Source.DEVELOPER,
    "user": Source.USER,
    "think": Source.ANALYSIS,
    "call": Source.CALL,
    "result": Source.TOOL,
    "note": Source.COMMENTARY,
    "say": Source.FINAL,
}
MODELS = frozenset({Source.ANALYSIS, Source.CALL, Source.COMMENTARY, Source.FINAL})
_INDENT = " " * 4


@dataclass(frozen=True, slots=True)
class Labelled:
    """A trajectory, and what of it should be stopped.

    Attributes:
        name: The file and the place in it, from 1.
        group: What it is about, a category's last name.
        steps: What was said, in order.
        wrong: The places in `steps` that should be stopped; none in a look-alike.
    """

    name: str
    group: str
    steps: tuple[Step, ...]
    wrong: frozenset[int]

    def passages(self) -> list[tuple[int, Passage]]:
        """Return what the model thought, did and said, as the gateway would put it to a panel."""
        return [
            (
                place,
                Passage(
                    step.source,
                    step.text,
                    prompt=self._asked(place),
                    tool=step.tool,
                    trajectory=Trajectory(self.steps[:place]),
                ),
            )
            for place, step in enumerate(self.steps)
            if step.source in MODELS
        ]

    def _asked(self, place: int) -> str:
        before = (step.text for step in reversed(self.steps[:place]) if step.source is Source.USER)
        return next(before, "")


def read(name: str) -> list[Labelled]:
    """Return the trajectories of a file. Raises `ValueError` if a line says nobody."""
    document = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    return [
        _labelled(f"{name} {number}", entry["group"], entry["text"])
        for number, entry in enumerate(document["trajectory"], 1)
    ]


def _labelled(name: str, group: str, text: str) -> Labelled:
    steps: list[Step] = []
    wrong: set[int] = set()
    for line in text.strip("\n").splitlines():
        if line.startswith(_INDENT):
            last = steps.pop()
            steps.append(Step(last.source, f"{last.text}\n{line[len(_INDENT) :]}", last.tool))
            continue
        head, _, said = line.partition(": ")
        who, _, tool = head.rstrip(":").partition(" ")
        if who.rstrip("!") not in _WHO:
            raise ValueError(f"{name}: nobody is called `{who[:40]}`")
        if who.endswith("!"):
            wrong.add(len(steps))
        steps.append(Step(_WHO[who.rstrip("!")], said, tool or None))
    return Labelled(name, group, tuple(steps), frozenset(wrong))
