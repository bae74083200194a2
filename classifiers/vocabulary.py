"""How English a run of letters looks, by the commonest words: for texts that were encoded.

The words in `vocabulary.txt` stand in the order of their frequency in the training data.
They tell English from gibberish, which is all that is asked of them: not English from
German, and not good spelling from bad.
"""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path

LONGEST = 16  # letters of a word that is looked for in a run of letters without spaces
FEWEST = 6  # letters; fewer are no evidence

_WORD = re.compile(r"[A-Za-z]+")
_WRITTEN = re.compile(r"[A-Za-z \n,.']+")
_ENDINGS = ("s", "es", "ed", "d", "ing", "ly", "er")
_UNKNOWN = -14.0  # log-probability of a letter that belongs to no word


@cache
def _ranks() -> dict[str, int]:
    words = Path(__file__).with_name("vocabulary.txt").read_text(encoding="ascii").split()
    return {word: rank for rank, word in enumerate(words, 1)}


@cache
def forms() -> frozenset[str]:
    """Return the common words and their forms, in lower case."""
    words = _ranks()
    inflected = (word + ending for word in words for ending in _ENDINGS)
    return frozenset(words).union(form for form in inflected if len(form) > 4)


def known(word: str) -> bool:
    """Return whether `word`, in lower case, is a common English word or a form of one."""
    return word in forms()


def share(text: str) -> float:
    """Return which part of the Latin letters in `text` stand in common words, of 1.

    0 where there are fewer than `FEWEST` letters or two different words: no evidence.
    """
    words = _WORD.findall(text.lower())
    letters = sum(map(len, words))
    found = [word for word in words if known(word)]
    if letters < FEWEST or len(set(found)) < 2:
        return 0.0
    return sum(map(len, found)) / letters


def natural(text: str, least: float = 0.7) -> bool:
    """Return whether `text` is English sentences: mostly letters, mostly in common words."""
    other = len(_WRITTEN.sub("", text))
    return bool(text) and other <= 0.25 * len(text) and share(text) >= least


@cache
def _costs() -> tuple[dict[str, float], frozenset[str]]:
    """Return the log-probability of each word that is not too long, and how words begin."""
    likely = {
        word: -math.log(rank) - 2.0 for word, rank in _ranks().items() if len(word) <= LONGEST
    }
    return likely, frozenset(word[:end] for word in likely for end in range(1, len(word) + 1))


def spaced(letters: str) -> str:
    """Return `letters`, a run of lower-case letters, with the likeliest spaces put in.

    The likeliest words by their frequency alone (Zipf's law), in time linear in the length.
    """
    likely, beginnings = _costs()
    # best[i]: log-probability of the first i letters, and where their last word starts.
    best = [(0.0, 0)] + [(-math.inf, 0)] * len(letters)
    for start in range(len(letters)):
        so_far = best[start][0]
        best[start + 1] = max(best[start + 1], (so_far + _UNKNOWN, start))
        for end in range(start + 1, min(start + LONGEST, len(letters)) + 1):
            word = letters[start:end]
            if word not in beginnings:
                break
            if word in likely:
                best[end] = max(best[end], (so_far + likely[word], start))
    words: list[str] = []
    end = len(letters)
    while end:
        start = best[end][1]
        words.append(letters[start:end])
        end = start
    return " ".join(reversed(words))
