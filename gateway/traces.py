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

MOST = 200  # results, the latest


def traced(results: Sequence[Step]) -> bytes:
    """Return a trace of results; empty if there are none."""
    if not results:
        return b""
    rows = [
        [each.tool, each.digest, each.turns_ago, each.scores, each.unread]
        for each in results[-MOST:]
    ]
    return zlib.compress(orjson.dumps(rows, option=orjson.OPT_SORT_KEYS))


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
