"""Reads a sentence whose letters were rotated (rot13 and the other 24), in one pass over it.

Trying each of the 25 rotations costs 25 times what reading costs, on just the texts that
say nothing. Instead each word is rotated once, so that it starts with an `a`, and looked up
among the common words rotated the same way: where it started says by how much it was
rotated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from classifiers.vocabulary import forms

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_ROTATED = [
    str.maketrans(
        _ALPHABET + _ALPHABET.upper(),
        _ALPHABET[by:] + _ALPHABET[:by] + (_ALPHABET[by:] + _ALPHABET[:by]).upper(),
    )
    for by in range(26)
]
_ORDER = (13, *range(1, 13), *range(14, 26))  # rot13 is what people use


def rotated(text: str, by: int) -> str:
    """Return `text` with each letter replaced by the one `by` places on."""
    return text.translate(_ROTATED[by % 26])


def rotations(words: Sequence[str], least: float) -> Iterator[int]:
    """Yield by how much a sentence may have been rotated, rot13 first.

    Args:
        words: Its words, in lower-case letters.
        least: Which part of its letters must be in common words then, of 1. Three
            different ones are needed in any case.
    """
    letters = sum(map(len, words))
    familiar = [0] * 26
    different = [0] * 26
    for word, times in Counter(words).items():
        first = ord(word[0]) - 97
        for start in _starts().get(word.translate(_ROTATED[-first]), ()):
            familiar[first - start] += times * len(word)
            different[first - start] += 1
    for by in _ORDER:
        if different[by] > 2 and familiar[by] >= least * letters:
            yield by


@cache
def _starts() -> dict[str, tuple[int, ...]]:
    """For each common word, rotated to start with an `a`: where such words start, a is 0."""
    starts: dict[str, tuple[int, ...]] = {}
    for word in forms():
        first = ord(word[0]) - 97
        plain = word.translate(_ROTATED[-first])
        starts[plain] = (*starts.get(plain, ()), first)
    return starts
