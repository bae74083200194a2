"""What a caller may read of a thought that is hidden: a moderated summary. Pure.

It is made of the thought's own sentences, whole ones and bounded in length: no second model
is asked, which would have to be judged as well and could tell what was left out. A sentence
gets here only if the passage it stands in was judged as a thought and released, and only as
it was redacted; and it leaves only if it was then judged as output, behind what the summary
says already. One that was not let out is missing, and nothing tells that it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from model_runner.types import Delta

# The most code points of the summary of one thought, and whether each sentence may be in it
# or only the first of each passage.
KINDS = {"concise": (240, False), "auto": (480, False), "detailed": (1600, True)}
GAP = " "
_MARKS = re.compile(r"[.!?…。！？]++[\"')\]]*+")  # noqa: RUF001 - full-width marks are meant
_FULL_WIDTH = "。！？"  # noqa: RUF001 - they end a sentence without a space


@dataclass(slots=True)
class Summary:
    """The summaries of one reply's thoughts, as they grow.

    Attributes:
        kind: `concise`, `auto` or `detailed`.
    """

    kind: str
    _texts: dict[int, str] = field(default_factory=dict)
    _message: int | None = None
    _amid: bool = False  # whether the last passage ended within a sentence

    def sentences(self, delta: Delta) -> list[str]:
        """Return the sentences of a released passage that could come next, in order."""
        amid = self._amid and delta.message == self._message
        found, rest = _cut(delta.text)
        self._message = delta.message
        self._amid = bool(rest.strip()) or (amid and not found)
        whole = found[amid:]
        _, every = KINDS[self.kind]
        return whole if every else whole[:1]

    def fits(self, message: int, sentence: str) -> bool:
        """Return whether there is room for a sentence."""
        most, _ = KINDS[self.kind]
        return len(self.of(message)) + len(GAP) + len(sentence) <= most

    def add(self, message: int, sentence: str) -> None:
        """Add a sentence that may leave."""
        said = self.of(message)
        self._texts[message] = said + GAP + sentence if said else sentence

    def of(self, message: int) -> str:
        """Return the summary of a thought, by its message's number; it may be empty."""
        return self._texts.get(message, "")


def _cut(text: str) -> tuple[list[str], str]:
    """Return the whole sentences of a text, and what is behind them; in linear time."""
    found, begin = [], 0
    for marks in _MARKS.finditer(text):
        end, behind = marks.end(), text[marks.end() : marks.end() + 1]
        if behind and not behind.isspace():  # amid a word, unless a full-width mark is there
            end = marks.start() + 1 + max(map(marks[0].rfind, _FULL_WIDTH))
        sentence = text[begin:end].strip()
        if end > marks.start() and len(sentence) > 1:
            found.append(sentence)
            begin = end
    return found, text[begin:]
