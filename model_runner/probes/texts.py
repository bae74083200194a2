"""The labelled texts that probes are trained on: JSON lines.

    {"prompt": "How do I ...?", "reply": "First ...", "labels": {"illicit": 1}, "group": "how-to"}

`reply` may be missing: then it is the moment before the first token of one that is read.
A category that is left out of `labels` is unknown and teaches nothing. Texts of one `group`
are alike, and are set aside for calibration together or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

_ASIDE = 5  # one group in so many calibrates


class TextsRefused(ValueError):
    """A file of labelled texts is not as it must be."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prompt, perhaps with a reply, and what is known about it.

    Attributes:
        prompt: What the user says.
        reply: What the model says; None means that it has not begun.
        labels: Category -> whether it is harmful in it, 0 to 1; 0.5 and more is harmful.
        group: What it is alike to.
    """

    prompt: str
    reply: str | None = None
    labels: Mapping[str, float] = field(default_factory=dict)
    group: str = ""

    @property
    def aside(self) -> bool:
        """Whether it calibrates rather than teaches; goes by the group, else by the prompt."""
        return crc32((self.group or self.prompt).encode("utf-8", "replace")) % _ASIDE == 0


def read_texts(path: Path) -> Iterator[Labelled]:
    """Read labelled texts.

    Raises:
        TextsRefused: At the first line that is not as it must be.
        OSError: If the file cannot be read.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield _labelled(json.loads(line))
            except (ValueError, TypeError, KeyError) as wrong:
                raise TextsRefused(f"{path}:{number}: not a labelled text: {wrong}") from wrong


def write_texts(path: Path, texts: Iterable[Labelled]) -> None:
    """Write labelled texts. Raises `OSError`."""
    with path.open("w", encoding="utf-8") as lines:
        for text in texts:
            said = {} if text.reply is None else {"reply": text.reply}
            row = {"prompt": text.prompt, **said, "labels": dict(text.labels), "group": text.group}
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def _labelled(row: Any) -> Labelled:  # noqa: ANN401 - whatever a line holds
    if not isinstance(row, dict) or not row.keys() <= {"prompt", "reply", "labels", "group"}:
        raise ValueError("it has other fields")
    prompt, reply, group = row["prompt"], row.get("reply"), row.get("group", "")
    if not (isinstance(prompt, str) and isinstance(reply, str | None) and isinstance(group, str)):
        raise TypeError("`prompt`, `reply` and `group` are texts")
    labels = {str(category): float(label) for category, label in row["labels"].items()}
    if any(not 0 <= label <= 1 for label in labels.values()):
        raise ValueError("a label is between 0 and 1")
    return Labelled(prompt, reply, labels, group)
