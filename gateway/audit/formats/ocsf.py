"""OCSF (Open Cybersecurity Schema Framework) 1.8.0, one event a line.

A decision above `allow` is a Detection Finding (class 2004), everything else API Activity
(class 6003). `raw_data` is the entry itself, canonical JSON; what OCSF has no place for is
under `unmapped`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import IO, Any

import orjson

from gateway.audit.formats.types import Format, Record, Weight, categories, milliseconds, part
from gateway.audit.formats.types import weight as weight_of

MAPPING = 1
VERSION = "1.8.0"

_API_ACTIVITY, _DETECTION_FINDING = 6003, 2004
_OTHER = 99
_SEVERITY = {
    Weight.INFORMATIONAL: (1, "Informational"),
    Weight.LOW: (2, "Low"),
    Weight.MEDIUM: (3, "Medium"),
    Weight.HIGH: (4, "High"),
}
_CREATE, _READ, _UPDATE, _DELETE = (1, "Create"), (2, "Read"), (3, "Update"), (4, "Delete")
_ACTIVITY = {  # by the last word of an entry's type; others are 99, and named
    "admitted": _CREATE,
    "created": _CREATE,
    "added": _CREATE,
    "drafted": _CREATE,
    "proposed": _CREATE,
    "struck": _CREATE,
    "searched": _READ,
    "opened": _READ,
    "exported": _READ,
    "signed": _UPDATE,
    "approved": _UPDATE,
    "rejected": _UPDATE,
    "activated": _UPDATE,
    "rolled_back": _UPDATE,
    "sanctioned": _UPDATE,
    "reversed": _UPDATE,
    "rotated": _UPDATE,
    "revoked": _DELETE,
    "retired": _DELETE,
    "released": _DELETE,
    "expired": _DELETE,
}
_FAILED = frozenset({"denied", "error", "lost", "aborted", "refused", "client_disconnected"})
_ACTION = {  # what was done -> action and disposition of the Security Control profile
    "flag": ((3, "Observed"), (15, "Detected")),
    "warn": ((1, "Allowed"), (19, "Alert")),
    "redact": ((4, "Modified"), (11, "Corrected")),
    "review": ((2, "Denied"), (3, "Quarantined")),
    "block": ((2, "Denied"), (2, "Blocked")),
}


class _Writer:
    def __init__(self, file: IO[bytes], build: str):
        self._file = file

    def write(self, records: Sequence[Record]) -> None:
        self._file.write(b"".join(orjson.dumps(event(record)) + b"\n" for record in records))

    def close(self) -> None:
        """Nothing stands at the end."""


def event(record: Record) -> dict[str, Any]:
    """Return an entry as an OCSF event."""
    if part(record.entry, "decision", "action") in {None, "allow"}:
        return _activity(record)
    return _finding(record)


def _base(record: Record, klass: int, activity: tuple[int, str], profile: str) -> dict[str, Any]:
    entry = record.entry
    severity, named = _SEVERITY[weight_of(entry)]
    product = {
        "name": "Ostiary",
        "vendor_name": "Ostiary",
        "version": str(part(entry, "replica", "build")),
    }
    metadata = {
        "version": VERSION,
        "product": product,
        "profiles": [profile],
        "uid": entry["id"],
        "event_code": entry["type"],
        "log_name": record.shard,
        "log_version": str(MAPPING),
        "sequence": record.index,
        "original_time": entry["recorded_at"],
    }
    if request := part(entry, "request", "id"):
        metadata["correlation_uid"] = request
    return {
        "activity_id": activity[0],
        "activity_name": activity[1],
        "category_uid": klass // 1000,
        "class_uid": klass,
        "type_uid": klass * 100 + activity[0],
        "severity_id": severity,
        "severity": named,
        "time": milliseconds(entry["recorded_at"]),
        "message": _message(entry),
        "metadata": metadata,
        "raw_data": record.body.decode(),
        "raw_data_hash": _sha256(record.body),
        "raw_data_size": len(record.body),
        "unmapped": {"leaf_hash": record.leaf, "seq": record.seq, "shard": record.shard},
    }


def _activity(record: Record) -> dict[str, Any]:
    entry = record.entry
    kind = str(entry["type"])
    last = kind.rpartition(".")[2]
    found = _base(record, _API_ACTIVITY, _ACTIVITY.get(last, (_OTHER, kind)), "ai_operation")
    failed = last in _FAILED
    found |= {
        "actor": _actor(entry),
        "api": _api(entry, kind),
        "src_endpoint": _source(entry),
        "status_id": 2 if failed else 1,
        "status": "Failure" if failed else "Success",
    }
    code = part(entry, "denial", "code") or part(entry, "decision", "code")
    found |= _said(status_code=code, status_detail=part(entry, "outcome", "reason"))
    if (status := part(entry, "denial", "status")) is not None:
        found["http_response"] = {"code": status}
    if (duration := part(entry, "outcome", "duration_ms")) is not None:
        found["duration"] = int(duration)
    if model := part(entry, "model", "name"):
        runner = part(entry, "model", "runner") or "ostiary"
        found["ai_model"] = {"name": model, "ai_provider": runner}
    if usage := entry.get("usage"):
        asked, answered = usage["input_tokens"], usage["output_tokens"]
        found["message_context"] = {
            "service": {"name": "ostiary"},
            "prompt_tokens": asked,
            "completion_tokens": answered,
            "total_tokens": asked + answered,
        }
    return found


def _finding(record: Record) -> dict[str, Any]:
    entry = record.entry
    decision = entry["decision"]
    action, disposition = _ACTION.get(decision["action"], ((0, "Unknown"), (0, "Unknown")))
    evidence = {
        "actor": _actor(entry),
        "api": _api(entry, decision["stage"]),
        "src_endpoint": _source(entry),
    }
    found = _base(record, _DETECTION_FINDING, _CREATE, "security_control")
    found |= {
        "finding_info": _finding_info(entry, found["time"]),
        "is_alert": decision["action"] in {"review", "block"},
        "action_id": action[0],
        "action": action[1],
        "disposition_id": disposition[0],
        "disposition": disposition[1],
        "status_id": 1,
        "status": "New",
        "evidences": [evidence],
    }
    if policy := entry.get("policy"):
        found["policy"] = {
            "name": policy["id"],
            "uid": policy["digest"],
            "version": policy["version"],
        }
    scores = [each["score"] for each in entry.get("scores", ()) if each["score"] is not None]
    if scores:
        found["confidence_score"] = round(100 * max(scores))
    return found


def _finding_info(entry: Mapping[str, Any], created: int) -> dict[str, Any]:
    rules = entry.get("determining_rules") or []
    uid = ",".join(rules) or str(part(entry, "policy", "id"))
    analytic = {"type_id": 1, "type": "Rule", "uid": uid}
    return {
        "uid": entry["decision"]["id"],
        "title": _message(entry),
        "types": categories(entry),
        "created_time": created,
        "analytic": analytic | _said(version=part(entry, "policy", "version")),
    }


def _message(entry: Mapping[str, Any]) -> str:
    decision = entry.get("decision")
    if not decision:
        return str(entry["type"])
    rules = ", ".join(entry.get("determining_rules") or ()) or "no rule"
    return f"{decision['action']} at {decision['stage']} by {rules}"


def _actor(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return who acted: an end user by the pseudonym, a key, a command line, or the gateway."""
    key, person = part(entry, "actor", "key"), part(entry, "actor", "safety_identifier")
    if key is None and person is None:
        return {"app_name": "ostiary", "app_uid": str(part(entry, "replica", "id"))}
    user = _said(uid=person or key, credential_uid=key if person else None)
    if project := part(entry, "actor", "project"):
        user["groups"] = [{"name": project, "type": "project"}]
    return {"user": user, "app_name": "ostiary"}


def _api(entry: Mapping[str, Any], operation: str) -> dict[str, Any]:
    api: dict[str, Any] = {"operation": operation, "service": {"name": "ostiary"}}
    if request := part(entry, "request", "id"):
        api["request"] = {"uid": request}
    if endpoint := part(entry, "request", "endpoint"):
        api["group"] = {"name": endpoint}
    return api


def _source(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return where it came from; the log knows keys and projects, and no addresses."""
    key, project = part(entry, "actor", "key"), part(entry, "actor", "project")
    return _said(uid=key, name=project) or {"svc_name": "ostiary"}


def _said(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever the JSON holds
    return {name: value for name, value in fields.items() if value is not None}


def _sha256(content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"algorithm_id": 3, "algorithm": "SHA-256", "value": digest}


OCSF = Format("ocsf", MAPPING, "ocsf.jsonl", _Writer)
