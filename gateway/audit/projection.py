"""What the columns beside an entry must say, from the entry itself. Pure.

The database keeps a few fields of an entry in columns, to find it by. They are no part of
what is hashed, so whoever changes one hides an entry without touching the tree; each can be
derived from the entry, and the two are compared by who verifies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# The types that end a request: one of them per admitted request.
TERMINAL = frozenset(
    f"request.{outcome}"
    for outcome in ("completed", "blocked", "aborted", "client_disconnected", "error", "lost")
)


class Columns(NamedTuple):
    """The columns of one entry, but for its number in the log."""

    id: Any
    type: Any
    recorded_at: Any
    request_id: Any
    project: Any
    replica: Any
    replica_seq: Any
    terminal: Any


def columns_of(document: Mapping[str, Any]) -> Columns:
    """Return what the columns of an entry must say.

    Args:
        document: As it was read: its names in the order of its canonical bytes.

    Raises:
        KeyError, TypeError: If it lacks what every entry has.
    """
    replica, kind = document["replica"], document["type"]
    return Columns(
        document["id"],
        kind,
        document["recorded_at"],
        request_of(document),
        _project_in(document),
        replica["id"],
        replica["seq"],
        kind in TERMINAL,
    )


def request_of(document: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as it stands in the JSON
    """Return the id of the request an entry belongs to, or None."""
    request = document.get("request")
    return request.get("id") if isinstance(request, dict) else None


def project_of(document: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as it stands in the JSON
    """Return the project an entry belongs to, or None: its own, or that of its first part."""
    if "project" in document:
        return document["project"]
    owners = [
        name
        for name, part in document.items()
        if type(part) is dict and part.get("project") is not None
    ]
    return document[min(owners)]["project"] if owners else None


def _project_in(document: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as it stands in the JSON
    if "project" in document:
        return document["project"]
    for part in document.values():
        if type(part) is dict and part.get("project") is not None:
            return part["project"]
    return None
