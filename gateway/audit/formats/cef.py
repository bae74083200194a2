r"""Common Event Format, version 0 (ArcSight's "CEF Implementation Standard"), one event a line.

In the header `\` and `|` are escaped, in the extension `\`, `=` and line breaks; a header has
no line breaks. What stands in which field is in `_extension`; custom fields say what they are
in their labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

from gateway.audit.formats.types import Format, Record, Weight, categories, milliseconds, part
from gateway.audit.formats.types import weight as weight_of
from gateway.audit.projection import project_of

MAPPING = 1
VENDOR, PRODUCT = "Ostiary", "Ostiary"

_SEVERITY = {  # 0 to 3 low, 4 to 6 medium, 7 and 8 high
    Weight.INFORMATIONAL: 1,
    Weight.LOW: 3,
    Weight.MEDIUM: 5,
    Weight.HIGH: 8,
}
_BREAKS = "\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"  # a reader may end a line at any of them
_HEADER = str.maketrans({"\\": r"\\", "|": r"\|", **dict.fromkeys(_BREAKS, " ")})
_EXTENSION = str.maketrans({**dict.fromkeys(_BREAKS, r"\n"), "\\": r"\\", "=": r"\=", "\r": r"\r"})
_ACTION, _ID, _REASON, _NAME, _CUSTOM = 63, 40, 1023, 1023, 4000  # the standard's lengths


class _Writer:
    def __init__(self, file: IO[bytes], build: str):
        self._file = file

    def write(self, records: Sequence[Record]) -> None:
        self._file.write("".join(f"{event(record)}\n" for record in records).encode())

    def close(self) -> None:
        """Nothing stands at the end."""


def event(record: Record) -> str:
    """Return an entry as one line, without its end."""
    entry = record.entry
    head = (
        VENDOR,
        PRODUCT,
        str(part(entry, "replica", "build") or ""),
        str(entry["type"]),
        _name(entry),
        str(_SEVERITY[weight_of(entry)]),
    )
    pairs = [
        f"{key}={_in_extension(str(value)[:most])}"
        for key, value, most in _extension(record)
        if value not in (None, "")
    ]
    return f"CEF:0|{'|'.join(map(_in_header, head))}|{' '.join(pairs)}"


def _name(entry: Mapping[str, Any]) -> str:
    action, stage = part(entry, "decision", "action"), part(entry, "decision", "stage")
    return f"decision: {action} at {stage}" if action else str(entry["type"]).replace(".", " ")


def _extension(record: Record) -> list[tuple[str, Any, int]]:
    entry = record.entry
    policy, version = part(entry, "policy", "id"), part(entry, "policy", "version")
    rules = entry.get("determining_rules") or ()
    fields: list[tuple[str, Any, int]] = [
        ("rt", milliseconds(entry["recorded_at"]), _ID),
        ("externalId", entry["id"], _ID),
        ("cat", ",".join(categories(entry)), _NAME),
        ("act", part(entry, "decision", "action"), _ACTION),
        ("reason", _reason(entry), _REASON),
        ("outcome", _outcome(str(entry["type"])), _ACTION),
        ("suser", part(entry, "actor", "key"), _NAME),
        ("suid", _end_user(entry), _NAME),
        ("deviceExternalId", part(entry, "replica", "id"), 255),
    ]
    custom = (
        ("cs1", "policy", f"{policy}@{version}" if policy and version else policy),
        ("cs2", "stage", part(entry, "decision", "stage")),
        ("cs3", "determiningRules", ",".join(rules)),
        ("cs4", "requestId", part(entry, "request", "id")),
        ("cs5", "project", project_of(entry)),
        ("cs6", "leafHash", record.leaf),
        ("cn1", "logIndex", record.index),
        ("cn2", "mapping", MAPPING),
        ("flexString1", "endpoint", part(entry, "request", "endpoint")),
        ("cfp1", "durationMs", part(entry, "outcome", "duration_ms")),
    )
    for key, label, value in custom:
        if value not in (None, ""):
            fields += [(key, value, _CUSTOM), (f"{key}Label", label, _NAME)]
    return fields


def _reason(entry: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the JSON holds
    places = (("decision", "code"), ("denial", "code"), ("outcome", "reason"))
    return next((said for place in places if (said := part(entry, *place))), None)


def _outcome(kind: str) -> str | None:
    failed = ("denied", "error", "lost", "aborted", "refused")
    if kind.startswith(("request.", "policy.")):
        return "failure" if kind.endswith(failed) else "success"
    return None


def _end_user(entry: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the JSON holds
    of_actor = part(entry, "actor", "safety_identifier")
    return of_actor or part(entry, "end_user", "safety_identifier")


def _in_header(text: str) -> str:
    return text.translate(_HEADER)


def _in_extension(text: str) -> str:
    return text.translate(_EXTENSION)


CEF = Format("cef", MAPPING, "cef", _Writer)
