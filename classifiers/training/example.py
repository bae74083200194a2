"""One labelled text, as training and evaluation read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from classifiers.encoder_text import Kind

__all__ = ["HEADS", "Example", "Kind"]

# In the order of the encoder's outputs. `any` is harm of any sort; the last is an attack
# on the system rather than a harm, and `any` says nothing about it.
HEADS = (
    "any",
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
    "bio",
    "cyber",
    "ai_self_improvement",
    "prompt_injection",
)


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
