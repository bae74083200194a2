"""What is recorded of kept content: who opened, searched, erased and held it, and for what.

`actor` is who did it: a key id, or `cli` and who uses it. A reason is the operator's words,
and the one text in the log that somebody typed: it must not name the person it is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.audit.entry import Entry

_MAX_REASON = 512  # code points
_MAX_CRITERIA, _MAX_CRITERION = 8, 64  # values of one filter that are recorded; code points


def erasure_requested(project: str, subject: str, *, id: str, reason: str, actor: str) -> Entry:
    """Content of an end user is to be erased; from here on that will be finished."""
    erasure = {"id": id, "reason": reason[:_MAX_REASON]}
    return _of_subject("erasure.requested", project, subject, actor, erasure=erasure)


def erasure_completed(project: str, subject: str, *, id: str, keys: int, actor: str) -> Entry:
    """So many keys of an end user's exchanges were destroyed."""
    erasure = {"id": id, "keys": keys}
    return _of_subject("erasure.completed", project, subject, actor, erasure=erasure)


def hold_added(project: str, subject: str | None, *, id: str, reason: str, actor: str) -> Entry:
    """Content is neither erased nor expires, until this hold is released."""
    hold = {"id": id, "reason": reason[:_MAX_REASON]}
    return _of_subject("hold.added", project, subject, actor, hold=hold)


def hold_released(project: str, subject: str | None, *, id: str, reason: str, actor: str) -> Entry:
    """A hold ended, and why."""
    hold = {"id": id, "reason": reason[:_MAX_REASON]}
    return _of_subject("hold.released", project, subject, actor, hold=hold)


def content_expired(fields: int, keys: int, *, before: Mapping[str, str]) -> Entry:
    """Content was deleted because its time had run out.

    Args:
        fields: How many fields.
        keys: How many keys, of exchanges of which nothing is left.
        before: By class, when what is gone was kept at the latest.
    """
    body = {
        "actor": {"key": "retention"},
        "expired": {"fields": fields, "keys": keys, "before": dict(before)},
    }
    return Entry("content.expired", body)


def rotation_started(projects: int, *, master_key: str, actor: str) -> Entry:
    """So many projects have new keys, under this master key."""
    body = {"actor": {"key": actor}, "vault": {"projects": projects, "master_key": master_key}}
    return Entry("vault.rotation_started", body)


def rotated(keys: int, *, master_key: str, actor: str) -> Entry:
    """So many data keys were wrapped anew, and the projects' earlier keys destroyed."""
    body = {"actor": {"key": actor}, "vault": {"keys": keys, "master_key": master_key}}
    return Entry("vault.rotated", body)


def opened(
    entries: Sequence[Mapping[str, Any]], *, id: str, project: str | None, reason: str, actor: str
) -> Entry:
    """Somebody is about to read the content of these entries."""
    body = {
        "actor": {"key": actor},
        "access": {"id": id, "reason": reason[:_MAX_REASON], "project": project},
        "records": [entry["id"] for entry in entries],
        "end_users": sorted({who for entry in entries if (who := _end_user(entry))}),
    }
    return Entry("access.opened", body, project=project)


def searched(criteria: Mapping[str, object], *, found: int, surface: str, actor: str) -> Entry:
    """Somebody is about to see what a search found."""
    body = {
        "actor": {"key": actor},
        "access": {"surface": surface, "found": found},
        "criteria": {name: _clipped(value) for name, value in criteria.items()},
    }
    return Entry("access.searched", body)


def exported(what: Mapping[str, str | None], *, actor: str) -> Entry:
    """Somebody is about to take entries away."""
    return Entry("access.exported", {"actor": {"key": actor}, "export": dict(what)})


def _end_user(entry: Mapping[str, Any]) -> str | None:
    subject: str | None = (entry.get("actor") or {}).get("safety_identifier")
    return subject


def _clipped(value: object) -> object:
    """Return what was searched for, so that any search fits into an entry."""
    if isinstance(value, list | tuple):
        shown = [str(each)[:_MAX_CRITERION] for each in value[:_MAX_CRITERIA]]
        more = len(value) - len(shown)
        return [*shown, f"and {more} more"] if more else shown
    return value


def _of_subject(
    kind: str, project: str, subject: str | None, actor: str, **details: Mapping[str, object]
) -> Entry:
    body: dict[str, Any] = {
        "actor": {"key": actor},
        "end_user": {"project": project, "safety_identifier": subject},
        **details,
    }
    return Entry(kind, body, project=project)
