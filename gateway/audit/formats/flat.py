"""An entry as a row of columns, for tables: CSV and Parquet.

Most of what an entry says in lists (verdicts, classifiers) has no column. The last column is
the entry itself, canonical JSON, so that nothing is lost.
"""

from __future__ import annotations

from typing import Any

from gateway.audit.formats.types import Record, categories, part
from gateway.audit.projection import project_of
from gateway.audit.search import rules_of

MAPPING = 1

# Name -> where it stands in an entry. Their order is that of the columns.
_PATHS: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "type": ("type",),
    "recorded_at": ("recorded_at",),
    "request": ("request", "id"),
    "endpoint": ("request", "endpoint"),
    "stream": ("request", "stream"),
    "project": ("actor", "project"),
    "actor": ("actor", "key"),
    "end_user": ("actor", "safety_identifier"),
    "model": ("model", "name"),
    "policy": ("policy", "id"),
    "policy_version": ("policy", "version"),
    "policy_digest": ("policy", "digest"),
    "decision": ("decision", "id"),
    "stage": ("decision", "stage"),
    "action": ("decision", "action"),
    "code": ("decision", "code"),
    "coverage": ("coverage", "state"),
    "denial_status": ("denial", "status"),
    "denial_code": ("denial", "code"),
    "outcome": ("outcome", "reason"),
    "duration_ms": ("outcome", "duration_ms"),
    "input_tokens": ("usage", "input_tokens"),
    "output_tokens": ("usage", "output_tokens"),
    "reasoning_tokens": ("usage", "reasoning_tokens"),
    "replica": ("replica", "id"),
    "replica_seq": ("replica", "seq"),
    "build": ("replica", "build"),
}
LISTS = ("determining_rules", "rules", "categories")
COLUMNS = ("shard", "index", "seq", *_PATHS, *LISTS, "leaf", "entry")


def flat(record: Record) -> dict[str, Any]:
    """Return a row: `COLUMNS` in order, None where an entry says nothing."""
    entry = record.entry
    row: dict[str, Any] = {"shard": record.shard, "index": record.index, "seq": record.seq}
    row |= {name: part(entry, *path) for name, path in _PATHS.items()}
    row["project"] = project_of(entry)
    row["end_user"] = row["end_user"] or part(entry, "end_user", "safety_identifier")
    row["determining_rules"] = list(entry.get("determining_rules", ()))
    row["rules"] = list(rules_of(entry))
    row["categories"] = categories(entry)
    row["leaf"] = record.leaf
    row["entry"] = record.body.decode()
    return row
