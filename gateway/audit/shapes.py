"""Recognises canonical entries without parsing them. Standard library.

Most entries of a log differ in a few values only. Once one of them was parsed and found
canonical, its shape is kept: a regular expression with its names and brackets as they are
and, in place of its values, what any canonical value of the kind looks like. Whatever
matches is canonical as well; whatever does not may still be, and is parsed.

INVARIANT: a shape takes no line that `parse_canonical` refuses. So text must be printable
ASCII without an escape, numbers must have so few digits that no other number is written
with them, and of a long fraction its shortest spelling is computed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.audit.projection import TERMINAL

_TEXT = r'"[ !#-\[\]-~]*+"'
_COUNT = r"(?:0|[1-9][0-9]{0,14}+)"
_NUMBER = r"(?!0\.0000)(?:0|[1-9][0-9]{0,8}+)(?:\.[0-9]{0,5}[1-9])?+"
_EXACT = r"(?!0\.0000)(?:0(?:\.[0-9]{0,20}[1-9])?+|[1-9][0-9]{0,8}+(?:\.[0-9]{0,5}[1-9])?+)"
_BOOLEAN = r"(?:true|false)"

_PLAIN = re.compile(r"[ !#-\[\]-~]*")
_LONG = re.compile(rb"0\.[0-9]{7,}")  # other fractions are the shortest of their kind

ADMITTED = "request.admitted"

_KEPT = 24  # shapes that are tried
_MOST_LEARNED = 64  # compiling one takes as long as parsing some hundred entries
_MISSED = 8  # entries of a type are parsed before the next shape of it is learnt


class Raw(NamedTuple):
    """What an entry says in its columns, as it is spelt there; `b""` is `null`."""

    id: bytes
    recorded_at: bytes
    request_id: bytes
    project: bytes
    replica: bytes
    replica_seq: bytes


class Shape:
    """Entries of one type with the same names.

    Attributes:
        match: Matches a whole line.
        groups: Which groups of a match are `Raw`.
        exact: Whether there may be fractions of more than six digits.
        beside: The line of columns, to be filled with its number and `Raw`.
        admits: Whether its type is `request.admitted`.
        terminal: Whether it ends a request.
        following: The shape that came after it last.
    """

    __slots__ = ("admits", "beside", "exact", "following", "groups", "match", "terminal")

    def __init__(self, pattern: str, kind: str):
        compiled = re.compile(pattern.encode())
        self.match = compiled.fullmatch
        self.groups = tuple(compiled.groupindex[name] for name in Raw._fields)
        self.exact = _EXACT in pattern
        self.admits = kind == ADMITTED
        self.terminal = kind in TERMINAL
        named, end = kind.replace("%", "%%"), "true" if self.terminal else "false"
        self.beside = f'[%d,%b,"{named}",%b,%b,%b,%b,%b,{end}]'.encode()
        self.following: Shape = self


class Shapes:
    """The shapes of a log, learnt while it is read."""

    def __init__(self) -> None:
        self._kept: list[Shape] = []  # the one that was used last comes first
        self._last: Shape | None = None
        self._missed = Counter[str]()
        self._learned = 0

    def read(self, line: bytes) -> tuple[Shape, tuple[bytes, ...]] | None:
        """Return what a line says in its columns, as `Raw`, or None if it must be parsed."""
        last = self._last
        if last is None:
            return None
        shape = last.following
        match = shape.match(line)
        if match is None:
            shape, match = self._found(line)
            if match is None:
                return None
            last.following = shape
        if shape.exact and not _are_shortest(line):
            return None
        self._last = shape
        return shape, match.group(*shape.groups)

    def learn(self, document: Mapping[str, Any]) -> None:
        """Keep the shape of a canonical entry, if there are more like it.

        Args:
            document: As it was read: its names in the order of its bytes.
        """
        kind = document["type"]
        self._missed[kind] += 1
        if self._missed[kind] % _MISSED or self._learned >= _MOST_LEARNED:
            return
        self._learned += 1
        try:
            shape = Shape("".join(_entry(document)), kind)
        except (_Unusual, RecursionError, OverflowError, re.error):
            return
        self._kept.insert(0, shape)
        del self._kept[_KEPT:]
        self._last = self._last or shape

    def _found(self, line: bytes) -> tuple[Shape, re.Match[bytes] | None]:
        for place, shape in enumerate(self._kept):
            if (match := shape.match(line)) is not None:
                self._kept.insert(0, self._kept.pop(place))
                return shape, match
        return self._kept[0], None


class _Unusual(Exception):
    """An entry that is always parsed."""


def _are_shortest(line: bytes) -> bool:
    return all(repr(float(text)).encode() == text for text in _LONG.findall(line))


def _entry(document: Mapping[str, Any]) -> Iterator[str]:
    spelt = {
        "id": _text(document["id"], "id"),
        "recorded_at": _text(document["recorded_at"], "recorded_at"),
        "type": f'"{_plain(document["type"])}"',
    }
    named = {"id": _text(document["replica"]["id"], "replica")}
    named["seq"] = f"(?P<replica_seq>{_COUNT})"
    spelt["replica"] = _object(document["replica"], named)
    missing = {"request_id", "project"}
    request = document.get("request")
    if isinstance(request, dict) and request.get("id") is not None:
        spelt["request"] = _object(request, {"id": _text(request["id"], "request_id")})
        missing.remove("request_id")
    owner, project = _project_part(document)
    if owner in spelt:
        raise _Unusual
    if project is not None:
        missing.remove("project")
        found = _text(project, "project")
        spelt[owner] = found if owner == "project" else _object(document[owner], {"project": found})
    yield _object(document, spelt)
    yield from (f"(?P<{name}>)" for name in sorted(missing))


def _project_part(document: Mapping[str, Any]) -> tuple[str, Any]:
    """Return where `projection.project_of` finds an entry's project."""
    if "project" in document:
        return "project", document["project"]
    for name, part in document.items():
        if type(part) is dict and part.get("project") is not None:
            return name, part["project"]
    return "", None


def _object(value: Mapping[str, Any], spelt: Mapping[str, str]) -> str:
    """Return the pattern of an object; some of its values are spelt out."""
    members = (
        f'"{_plain(name)}":{spelt.get(name) or _value(item)}' for name, item in value.items()
    )
    return rf"\{{{','.join(members)}\}}"


def _value(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return _object(value, {})
    if isinstance(value, list):
        return _list(value)
    if isinstance(value, str):
        return _TEXT
    # INVARIANT: null is never anything else, since where a project is missing decides which
    # other one counts.
    if value is None or isinstance(value, bool):
        return "null" if value is None else _BOOLEAN
    return _EXACT if _LONG.match(repr(value).encode()) else _NUMBER


def _list(value: list[Any]) -> str:
    if not any(isinstance(item, dict | list) for item in value):
        return _scalars(_EXACT if _EXACT in map(_value, value) else _NUMBER)
    # Rows of scores: some have many digits.
    items = [_value(item) for item in value]
    items = [item.replace(_NUMBER, _EXACT) if item.startswith(r"\[") else item for item in items]
    if len(set(items)) == 1:
        return rf"\[{items[0]}(?:,{items[0]})*+\]"
    return rf"\[{','.join(items)}\]"


def _scalars(number: str) -> str:
    item = rf"(?:{number}|{_TEXT}|null|{_BOOLEAN})"
    return rf"\[(?:{item}(?:,{item})*+)?+\]"


def _text(value: Any, name: str) -> str:  # noqa: ANN401 - any JSON value
    _plain(value)
    return f"(?P<{name}>{_TEXT})"


def _plain(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return plain text as a pattern. Raises `_Unusual` for anything else."""
    if not isinstance(value, str) or not _PLAIN.fullmatch(value):
        raise _Unusual
    return re.escape(value)
