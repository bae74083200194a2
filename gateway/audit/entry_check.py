"""What every entry must be by itself, and what a stretch of the log says. Standard library.

Each is one canonical JSON object whose columns say the same; each replica counts its own
without a gap; no request ends twice. A part is checked by itself, in a process of its own
if there are several, and what it says of replicas and requests is joined in log order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from gateway.audit.bundle import Part, read_lines
from gateway.audit.merkle import leaf_hash
from gateway.audit.projection import columns_of, request_of

_fast: Any = None
with suppress(ImportError):  # several times as fast where it is there, and the same answers
    import orjson

    _fast = orjson

# A request that was admitted so long before the end and has not ended never will.
LONGEST_REQUEST = timedelta(days=1)

_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


class Fault(NamedTuple):
    """What is wrong with an entry.

    Attributes:
        at: Its position in the bundle, from 0.
        reason: For people.
    """

    at: int
    reason: str


@dataclass(slots=True)
class Run:
    """Consecutive numbers of one replica, and where the first of them stands."""

    first: int
    last: int
    at: int


@dataclass(slots=True)
class Findings:
    """What a part of a bundle holds.

    Attributes:
        leaves: The hashes of its entries, computed, one after the other.
        fault: The first thing that is wrong in it, or None.
        replicas: Which numbers of which replica.
        admitted: Requests without an end in this part: where, and when.
        ended: Requests that ended in it: where.
        first_id: Of the first entry.
        last_at: When the last entry was recorded.
        last_seq: Its number in the log.
        first_seq: That of the first entry.
    """

    leaves: bytes = b""
    fault: Fault | None = None
    replicas: dict[str, Run] = field(default_factory=dict)
    admitted: dict[str, tuple[int, str]] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    first_id: str = ""
    last_at: str = ""
    first_seq: int = -1
    last_seq: int = -1


def check_part(path: Path, part: Part) -> Findings:
    """Return what a part holds; after a fault only its hashes are computed.

    Raises:
        OSError: If the bundle cannot be read.
    """
    found = Findings()
    entries = read_lines(path, part.entries)
    columns = read_lines(path, part.columns)
    found.leaves = b"".join(map(leaf_hash, entries))
    at = part.first
    try:
        for line, beside in zip(entries, columns, strict=False):
            _check_entry(found, at, line, beside)
            at += 1
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, _Wrong) else "it is no entry of a log"
        found.fault = Fault(at, reason)
    else:
        if len(columns) != len(entries):
            found.fault = Fault(at, "entries and columns are not as many")
    return found


def join(whole: Findings, part: Findings) -> Fault | None:
    """Add what a part says to what those before it say; return what does not fit."""
    faults = [part.fault] if part.fault else []
    if 0 <= part.first_seq <= whole.last_seq:
        faults.append(Fault(min(run.at for run in part.replicas.values()), _UNORDERED))
    whole.first_id = whole.first_id or part.first_id
    faults += [*_join_replicas(whole, part), *_join_requests(whole, part)]
    if part.last_at:
        whole.last_at, whole.last_seq = part.last_at, part.last_seq
    return min(faults, default=None)


def _join_replicas(whole: Findings, part: Findings) -> Iterator[Fault]:
    for replica, run in part.replicas.items():
        before = whole.replicas.get(replica)
        expected = before.last + 1 if before else 1 if is_new(replica, whole.first_id) else None
        if expected is not None and run.first != expected:
            yield Fault(run.at, f"{_GAP} `{replica}`: {expected} is missing")
        whole.replicas[replica] = run


def _join_requests(whole: Findings, part: Findings) -> Iterator[Fault]:
    for request, at in part.ended.items():
        if request in whole.ended:
            yield Fault(at, _TWICE)
        whole.ended[request] = at
        whole.admitted.pop(request, None)
    for request, admission in part.admitted.items():
        if request not in whole.ended:
            whole.admitted[request] = admission


def never_ended(whole: Findings) -> Fault | None:
    """Return the first request that must have ended by the end of the bundle and has not."""
    if not whole.admitted:
        return None
    limit = datetime.fromisoformat(whole.last_at) - LONGEST_REQUEST
    late = [at for at, when in whole.admitted.values() if datetime.fromisoformat(when) < limit]
    return Fault(min(late), "its request never ended") if late else None


class _Wrong(ValueError):
    """Carries what is said about an entry."""


_UNORDERED = "the log's numbers do not go up"
_GAP = "a gap in the numbers of replica"
_TWICE = "its request has ended before"


def _check_entry(found: Findings, at: int, line: bytes, beside: bytes) -> None:
    document = parse_canonical(line)
    columns = columns_of(document)
    seq, *stored = (_fast or json).loads(beside)
    if tuple(stored) != columns or type(seq) is not int:
        raise _Wrong("a column does not say what the entry says")
    if seq <= found.last_seq:
        raise _Wrong(_UNORDERED)
    if found.first_seq < 0:
        found.first_seq, found.first_id = seq, columns.id
    found.last_seq, found.last_at = seq, columns.recorded_at
    number, run = columns.replica_seq, found.replicas.get(columns.replica)
    if run is None:
        found.replicas[columns.replica] = Run(number, number, at)
    elif number == run.last + 1:
        run.last = number
    else:
        raise _Wrong(f"{_GAP} `{columns.replica}`: {run.last + 1} is missing")
    if columns.terminal:
        _end(found, at, columns.request_id)
    elif columns.type == "request.admitted" and request_of(document) not in found.ended:
        found.admitted[columns.request_id] = (at, columns.recorded_at)


def _end(found: Findings, at: int, request_id: str) -> None:
    if request_id in found.ended:
        raise _Wrong(_TWICE)
    found.ended[request_id] = at
    found.admitted.pop(request_id, None)


def parse_canonical(line: bytes) -> dict[str, Any]:
    """Read an entry. Raises `ValueError` unless these are its canonical bytes (RFC 8785)."""
    if _fast is not None and not (b".0," in line or b".0}" in line or b".0]" in line):
        document = _fast.loads(line)
        canonical = _fast.dumps(document, option=_fast.OPT_SORT_KEYS)
    else:
        document = json.loads(line, parse_float=_fraction)
        canonical = _encode(document).encode()
    if canonical != line or not isinstance(document, dict):
        raise _Wrong("its bytes are not canonical JSON")
    return document


def _fraction(text: str) -> float:
    if text.endswith(".0"):  # an integer, which is written as one
        raise _Wrong("its bytes are not canonical JSON")
    return float(text)


def is_new(replica: str, first_id: str) -> bool:
    """Return whether a replica came after the first entry: both are named by UUIDv7."""
    born = replica.rpartition("_")[2][:12]
    return len(born) == 12 and born > first_id.replace("-", "")[:12]
