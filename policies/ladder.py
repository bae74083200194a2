"""From strikes to a sanction. Pure: the strikes and the clock are arguments.

A strike counts for the length of the ladder's window. The highest step that the count
reaches says what follows. A step with a duration holds from the strike that reached it, for
that long; without one it holds for as long as the count does. Deactivation never ends by
itself: strikes that go out of the window do not bring an account back.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum


class Sanction(IntEnum):
    """What follows from strikes, mildest first, so `max()` picks the harshest."""

    NONE = 0
    WARN = 1  # requests are served and the caller is told
    THROTTLE = 2  # requests are served, fewer of them
    SUSPEND = 3  # requests are refused for a time
    DEACTIVATE = 4  # requests are refused until a person decides otherwise


@dataclass(frozen=True, slots=True)
class Step:
    """From `at` strikes on, `sanction`; for `duration` after the strike that reached it."""

    at: int
    sanction: Sanction
    duration: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Ladder:
    """Steps, lowest first, and for how long a strike counts."""

    window: timedelta
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an end user stands.

    Attributes:
        strikes: How many count now.
        sanction: What is in force.
        since: When the strike was made that it follows from.
        until: When it ends, if that is known.
    """

    strikes: int = 0
    sanction: Sanction = Sanction.NONE
    since: datetime | None = None
    until: datetime | None = None


def standing(ladders: Iterable[Ladder], strikes: Sequence[datetime], now: datetime) -> Standing:
    """Return where somebody with these strikes stands; of several ladders the harshest counts.

    Args:
        ladders: Those of the policies in force.
        strikes: When each was counted, in any order; later ones than `now` are left out.
        now: The moment that is asked about.
    """
    past = sorted(moment for moment in strikes if moment <= now)
    found = Standing()
    for ladder in ladders:
        found = max(found, _on(ladder, past, now), key=_harshness)
    return found


def _on(ladder: Ladder, past: Sequence[datetime], now: datetime) -> Standing:
    counting = past[bisect_right(past, now - ladder.window) :]
    # How many counted when each strike was made, itself included.
    counts = [
        index + 1 - bisect_right(past, moment - ladder.window) for index, moment in enumerate(past)
    ]
    best = Standing(len(counting))
    for step in ladder.steps:
        reached = [moment for moment, count in zip(past, counts, strict=True) if count >= step.at]
        since, until = _span(step, reached, counting)
        if since is not None and (until is None or now < until):
            best = max(best, Standing(best.strikes, step.sanction, since, until), key=_harshness)
    return best


def _span(
    step: Step, reached: Sequence[datetime], counting: Sequence[datetime]
) -> tuple[datetime | None, datetime | None]:
    """Return since when and until when a step holds; since None if it does not."""
    if step.duration is not None:
        return (reached[-1], reached[-1] + step.duration) if reached else (None, None)
    if step.sanction is Sanction.DEACTIVATE:
        return (reached[0] if reached else None), None
    return (counting[step.at - 1] if len(counting) >= step.at else None), None


def _harshness(one: Standing) -> tuple[int, float, int]:
    """Order by sanction, then by how long it holds: without an end is longest."""
    return one.sanction, one.until.timestamp() if one.until else math.inf, one.strikes
