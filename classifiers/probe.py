"""What the model's own probes read, as a classifier's verdicts.

The reading is done where the model is, while it speaks (`model_runner.probes`); here it
only becomes an answer. A passage that the model did not just say, such as a prompt, a
thought that a caller sends back or a reply of an engine elsewhere, was not read: that is an
answer missing, never a low score. So this one is asked on request, by the rules that name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from classifiers.types import Passage, Verdict

NOT_PROBED = "not_probed"


class Probe:
    """The probes of one file.

    Args:
        digest: SHA-256 of the file, hex.
        categories: What they were trained for.
    """

    def __init__(self, digest: str, categories: Iterable[str]) -> None:
        self.name = f"probe@{digest[:8]}"
        self.digest = digest
        self.categories = frozenset(categories)

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Return what was read; see `Classifier.classify`."""
        return [
            [self._verdict(category, passage) for category in sorted(self.categories)]
            for passage in passages
        ]

    async def aclose(self) -> None:
        """Do nothing: the model is its runner's."""

    def _verdict(self, category: str, passage: Passage) -> Verdict:
        score = (passage.probed or {}).get(category)
        error = NOT_PROBED if score is None else None
        return Verdict(self.name, category, score, error=error)
