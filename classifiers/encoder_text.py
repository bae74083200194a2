"""How the encoder is shown a text: the one layout that training and serving share.

A text is normalised, cut into overlapping windows of tokens, and each window is marked
with what the text is. A reply is shown behind the end of the prompt it answers, because
whether "sure, here is how" does harm depends on what was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tokenizers import Tokenizer

from classifiers.normalize import in_lines, normalize

WINDOW = 160  # tokens of the text that are read at once
STRIDE = 128  # tokens from the start of a window to the start of the next
PROMPT = 48  # tokens of the prompt that a reply is read with, from its end
MARKERS = 3  # [CLS], the kind, [SEP]; a prompt takes a second [SEP]
LONGEST = WINDOW + PROMPT + MARKERS + 1

CLS, SEP, PAD = 101, 102, 0


class Kind(StrEnum):
    """What a text is, which decides how the encoder is shown it."""

    PROMPT = "prompt"  # asked of the model
    REPLY = "reply"  # said by the model, read with the prompt it answers
    TOOL = "tool"  # returned by a tool: a page, a file, an API's answer


# Tokens that the vocabulary keeps unused, one a kind.
_MARKER = {Kind.PROMPT: 1, Kind.REPLY: 2, Kind.TOOL: 3}


@dataclass(frozen=True, slots=True)
class Shown:
    """One window as the encoder reads it.

    Attributes:
        ids: Token ids, at most `LONGEST`.
        lead: How many of them, from the start, are not of the text itself: segment 0.
        end: How many code points of the normalised text are read up to this window's end.
    """

    ids: tuple[int, ...]
    lead: int
    end: int


def windows(
    tokenizer: Tokenizer, kind: Kind, text: str, prompt: str = "", most: int = 1 << 30
) -> list[Shown]:
    """Return the windows that cover `text`, in order, at most `most` of them.

    An empty text has one window, with nothing in it. Lone surrogates are dropped.
    """
    encoded = tokenizer.encode(in_lines(normalize(text)), add_special_tokens=False)
    ids: Sequence[int] = encoded.ids
    offsets = encoded.offsets
    lead = [CLS, _MARKER[kind]]
    if kind is Kind.REPLY and prompt:
        lead += tokenizer.encode(normalize(prompt), add_special_tokens=False).ids[-PROMPT:]
        lead.append(SEP)
    shown: list[Shown] = []
    for start in range(0, max(1, len(ids) - (WINDOW - STRIDE)), STRIDE):
        if len(shown) == most:
            break
        part = ids[start : start + WINDOW]
        end = offsets[start + len(part) - 1][1] if part else 0
        shown.append(Shown((*lead, *part, SEP), len(lead), end))
    return shown
