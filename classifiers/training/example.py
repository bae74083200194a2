"""One labelled text, as training and evaluation read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from classifiers.categories import HEADS
from classifiers.encoder_text import Kind

__all__ = ["HEADS", "Example", "Kind"]


@dataclass(frozen=True, slots=True)
class Example:
    """A text and what is known about it.

    Attributes:
        text: What is judged.
        kind: What the text is.
        prompt: For a reply, what it answers.
        labels: Head -> 1.0 harmful, 0.0 not. A head that is left out is unknown: no
            source labels them all, and an unknown label teaches nothing.
        source: Where it came from, `davidson` or `authored/violence.threats`; validation
            splits and the report go by it.
    """

    text: str
    kind: Kind = Kind.PROMPT
    prompt: str = ""
    labels: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
