"""The embedded encoder: a small fine-tuned MiniLM that reads every passage.

It answers for harms by category and for prompt attacks, with calibrated probabilities,
in a few milliseconds on a processor. It reads a reply together with the prompt it
answers, and long texts in overlapping windows, of which the highest score counts.

It was trained on English. Where a text is in another language or script, a high score
still counts, but a low one means nothing: it answers `unsupported_language` instead. A
text beyond its bound is read up to there; what was not read is never called harmless.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers import encoder_weights
from classifiers.batching import Batcher
from classifiers.encoder_model import Model, coherent
from classifiers.encoder_text import Kind, Shown
from classifiers.language import supported
from classifiers.types import TOO_LONG, UNSUPPORTED_LANGUAGE, Passage, Source, Verdict

LONGEST = 1 << 20  # code points of one passage that are looked at
MOST_WINDOWS = 512  # of one passage: about 65,000 tokens
CAPACITY = 1024  # tokens of one run, padding included
CACHED = 8192  # passages whose scores are kept
LONG = 2_000  # code points from which a text is prepared off the event loop
QUIET = 0.001  # below it a score is not worth a record
HIGH = 0.5  # a score that counts in whatever language

_KINDS: Mapping[Source, Kind] = {
    Source.SYSTEM: Kind.PROMPT,
    Source.DEVELOPER: Kind.PROMPT,
    Source.USER: Kind.PROMPT,
    Source.TOOL: Kind.TOOL,
}  # the rest is said by the model
# What comes again with every turn of a conversation.
_REPEATED = frozenset({*_KINDS, Source.ASSISTANT})
# The operator's and the application's own instructions attack nobody.
_TRUSTED = frozenset({Source.SYSTEM, Source.DEVELOPER})
_INJECTION = "prompt_injection"

Scores = npt.NDArray[np.float64]  # (heads,), calibrated


class Encoder:
    """The encoder over its packaged weights, or those in `folder`.

    Args:
        folder: Where the weights lie.
        threads: How many runs go on at once; as many as there are cores, at most 4, if None.

    Raises:
        WeightsError: If the weights cannot be read or are not the pinned ones.
    """

    def __init__(self, folder: Path = encoder_weights.FOLDER, threads: int | None = None):
        self._model, self.digest, description = _load(folder)
        self.name = str(description["name"])
        self._heads = self._model.heads
        self.categories = frozenset(self._heads)
        calibration = description["calibration"]
        self._slopes = np.array([calibration[head]["slope"] for head in self._heads])
        self._offsets = np.array([calibration[head]["offset"] for head in self._heads])
        self._batcher: Batcher[Shown, npt.NDArray[np.float32]] = Batcher(
            lambda batch: list(self._model.run(batch)),
            lambda shown: len(shown.ids),
            capacity=CAPACITY,
            threads=threads or min(4, os.cpu_count() or 1),
        )
        self._cache = _Cache(CACHED)
        self._readings: dict[bytes, _Reading] = {}  # that go on; owned by the event loop

    @cached_property
    def _injection(self) -> int | None:
        return self._heads.index(_INJECTION) if _INJECTION in self._heads else None

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage; see `Classifier.classify`."""
        if len(passages) == 1:
            return [await self._judge(passages[0])]
        return list(await asyncio.gather(*(self._judge(passage) for passage in passages)))

    async def _judge(self, passage: Passage) -> list[Verdict]:
        kind = _KINDS.get(passage.source, Kind.REPLY)
        text = passage.before + passage.text
        if not text.strip():
            return []
        prompt = passage.prompt if kind is Kind.REPLY else ""
        key = _key(kind, text, prompt)
        found = self._cache.get(key)
        if found is None:
            found = await self._read_once(key, kind, text, prompt)
            if passage.source in _REPEATED:
                self._cache.put(key, found)
        scores, trouble = found
        return self._verdicts(scores, trouble, passage.source)

    async def _read_once(
        self, key: bytes, kind: Kind, text: str, prompt: str
    ) -> tuple[Scores, str | None]:
        """Read what the panel and the monitor ask about at the same time only once."""
        reading = self._readings.get(key)
        if reading is None:
            task = asyncio.ensure_future(self._read(kind, text, prompt))
            reading = self._readings[key] = _Reading(task)
        reading.waiting += 1
        try:
            return await asyncio.shield(reading.task)
        finally:
            reading.waiting -= 1
            if not reading.waiting:
                reading.task.cancel()  # of one that is done nothing is left to cancel
                self._readings.pop(key, None)

    async def _read(self, kind: Kind, text: str, prompt: str) -> tuple[Scores, str | None]:
        """Return the scores of `text`, and why low ones do not count, if they do not."""
        if len(text) < LONG:
            shown, trouble = self._prepare(kind, text, prompt)
        else:
            shown, trouble = await asyncio.to_thread(self._prepare, kind, text, prompt)
        jobs = [asyncio.wrap_future(self._batcher.submit(window)) for window in shown]
        try:
            logits = np.stack([await job for job in jobs])
        finally:
            for job in jobs:
                job.cancel()  # of those that are done nothing is left to cancel
        log_odds = coherent(self._heads, logits * self._slopes + self._offsets)
        return _sigmoid(log_odds).max(axis=0), trouble

    def _prepare(self, kind: Kind, text: str, prompt: str) -> tuple[list[Shown], str | None]:
        shown = self._model.windows(kind, text[:LONGEST], prompt, MOST_WINDOWS + 1)
        if len(shown) > MOST_WINDOWS or len(text) > LONGEST:
            return shown[:MOST_WINDOWS], TOO_LONG
        return shown, None if supported(text) else UNSUPPORTED_LANGUAGE

    def _verdicts(self, scores: Scores, trouble: str | None, source: Source) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for index, (head, score) in enumerate(zip(self._heads, scores.tolist(), strict=True)):
            if index == self._injection and source in _TRUSTED:
                continue
            if trouble is not None and score < HIGH:
                verdicts.append(Verdict(self.name, head, None, error=trouble))
            elif score >= QUIET:
                verdicts.append(Verdict(self.name, head, round(score, 4)))
        return verdicts


@lru_cache(maxsize=2)
def _load(folder: Path) -> tuple[Model, str, Mapping[str, Any]]:
    """Return the model in `folder`, its digest and description; once a process."""
    weights = encoder_weights.read(folder)
    return Model(weights), weights.digest, weights.description


def _sigmoid(values: Scores) -> Scores:
    limit = math.log(1e9)
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -limit, limit))))


def _key(kind: Kind, text: str, prompt: str) -> bytes:
    digest = blake2b(kind.encode(), digest_size=16)
    for part in (prompt, text):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()


@dataclass(slots=True, eq=False)
class _Reading:
    """A text that is being read, and how many wait for it."""

    task: asyncio.Future[tuple[Scores, str | None]]
    waiting: int = 0


class _Cache:
    """The scores of the passages read last; owned by the event loop."""

    def __init__(self, size: int):
        self._size = size
        self._entries: OrderedDict[bytes, tuple[Scores, str | None]] = OrderedDict()

    def get(self, key: bytes) -> tuple[Scores, str | None] | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: bytes, scores: tuple[Scores, str | None]) -> None:
        self._entries[key] = scores
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
