"""Says with each delta what the probes read while it was said. No torch.

A token's scores are read in the pass that drew it: they come from what the model had read
and thought when it chose that token. A delta has, for each category, the highest score of
its tokens, of those before it that made no text yet (a header, half a character), and of the
one before these, a part of whose text may have been held back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from model_runner.reply import TokenReply
from model_runner.types import Delta, Finish

Scores = Sequence[float]  # of one token, in the order of the categories


class ProbedReply:
    """One reply as its tokens and their scores arrive.

    Args:
        reply: The reply as its tokens arrive.
        categories: What is scored; if it is nothing, ids come without scores.
    """

    def __init__(self, reply: TokenReply, categories: Sequence[str]) -> None:
        self._reply = reply
        self._categories = categories
        self._highest: Mapping[str, float] | None = None  # from the last delta's last token on

    @property
    def stopped(self) -> bool:
        """Whether no more ids are wanted."""
        return self._reply.stopped

    def push(self, token_ids: Sequence[int], scores: Sequence[Scores]) -> Iterator[Delta]:
        """Read the next ids, each with its scores, and yield what may be said by now.

        Raises:
            MalformedOutput: As `TokenReply.push`.
        """
        if not self._categories:
            yield from self._reply.push(token_ids)
            return
        for token_id, of_token in zip(token_ids, scores, strict=True):
            here = dict(zip(self._categories, of_token, strict=True))
            probed = self._highest = highest(self._highest, here) if self._highest else here
            for delta in self._reply.push([token_id]):
                yield replace(delta, probed=probed)
                self._highest = here

    def finish(self, *, hit_limit: bool) -> Iterator[Delta | Finish]:
        """Yield what was still held back, and the finish; see `TokenReply.finish`."""
        for item in self._reply.finish(hit_limit=hit_limit):
            yield item if isinstance(item, Finish) else replace(item, probed=self._highest)


def highest(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return the higher score of each category; a score that is no number stays."""
    return {
        category: score if score != score or score > other[category] else other[category]
        for category, score in one.items()
    }
