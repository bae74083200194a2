"""Moments as text: UTC, ISO 8601, always with microseconds and `Z`.

One fixed width sorts the same as text and as time, reads the same in SQLite,
PostgreSQL and the log's JSON, and so lets an auditor compare a column with the entry
it was taken from byte for byte.
"""

from __future__ import annotations

from datetime import UTC, datetime

LENGTH = 27  # characters: 2026-01-31T23:59:59.000000Z


def as_text(moment: datetime) -> str:
    """Return `moment`, which must carry its time zone, as 27 characters."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def now_text() -> str:
    """Return the present moment as 27 characters."""
    return datetime.now(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def from_text(text: str) -> datetime:
    """Return the moment that `as_text` wrote.

    Raises:
        ValueError: If `text` is not ISO 8601.
    """
    return datetime.fromisoformat(text)
