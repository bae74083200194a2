"""Moments as text: UTC, ISO 8601, always with microseconds and `Z`.

One fixed width sorts the same as text and as time, reads the same in SQLite,
PostgreSQL and the log's JSON, and so lets an auditor compare a column with the entry
it was taken from byte for byte.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

LENGTH = 27  # characters: 2026-01-31T23:59:59.000000Z


def as_text(moment: datetime) -> str:
    """Return `moment`, which must carry its time zone, as 27 characters."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def now_text() -> str:
    """Return the present moment as 27 characters."""
    second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second_text(second)}.{microsecond:06d}Z"


@lru_cache(maxsize=2)  # to write the date anew for every entry costs ten times as much
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


def from_text(text: str) -> datetime:
    """Return the moment that `as_text` wrote.

    Raises:
        ValueError: If `text` is not ISO 8601.
    """
    return datetime.fromisoformat(text)
