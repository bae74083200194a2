"""OpenTelemetry log records as OTLP JSON lines (the file exporter's): one `LogsData` a line.

The body is the entry itself, canonical JSON as text, so that its leaf hash can be computed
anew. Attributes are those of the semantic conventions for generative AI, which are still in
development there, where an entry has them; all others begin with `ostiary.`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import orjson

from gateway.audit.formats.types import Format, Record, Weight, categories, nanoseconds, part
from gateway.audit.formats.types import weight as weight_of

MAPPING = 1
SCHEMA_URL = "https://opentelemetry.io/schemas/1.37.0"  # of the semantic conventions
_TOGETHER = 500  # records in one line

_SEVERITY = {  # the numbers of the log data model
    Weight.INFORMATIONAL: (9, "INFO"),
    Weight.LOW: (10, "INFO2"),
    Weight.MEDIUM: (13, "WARN"),
    Weight.HIGH: (14, "WARN2"),
}
_FAILED = {"request.error": (17, "ERROR"), "request.lost": (17, "ERROR")}

# Attribute -> where it stands in an entry.
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "gen_ai.request.model": ("model", "name"),
    "gen_ai.request.temperature": ("model", "temperature"),
    "gen_ai.request.top_p": ("model", "top_p"),
    "gen_ai.request.max_tokens": ("model", "max_tokens"),
    "gen_ai.request.seed": ("model", "seed"),
    "gen_ai.usage.input_tokens": ("usage", "input_tokens"),
    "gen_ai.usage.output_tokens": ("usage", "output_tokens"),
    "error.type": ("denial", "code"),
    "http.response.status_code": ("denial", "status"),
    "enduser.pseudo.id": ("actor", "safety_identifier"),
    "ostiary.project": ("actor", "project"),
    "ostiary.actor": ("actor", "key"),
    "ostiary.request.id": ("request", "id"),
    "ostiary.request.endpoint": ("request", "endpoint"),
    "ostiary.policy.id": ("policy", "id"),
    "ostiary.policy.version": ("policy", "version"),
    "ostiary.policy.digest": ("policy", "digest"),
    "ostiary.decision.id": ("decision", "id"),
    "ostiary.decision.stage": ("decision", "stage"),
    "ostiary.decision.action": ("decision", "action"),
    "ostiary.decision.rules": ("determining_rules",),
    "ostiary.coverage": ("coverage", "state"),
    "ostiary.outcome": ("outcome", "reason"),
    "ostiary.replica": ("replica", "id"),
}
_OPERATIONS = {"chat": "chat", "responses": "chat"}  # endpoint -> gen_ai.operation.name
_FRACTIONS = frozenset({"gen_ai.request.temperature", "gen_ai.request.top_p"})


class _Writer:
    def __init__(self, file: IO[bytes], build: str):
        self._file = file
        self._build = build

    def write(self, records: Sequence[Record]) -> None:
        for at in range(0, len(records), _TOGETHER):
            together = records[at : at + _TOGETHER]
            self._file.write(orjson.dumps(logs(together, self._build)) + b"\n")

    def close(self) -> None:
        """Nothing stands at the end."""


def logs(records: Sequence[Record], build: str) -> dict[str, Any]:
    """Return records as a `LogsData` message, in its JSON form."""
    resource = [_pair("service.name", "ostiary"), _pair("service.version", build)]
    scope = {
        "name": "ostiary.audit",
        "version": str(MAPPING),
        "attributes": [_pair("ostiary.mapping", MAPPING)],
    }
    return {
        "resourceLogs": [
            {
                "resource": {"attributes": resource},
                "scopeLogs": [
                    {
                        "scope": scope,
                        "logRecords": [_record(record) for record in records],
                        "schemaUrl": SCHEMA_URL,
                    }
                ],
                "schemaUrl": SCHEMA_URL,
            }
        ]
    }


def _record(record: Record) -> dict[str, Any]:
    entry = record.entry
    number, text = _FAILED.get(entry["type"], _SEVERITY[weight_of(entry)])
    at = str(nanoseconds(entry["recorded_at"]))
    return {
        "timeUnixNano": at,
        "observedTimeUnixNano": at,
        "severityNumber": number,
        "severityText": text,
        "eventName": f"ostiary.{entry['type']}",
        "body": {"stringValue": record.body.decode()},
        "attributes": [_pair(name, value) for name, value in _attributes(record)],
    }


def _attributes(record: Record) -> Iterator[tuple[str, Any]]:
    entry = record.entry
    operation = _operation(entry)
    if operation is not None:
        yield "gen_ai.operation.name", operation
        yield "gen_ai.provider.name", part(entry, "model", "runner") or "ostiary"
    for name, path in _ATTRIBUTES.items():
        value = part(entry, *path)
        if value is not None:
            yield name, float(value) if name in _FRACTIONS else value
    if found := categories(entry):
        yield "ostiary.categories", found
    yield "ostiary.log.shard", record.shard
    yield "ostiary.log.index", record.index
    yield "ostiary.log.leaf_hash", record.leaf
    yield "log.record.uid", entry["id"]


def _operation(entry: Mapping[str, Any]) -> str | None:
    endpoint = part(entry, "request", "endpoint")
    return _OPERATIONS.get(endpoint) if isinstance(endpoint, str) else None


def _pair(name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever the JSON holds
    return {"key": name, "value": _value(value)}


def _value(value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever the JSON holds
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}  # 64 bits are text in protobuf's JSON
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": str(value)}


OTEL = Format("otel", MAPPING, "otlp.jsonl", _Writer)
