"""A second opinion on prompt injection: hashed n-grams of letters and words, and a sum.

Logistic regression over runs of letters and of words, some 0.5 million weights, no tensors:
it costs less than a millisecond, knows the wording of attacks in English, German, Spanish
and French, and is wrong in other ways than the encoder, which is why there are two. A
text is read in overlapping windows and the worst one counts, so a long harmless page does
not dilute one planted sentence.

It does not know what an instruction means: a bare order in the words of everyday business
is beyond it. It judges what users and tools wrote; of the model's own words, and of the
operator's, it says nothing. In a language that it was not taught a low score means
nothing, and it says `unsupported_language` instead.
"""

from __future__ import annotations

import asyncio
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import load

from classifiers.language import supported
from classifiers.normalize import forms
from classifiers.types import Passage, Source, Verdict

FOLDER = Path(__file__).parent / "weights"
MODEL, DESCRIPTION = "ngrams.safetensors", "ngrams.toml"
FORMAT = "ostiary-ngrams/1"
CATEGORY = "prompt_injection"

BITS = 18  # of a bucket's number
LETTERS = (3, 4, 5)  # lengths of the runs of letters
WORDS = (1, 2, 3)  # and of words, a punctuation mark being one

WINDOW = 320  # code points that are judged together
STRIDE = 80  # from the start of one window to the next
# A long text is read in blocks, so that other requests get a turn in between.
BLOCK = 32 * 1024
# Beyond this nothing is read, and the answer says so. Code points in one passage.
LIMIT = 4 * 1024 * 1024

QUIET = 0.001  # below it a score is not worth a record
HIGH = 0.5  # a score that counts in whatever language
LANGUAGES = frozenset({"en", "de", "es", "fr"})

UNSUPPORTED, TOO_LONG = "unsupported_language", "too_long"

# A model's reply that the caller hands back is the caller's word.
_TABLES: Mapping[Source, str] = {
    Source.USER: "prompt",
    Source.ASSISTANT: "prompt",
    Source.TOOL: "tool",
}

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_SPACE = re.compile(r"\s+")
_DIGIT = re.compile(r"[0-9]")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIXER = np.uint64(0xBF58476D1CE4E5B9)


class NgramsError(ValueError):
    """Weights that cannot be used; says what is wrong with which file."""


@dataclass(frozen=True, slots=True)
class Table:
    """The weights for one kind of text.

    Attributes:
        weights: (2 ** BITS,), float64: by bucket.
        bias: Added to every sum.
    """

    weights: Floats
    bias: float


@dataclass(frozen=True, slots=True)
class Weights:
    """What the classifier is made of.

    Attributes:
        tables: `prompt` and `tool`.
        slope: Of the calibration: probability = sigmoid(slope * logit + offset).
        offset: See `slope`.
        digest: SHA-256 over the weights and their description, hex.
    """

    tables: Mapping[str, Table]
    slope: float
    offset: float
    digest: str


class InjectionNgrams:
    """The n-gram classifier over its packaged weights, or those in `folder`.

    Attributes:
        name: `ngrams@1`.
        digest: SHA-256 of the weights and their calibration, hex.
        categories: `prompt_injection` alone.

    Raises:
        NgramsError: If the weights cannot be read or are not the pinned ones.
    """

    name = "ngrams@1"
    categories = frozenset({CATEGORY})

    def __init__(self, folder: Path = FOLDER):
        self._weights = read(folder)
        self.digest = self._weights.digest

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage; `Classifier.classify` has the contract.

        Waits for nothing unless a text is longer than one block.
        """
        return [await self._passage(passage) for passage in passages]

    async def _passage(self, passage: Passage) -> list[Verdict]:
        if passage.source not in _TABLES:
            return []
        score = await self._score(passage)
        text = passage.before[-WINDOW:] + passage.text
        trouble = None
        if score < HIGH:
            if len(passage.text) > LIMIT:
                trouble = TOO_LONG
            elif not supported(text, LANGUAGES):
                trouble = UNSUPPORTED
        if trouble is not None:
            return [Verdict(self.name, CATEGORY, None, error=trouble)]
        return [Verdict(self.name, CATEGORY, round(score, 4))] if score >= QUIET else []

    async def _score(self, passage: Passage) -> float:
        """Return the highest probability of any window, 0 if there is nothing to read."""
        table = self._weights.tables[_TABLES[passage.source]]
        text = passage.text[:LIMIT]
        highest = -math.inf
        for start in range(0, len(text), BLOCK):
            if start:
                await asyncio.sleep(0)
            before = (passage.before if start == 0 else text[:start])[-WINDOW:]
            for folded, judged in _readings(before, text[start : start + BLOCK]):
                highest = max(highest, logit(folded, table, judged))
        return _sigmoid(self._weights.slope * highest + self._weights.offset)


def _readings(before: str, text: str) -> Iterator[tuple[str, int]]:
    """Yield what `before + text` says, folded, and how much of that was judged before."""
    read = forms(before + text)
    # Where something is masked, the masked form is noise to n-grams.
    for form in read[1:] or read:
        place = form.position(len(before))
        head = fold(form.text[:place])
        folded = fold(form.text[place:])
        if folded.strip():
            yield head + folded, len(head)


def fold(text: str) -> str:
    """Return `text` in lower case, digits as 0, white space as single spaces."""
    return _DIGIT.sub("0", _SPACE.sub(" ", text.lower()))


def logit(text: str, table: Table, judged: int = 0) -> float:
    """Return the highest logit of the windows of `text` that end after `judged`.

    Args:
        text: Folded, without lone surrogates.
        table: Of its kind.
        judged: How much of it, code points, was judged before.
    """
    places, buckets = grams(text)
    if not places.size:
        return -math.inf
    sums = np.bincount(places, table.weights[buckets], minlength=len(text))
    counts = np.bincount(places, minlength=len(text))
    starts, ends = windows(len(text))
    late = ends > judged
    starts, ends = starts[late], ends[late]
    total = np.concatenate(([0.0], np.cumsum(sums)))
    number = np.concatenate(([0], np.cumsum(counts)))
    norms = np.sqrt(np.maximum(number[ends] - number[starts], 1))
    return float(((total[ends] - total[starts]) / norms).max()) + table.bias


def windows(length: int) -> tuple[Integers, Integers]:
    """Return where the windows of a text of `length` code points start and end.

    They cover it; the last one ends where the text does.
    """
    starts = np.arange(0, max(length - WINDOW, 0) + STRIDE, STRIDE, dtype=np.int64)
    starts = np.unique(np.minimum(starts, max(length - WINDOW, 0)))
    return starts, np.minimum(starts + WINDOW, length)


def grams(text: str) -> tuple[Integers, Integers]:
    """Return where each n-gram of a folded text starts, and its bucket, in no order.

    Every run of letters and every run of words counts as often as it occurs.
    """
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.uint64)
    tokens = [(match.start(), crc32(match[0].encode())) for match in _TOKEN.finditer(text)]
    places = np.array([place for place, _ in tokens], dtype=np.int64)
    words = np.array([word for _, word in tokens], dtype=np.uint64)
    every = np.arange(codes.size, dtype=np.int64)
    found: list[tuple[Integers, Integers]] = []
    for salt, (sequence, origins, lengths) in enumerate(
        ((codes, every, LETTERS), (words, places, WORDS))
    ):
        run = np.zeros_like(sequence)
        for length in range(1, min(max(lengths), sequence.size) + 1):
            run = (
                run[: sequence.size - length + 1] * _FACTOR + sequence[length - 1 :] + np.uint64(1)
            )
            if length in lengths:
                found.append((origins[: run.size], _buckets(run, 16 * salt + length)))
    if not found:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _buckets(run: npt.NDArray[np.uint64], salt: int) -> Integers:
    mixed = (run + np.uint64(salt)) * _MIXER
    mixed ^= mixed >> np.uint64(31)
    mixed *= _FACTOR
    return np.asarray((mixed >> np.uint64(64 - BITS)).astype(np.int64))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(value, -700.0)))


def read(folder: Path = FOLDER) -> Weights:
    """Read the weights in `folder`.

    Raises:
        NgramsError: If a file is missing, is not the pinned one or not of this format.
    """
    try:
        content, words = (folder / MODEL).read_bytes(), (folder / DESCRIPTION).read_bytes()
    except OSError as error:
        raise NgramsError(f"cannot read the n-gram weights: {error}") from error
    description = _description(words)
    if sha256(content).hexdigest() != description["sha256"]:
        raise NgramsError(f"`{MODEL}` is not the file that `{DESCRIPTION}` names by its SHA-256")
    return Weights(
        _tables(content, description["scale"], description["bias"]),
        float(description["slope"]),
        float(description["offset"]),
        sha256(sha256(content).digest() + sha256(words).digest()).hexdigest(),
    )


def _description(content: bytes) -> dict[str, Any]:
    try:
        description = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NgramsError(f"`{DESCRIPTION}` is not TOML: {error}") from error
    if description.get("format") != FORMAT:
        raise NgramsError(f"`{DESCRIPTION}` is not of the format `{FORMAT}`")
    missing = {"sha256", "scale", "bias", "slope", "offset"} - description.keys()
    if missing:
        raise NgramsError(f"`{DESCRIPTION}` says nothing of `{min(missing)}`")
    return description


def _tables(
    content: bytes, scales: Mapping[str, float], biases: Mapping[str, float]
) -> dict[str, Table]:
    try:
        tensors = load(content)
    except safetensors.SafetensorError as error:
        raise NgramsError(f"`{MODEL}` is not a safetensors file: {error}") from error
    tables: dict[str, Table] = {}
    for kind in set(_TABLES.values()):
        tensor = tensors.get(kind)
        if tensor is None or tensor.shape != (1 << BITS,) or tensor.dtype != np.int8:
            raise NgramsError(f"`{MODEL}` has no int8 table `{kind}` of {1 << BITS} weights")
        tables[kind] = Table(tensor * float(scales[kind]), float(biases[kind]))
    return tables
