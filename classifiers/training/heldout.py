"""Keeps the held-out tests out of the training data.

The tests themselves are not needed for that, only a list of the digests of their runs of
five words. A text with many of those runs is a test, or was copied from one, and is
dropped. What is shorter than a run, or rewritten word by word, is not noticed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from classifiers.training.example import Example

RUN = 5  # words
# Dropped with at least this share of its runs on the list, and at least this many.
SHARE = 0.5
LEAST = 2

_PERSON = b"ostiary"
_WORD = re.compile(r"\w+")


def digests(text: str) -> list[int]:
    """Return the digest of each run of five words in `text`, in order.

    A text of fewer words has one run, all of them; one without words has none. A run is
    NFKC, in lower case, joined by single spaces; its digest is the first 8 bytes of
    BLAKE2b (personalised, so not those of a longer one), little-endian.
    """
    # Lone surrogates have no UTF-8; no test holds any.
    plain = unicodedata.normalize("NFKC", text).lower()
    words = _WORD.findall(plain.encode("utf-8", "replace").decode())
    if not words:
        return []
    runs = range(max(1, len(words) - RUN + 1))
    return [_digest(" ".join(words[start : start + RUN])) for start in runs]


def _digest(run: str) -> int:
    return int.from_bytes(blake2b(run.encode(), digest_size=8, person=_PERSON).digest(), "little")


class HeldOut:
    """The list of digests.

    Attributes:
        runs: (runs,), uint64, sorted, each once.
    """

    def __init__(self, runs: Iterable[int] | npt.NDArray[np.uint64]):
        listed = runs if isinstance(runs, np.ndarray) else np.array(list(runs), dtype="<u8")
        self.runs: npt.NDArray[np.uint64] = np.unique(listed)

    @classmethod
    def read(cls, path: Path) -> HeldOut:
        """Read a file of uint64, little-endian. Raises `ValueError` if it is empty or torn."""
        content = path.read_bytes()
        if not content or len(content) % 8:
            raise ValueError(f"`{path.name}` is not a list of 8-byte digests")
        return cls(np.frombuffer(content, dtype="<u8"))

    def holds(self, text: str) -> bool:
        """Return whether at least half of the runs of `text`, and at least two, are listed."""
        found = np.array(digests(text), dtype="<u8")
        if found.size < LEAST or self.runs.size == 0:
            return False
        places = np.minimum(np.searchsorted(self.runs, found), self.runs.size - 1)
        listed = int(np.count_nonzero(self.runs[places] == found))
        return listed >= LEAST and listed >= SHARE * found.size

    def without(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Yield the examples that are not held out; a reply also goes by its prompt."""
        for example in examples:
            if not self.holds(example.text) and not (example.prompt and self.holds(example.prompt)):
                yield example
