"""Reads a sentence that was turned round, rotated, or spelled with digits and signs.

Only if what comes out is English, and what went in is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from classifiers.rotations import rotated, rotations
from classifiers.vocabulary import known, natural, share

SAMPLE = 400  # code points of a sentence that decide what it is
TURNED = 0.6  # of a turned or rotated sentence, which could be chance
GIBBERISH = 0.34  # and in how few they may be before

_WORD = re.compile("[a-z]+")
_LEET = re.compile("[A-Za-z][0134578@$!]")
_SHAPES = str.maketrans("034578@$!", "oeastbasi")


def turned(said: str) -> tuple[str, Callable[[str], str]] | None:
    """Return how to read a sentence that is not English as it stands, by its first words."""
    sample = said[:SAMPLE]
    if _readable(sample):
        return None
    if _LEET.search(sample) and _sentence(unmixed(sample)):
        return "leet", unmixed
    words = _WORD.findall(sample.lower())
    if sum(map(len, words)) < 10 or len(set(words)) < 3:
        return None
    if share(sample[::-1]) >= TURNED and _sentence(_reversed(sample)):
        return "reversed", _reversed
    for by in rotations(words, TURNED):
        if _sentence(rotated(sample, -by)):
            return f"rot{by}", partial(rotated, by=-by)
    return None


def _sentence(said: str) -> bool:
    words = _WORD.findall(said.lower())
    different = {word for word in words if known(word)}
    return len(different) > 2 and sum(map(len, words)) >= 10 and natural(said, TURNED)


def _readable(sample: str) -> bool:
    """Return whether a sentence is English enough as it stands, or has too few letters to tell."""
    letters = familiar = 0
    for word in _WORD.finditer(sample.lower()):
        letters += len(word[0])
        familiar += len(word[0]) if known(word[0]) else 0
        if familiar > GIBBERISH * len(sample):
            return True  # most sentences, after a few words
    return letters < 6 or familiar > GIBBERISH * letters


def _reversed(said: str) -> str:
    # `woh ot ekam ti` or `ti ekam ot woh`: a question starts with the asking word.
    word_by_word = " ".join(word[::-1] for word in said.split(" "))
    return word_by_word if _starts(word_by_word) else said[::-1]


def _starts(said: str) -> bool:
    first = said.strip().lower().partition(" ")[0]
    return first in {
        *("how", "what", "why", "who", "where", "when", "tell", "give", "write", "explain"),
        *("please", "i", "ignore", "show", "the", "my", "can", "could", "list", "describe", "you"),
    }


def unmixed(said: str) -> str:
    """Return `said` with letters for the digits and signs that look like them."""
    return " ".join(_letters(word) for word in said.lower().split(" "))


def _letters(word: str) -> str:
    plain = word.translate(_SHAPES)
    if "1" not in plain:
        return plain
    choices = (plain.replace("1", one) for one in "il")
    return next(
        (choice for choice in choices if known(choice.strip(",'"))), plain.replace("1", "i")
    )
