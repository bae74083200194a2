"""One entry of the decision log and its canonical bytes (RFC 8785, at most 32 KiB).

An entry holds no content: no prompt, no reply, no end user's id. It says what was
decided about how many characters, by which rules and classifiers, for which key.

orjson writes canonical JSON about ten times faster than the reference implementation,
and the same bytes, as long as an entry keeps to this: keys are ASCII, numbers are
integers below 2^53, fractions with at most four decimals, or any between 0.0001 and 1. The
builders in `gateway.audit.records` keep to it, by `fraction`, `exact` and `whole`; a property
test holds them to the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from uuid_utils import uuid7

from gateway.audit.projection import project_of, request_of
from gateway.store.content import NOTHING, Sealed
from gateway.store.entries import EntryRow
from gateway.store.times import now_text

MAX_BYTES = 32 * 1024
FORMAT = 1  # goes up when the meaning of a field changes

_LEAST = 0.0001
_MAX_EXACT = 2**53 - 1  # the largest integer every JSON reader keeps exactly
_MAX_TEXT = 128  # code points of one string in an entry too large otherwise


@dataclass(frozen=True, slots=True)
class Replica:
    """The process that writes an entry.

    Attributes:
        id: Unique to one start of one process.
        build: The version of Ostiary it runs.
    """

    id: str
    build: str


def new_id() -> str:
    """Return a UUIDv7: unique, and in order of time."""
    return str(uuid7())


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, before the ledger gives it a place.

    Attributes:
        type: For example `decision.recorded`, `request.completed`.
        body: What is recorded beside the fields below; see the module's docstring.
        request_id: The request it belongs to, if any.
        project: The project it belongs to, if any.
        terminal: Whether it ends its request. The log takes one such per request.
        id: UUIDv7.
        recorded_at: When it was made: UTC, ISO 8601, microseconds.
        sealed: The content that its body names, to be written with it.
    """

    type: str
    body: Mapping[str, Any]
    request_id: str | None = None
    project: str | None = None
    terminal: bool = False
    id: str = field(default_factory=new_id)
    recorded_at: str = field(default_factory=now_text)
    sealed: Sealed = NOTHING

    def canonical(self, replica: Replica, replica_seq: int) -> bytes:
        """Return the entry's bytes, by which it is hashed, stored and exported.

        An entry that would be larger than `MAX_BYTES` loses the ends of its longest
        lists, and says in `omitted` how many items of each went.

        Args:
            replica: Who writes it.
            replica_seq: The number of this entry among the replica's own, from 1.

        Raises:
            ValueError: If the body holds what JSON cannot, or more than fits.
        """
        return _encoded(self._document(replica, replica_seq))

    def row(self, replica: Replica, replica_seq: int) -> EntryRow:
        """Return the entry as the store takes it. Raises as `canonical` does."""
        document = self._document(replica, replica_seq)
        return EntryRow(
            self.id,
            self.type,
            self.recorded_at,
            # INVARIANT: where they are given, the document says the same.
            self.request_id if self.request_id is not None else request_of(document),
            self.project if self.project is not None else project_of(document),
            replica.id,
            replica_seq,
            self.terminal,
            _encoded(document),
        )

    def _document(self, replica: Replica, replica_seq: int) -> dict[str, Any]:
        document = {
            **self.body,
            "format": FORMAT,
            "id": self.id,
            "recorded_at": self.recorded_at,
            "replica": {"build": replica.build, "id": replica.id, "seq": replica_seq},
            "type": self.type,
        }
        # INVARIANT: each column follows from the bytes that are hashed.
        if self.project is not None and project_of(document) != self.project:
            document["project"] = self.project
        if self.request_id is not None and request_of(document) != self.request_id:
            document["request"] = {**(document.get("request") or {}), "id": self.request_id}
        return document


def row_apart(entry: Entry, writer: str) -> EntryRow:
    """Return the row of an entry that is written in the transaction of what it records.

    That is outside any ledger's sequence, so it is a replica's of its own, its first and only.

    Args:
        entry: What happened.
        writer: What part of Ostiary writes it, as in `keys`.
    """
    return entry.row(Replica(f"{writer}_{uuid7().hex}", writer), 1)


def fraction(value: float | None) -> float | int | None:
    """Return `value` with at most four decimals; integers as such.

    Raises:
        ValueError: If it is not a number, infinite, or too large to be exact.
    """
    if value is None:
        return None
    if not -_MAX_EXACT <= value <= _MAX_EXACT:  # also refuses NaN
        raise ValueError("a number in a log entry must be finite and below 2^53")
    rounded = round(value, 4)
    integer = int(rounded)
    return integer if integer == rounded else rounded


def exact(score: float) -> float | int:
    """Return a score with all its digits, so that it reaches what it reached.

    Raises:
        ValueError: If it is not between 0 and 1.
    """
    if not 0 <= score <= 1:
        raise ValueError("a score is between 0 and 1")
    if 0 < score < _LEAST:
        return _LEAST  # smaller ones are written in two ways, and count in none
    return int(score) if score in (0, 1) else score


def whole(value: int | None) -> int | str | None:
    """Return `value`, as text where JSON readers would lose digits of it."""
    if value is None or -_MAX_EXACT <= value <= _MAX_EXACT:
        return value
    return str(value)


def _encoded(document: dict[str, Any]) -> bytes:
    encoded = _dumps(document)
    return encoded if len(encoded) <= MAX_BYTES else _shrunk(document)


def _dumps(document: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        pass
    # A lone surrogate, which is no Unicode text: strings of the caller may hold them.
    try:
        return orjson.dumps(encodable(document), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValueError("a log entry holds what JSON cannot express") from error


def encodable(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and returned as such
    """Return `value` without what is no Unicode text: strings of a caller may hold that."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {key: encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    return value


def _shrunk(document: dict[str, Any]) -> bytes:
    document = {key: _clipped(value) for key, value in document.items()}
    lists = [key for key, value in document.items() if isinstance(value, list)]
    omitted = dict.fromkeys(lists, 0)
    while len(encoded := _dumps(document)) > MAX_BYTES:
        longest = max(lists, key=lambda key: len(_dumps({key: document[key]})), default=None)
        if longest is None or not document[longest]:
            raise ValueError(f"a log entry must fit into {MAX_BYTES} bytes")
        kept = len(document[longest]) // 2
        omitted[longest] += len(document[longest]) - kept
        document[longest] = document[longest][:kept]
        document["omitted"] = {key: count for key, count in omitted.items() if count}
    return encoded


def _clipped(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and returned as such
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    if isinstance(value, Mapping):
        return {key: _clipped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clipped(item) for item in value]
    return value
