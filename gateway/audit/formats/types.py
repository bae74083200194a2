"""What a format is given, and what it is. No logic but for what every format asks of an entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import IO, Any, Protocol

from gateway.audit.search import categories_of


class MissingLibrary(ValueError):
    """A library that a format needs is not installed."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry, and where it stands.

    Attributes:
        shard: Half year, as in `2026h2`.
        index: Its index in the shard's tree.
        seq: Its number in the log.
        leaf: The hash of its leaf, base64: what a proof of it leads to.
        body: Its canonical bytes.
        entry: What they say.
    """

    shard: str
    index: int
    seq: int
    leaf: str
    body: bytes
    entry: Mapping[str, Any]


class Writer(Protocol):
    """Writes records into a file, bounded in memory."""

    def write(self, records: Sequence[Record]) -> None:
        """Write records, in log order."""
        ...

    def close(self) -> None:
        """Write what must stand at the end; the file stays open."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write the log.

    Attributes:
        name: As on the command line.
        mapping: Version of what is written where; goes up when a field changes its meaning.
        suffix: Of the file's name.
        open: Makes a writer into a file. Raises `MissingLibrary`.
    """

    name: str
    mapping: int
    suffix: str
    open: Callable[[IO[bytes], str], Writer]


class Weight(IntEnum):
    """How much an entry asks for somebody's attention."""

    INFORMATIONAL = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


_BY_ACTION = {
    "allow": Weight.INFORMATIONAL,
    "flag": Weight.LOW,
    "warn": Weight.LOW,
    "redact": Weight.LOW,
    "review": Weight.MEDIUM,
    "block": Weight.MEDIUM,
}
_BY_TYPE = {
    "request.denied": Weight.LOW,
    "request.aborted": Weight.LOW,
    "request.error": Weight.MEDIUM,
    "request.lost": Weight.MEDIUM,
    "policy.refused": Weight.MEDIUM,
    "review.opened": Weight.LOW,
    "review.expired": Weight.LOW,
    "conversation.stopped": Weight.MEDIUM,
    "webhook.abandoned": Weight.MEDIUM,
    "alert.created": Weight.HIGH,
    "enforcement.struck": Weight.MEDIUM,
    "enforcement.sanctioned": Weight.HIGH,
}


def weight(entry: Mapping[str, Any]) -> Weight:
    """Return how much an entry asks for attention; an unknown action asks for much."""
    if (action := part(entry, "decision", "action")) is not None:
        return _BY_ACTION.get(action, Weight.HIGH)
    return _BY_TYPE.get(entry["type"], Weight.INFORMATIONAL)


def part(entry: Mapping[str, Any], *path: str) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """Return what stands at a path of names, None if there is nothing."""
    found: Any = entry
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def categories(entry: Mapping[str, Any]) -> list[str]:
    """Return the categories that scored, or whose rules matched, each once."""
    return list(dict.fromkeys(each for each in categories_of(entry) if each))


def milliseconds(moment: str) -> int:
    """Return a moment of the log as milliseconds since 1970, UTC."""
    return nanoseconds(moment) // 1_000_000


def nanoseconds(moment: str) -> int:
    """Return a moment of the log as nanoseconds since 1970, UTC."""
    from gateway.store.times import from_text

    at = from_text(moment)
    return (int(at.timestamp()) * 1_000_000 + at.microsecond) * 1000
