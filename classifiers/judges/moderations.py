"""Another server's `POST /v1/moderations` as a classifier.

Its scores are taken as they are, for the categories it is configured to answer for. A
result that lacks one of them, or holds something that is no probability, is no answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from classifiers.categories import MODERATION
from classifiers.judges.asking import Turns
from classifiers.judges.content import tail, windows
from classifiers.judges.service import Service
from classifiers.judges.text_model import MALFORMED, TOO_LONG, TextModelError
from classifiers.types import Passage, Verdict

_WINDOW = 16_000  # code points in one input
_OVERLAP = 500
_MOST_WINDOWS = 16
_CONTEXT = 1000  # code points of the text before a passage that are read with it
_INPUTS = 16  # in one question

# By default the server's names are ours.
SAME: Mapping[str, str] = {name: name for name in MODERATION}

_Input = tuple[int, str]  # a passage's index, and what is read of it


class Moderations:
    """A classifier behind a moderation endpoint.

    Args:
        name: Unique within a panel, without version.
        service: Where it is.
        model: The model's name there; empty lets the server choose.
        labels: The server's categories -> ours.
        turns: How many questions are out at once.

    Attributes:
        name: With version.
        digest: SHA-256 over the address, the model's name and the labels, hex. It does
            not cover what the server does.
        categories: Ours, as `labels` says.
    """

    def __init__(
        self,
        name: str,
        service: Service,
        model: str = "",
        labels: Mapping[str, str] = SAME,
        turns: Turns | None = None,
    ):
        self.name = f"{name}@1"
        self.categories = frozenset(labels.values())
        told = [service.url, model, *(f"{theirs}={ours}" for theirs, ours in labels.items())]
        self.digest = hashlib.sha256("\0".join(told).encode()).hexdigest()
        self._service = service
        self._model = model
        self._labels = dict(labels)
        self._turns = turns or Turns()

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage; `Classifier.classify` has the contract."""
        inputs: list[_Input] = []
        silent: list[dict[str, str]] = []
        for index, passage in enumerate(passages):
            text = tail(passage.before, _CONTEXT) + passage.text
            cut = windows(text, _WINDOW, _OVERLAP, _MOST_WINDOWS)
            inputs += ((index, each) for each in cut.texts)
            silent.append({} if cut.complete else dict.fromkeys(self.categories, TOO_LONG))
        batches = [inputs[n : n + _INPUTS] for n in range(0, len(inputs), _INPUTS)]
        told = await self._turns.each(self._ask, batches)
        best: list[dict[str, float]] = [{} for _ in passages]
        for batch, results in zip(batches, told, strict=True):
            for number, (index, _) in enumerate(batch):
                if isinstance(results, str):
                    silent[index] |= dict.fromkeys(self.categories, results)
                else:
                    _add(results[number], best[index], silent[index])
        return [
            [Verdict(self.name, each, score) for each, score in best[index].items() if score > 0]
            + [Verdict(self.name, each, None, error=why) for each, why in silent[index].items()]
            for index in range(len(passages))
        ]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._service.aclose()

    async def _ask(self, batch: Sequence[_Input]) -> list[dict[str, float | None]]:
        texts = [text.encode("utf-8", "replace").decode() for _, text in batch]
        body: dict[str, Any] = {"input": texts}
        if self._model:
            body["model"] = self._model
        reply = await self._service.post("moderations", body)
        results = reply.get("results") if isinstance(reply, dict) else None
        if not isinstance(results, list) or len(results) != len(batch):
            raise TextModelError(MALFORMED)
        return [self._scores(result) for result in results]

    def _scores(self, result: Any) -> dict[str, float | None]:  # noqa: ANN401 - JSON
        """Return the highest score per category of ours, or None where one is missing."""
        given = result.get("category_scores") if isinstance(result, dict) else None
        scores: dict[str, float | None] = {}
        for theirs, ours in self._labels.items():
            score = _probability(given.get(theirs) if isinstance(given, dict) else None)
            known = scores.get(ours, score)
            scores[ours] = None if score is None or known is None else max(score, known)
        return scores


def _add(
    result: Mapping[str, float | None], best: dict[str, float], silent: dict[str, str]
) -> None:
    for category, score in result.items():
        if score is None:
            silent[category] = MALFORMED
        else:
            best[category] = max(score, best.get(category, 0.0))


def _probability(score: Any) -> float | None:  # noqa: ANN401 - JSON
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    return float(score) if is_number and 0 <= score <= 1 else None
