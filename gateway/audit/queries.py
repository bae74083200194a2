"""Reading the decision log: its end, and one entry, decision or request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from gateway.store import entries
from gateway.store.entries import StoredEntry
from gateway.store.session import Database

_MAX_SHOWN = 10_000  # entries of one request
_DECISION = re.compile(r"dec_([0-9a-f]{32})")
_ENTRY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def tail(
    database: Database, limit: int, after_seq: int | None = None
) -> list[dict[str, Any]]:
    """Return up to `limit` entries in log order, each with its `seq`.

    Args:
        database: Where the log is.
        limit: At most so many.
        after_seq: Entries after this number; None means the last ones.

    Raises:
        StoreUnavailable: If the log cannot be read.
    """
    if after_seq is None:
        return _documents(await entries.latest(database, limit))
    return _documents(await entries.after(database, after_seq, limit))


async def show(database: Database, id: str) -> list[dict[str, Any]]:
    """Return the entry or decision with this id, or all entries of a request.

    Args:
        database: Where the log is.
        id: An entry's UUID, `dec_...`, or `req_...`.

    Returns:
        In log order; empty if there is no such thing.

    Raises:
        StoreUnavailable: If the log cannot be read.
    """
    if (entry_id := entry_id_of(id)) is not None:
        return _documents(await entries.with_id(database, entry_id))
    return _documents(await entries.of_request(database, id, _MAX_SHOWN))


def entry_id_of(id: str) -> str | None:
    """Return the UUID of an entry that is named by it or by its decision's id, or None."""
    if decision := _DECISION.fullmatch(id):
        return str(UUID(decision.group(1)))
    return id if _ENTRY.fullmatch(id) else None


def _documents(stored: Sequence[StoredEntry]) -> list[dict[str, Any]]:
    return [{"seq": seq, **orjson.loads(body)} for seq, body in stored]
