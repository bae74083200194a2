"""Text for a model to judge, made unable to speak to it as anything but text.

A judge reads what an attacker wrote. Three things keep it evidence: control tokens in it
are broken, the marks around it hold a nonce that it cannot hold, and what is too long is
read in windows and never cut short in silence.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from classifiers.types import Passage, Source

# What a reply is: the rest is something that somebody asks, or that a tool returned.
REPLIES = frozenset(
    {Source.ASSISTANT, Source.ANALYSIS, Source.COMMENTARY, Source.CALL, Source.FINAL}
)

# Of the text before a passage and of the prompt it answers, this much is shown, from the
# end, code points.
CONTEXT = 4000

_BREAK = "\u200b"  # a zero-width space
# `<|start|>` and its like in every spelling of the bar, whole or about to be.
_CONTROL = re.compile(r"[<\uff1c](?=[|\uff5c\u00a6][^\s<>]{1,64}[|\uff5c\u00a6][>\uff1e])")
_NONCE_BYTES = 8
_MAX_RATIONALE = 500


@dataclass(frozen=True, slots=True)
class Windows:
    """A long text as overlapping pieces.

    Attributes:
        texts: At least one.
        complete: Whether they hold all of it.
    """

    texts: tuple[str, ...]
    complete: bool


def windows(text: str, size: int, overlap: int, most: int) -> Windows:
    """Cut `text` into at most `most` pieces of `size` code points.

    Args:
        text: May be empty.
        size: Length of a piece; more than `overlap`.
        overlap: How much of the piece before is read again.
        most: When it is not enough, the pieces cover the beginning and the end, which is
            where instructions stand, and the middle is left out.
    """
    if len(text) <= size:
        return Windows((text,), complete=True)
    step = size - overlap
    count = -(-(len(text) - overlap) // step)
    if count <= most:
        return Windows(tuple(text[n * step : n * step + size] for n in range(count)), True)
    head = most - most // 2
    first = [text[n * step : n * step + size] for n in range(head)]
    last = [text[-size - n * step :][:size] for n in reversed(range(most // 2))]
    return Windows((*first, *last), complete=False)


def tail(text: str, length: int = CONTEXT) -> str:
    """Return the end of `text`, `length` code points at most."""
    return text[-length:] if length else ""


def plain(text: str, marks: Iterable[str] = ()) -> str:
    r"""Return `text` with nothing in it that a tokenizer could take for structure.

    Args:
        text: Any string; lone surrogates become question marks.
        marks: What structures this model's prompts besides `<|...|>`, as in
            `<end_of_turn>`; found whatever its case. One that begins with a line break, as
            in `\nUser:`, is also found where the text begins.
    """
    text = "\n" + _CONTROL.sub(
        lambda found: found[0] + _BREAK, text.encode("utf-8", "replace").decode()
    )
    for mark in marks:
        # One character in: the mark is gone, and the reader still sees what it was.
        text = re.sub(
            re.escape(mark), lambda found: found[0][0] + _BREAK + found[0][1:], text, flags=re.I
        )
    return text[1:]


def nonce_for(*texts: str) -> str:
    """Return 16 hexadecimal digits that stand in none of `texts`."""
    while True:
        nonce = secrets.token_hex(_NONCE_BYTES)
        if not any(nonce in text for text in texts):
            return nonce


def conversation(passage: Passage) -> tuple[str, str | None]:
    """Return what was asked and what was replied, as far as `passage` says.

    The text before the passage is part of it: a guard model judges a message, and half a
    message reads like another one.
    """
    text = tail(passage.before) + passage.text
    if passage.source in REPLIES:
        return tail(passage.prompt), text
    return text, None


def rationale(text: str) -> str | None:
    """Return a model's reason as one bounded line without control characters, or None.

    It may quote the content it is about, so it is content: never log it.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:_MAX_RATIONALE] or None
