"""What a thought had read, as it travels in the thought's seal. Pure.

A sealed thought can be sent back without the results that led to it. So it carries a trace of
them: whose they were, a digest, and what they scored. What of it is not in the history any
more, as it was, is taken to have been there. No text; and nobody but the gateway can read it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import orjson

from policies.trail import Step

MOST = 200  # results


def traced(results: Sequence[Step]) -> bytes:
    """Return a trace of results, the worst of them if there are many; empty if there are none."""
    if not results:
        return b""
    rows = [
        [each.tool, each.digest, each.turns_ago, each.scores, each.unread]
        for each in _worst(results)
    ]
    return zlib.compress(orjson.dumps(rows, option=orjson.OPT_SORT_KEYS))


def _worst(results: Sequence[Step]) -> list[Step]:
    """Return those that nobody scored, whole or in part, and that scored highest, as they stood.

    Of those alike the latest. So no number of harmless results displaces one that counts.
    """
    known = set().union(*(each.scores for each in results))

    def worst(place: int) -> tuple[bool, float, int]:
        each = results[place]
        unscored = not known or bool(known - each.scores.keys())
        return unscored, max(each.scores.values(), default=0.0), place

    kept = sorted(range(len(results)), key=worst, reverse=True)[:MOST]
    return [results[place] for place in sorted(kept)]


def taken_out(traces: Iterable[tuple[int, bytes]], present: Sequence[Step]) -> list[Step]:
    """Return the results that thoughts had read and that are not there any more, each once.

    Args:
        traces: Each with how many messages of the user came after its thought.
        present: The results of the history.
    """
    known = {each.digest for each in present}
    found: dict[str, Step] = {}
    for later, trace in traces:
        for tool, digest, turns_ago, scores, unread in orjson.loads(zlib.decompress(trace)):
            if digest not in known:
                step = Step(tool, 0, later + turns_ago, False, digest, scores, unread)
                found.setdefault(digest, step)
    return list(found.values())
