"""Reads a YAML document into plain values, and remembers where each of them stood.

A safe subset of YAML 1.2: mappings, sequences and scalars. Duplicate keys, anchors,
aliases, tags, directives and a second document are errors, so nothing expands, nothing is
constructed and nothing is silently overwritten. At most 1 MiB, 20 levels and 50,000 values,
which is some twenty times a large policy and a matter of seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML, events
from ruamel.yaml.error import MarkedYAMLError, YAMLError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
MAX_VALUES = 50_000

Path = tuple[str | int, ...]  # keys and list indexes from the root
Position = tuple[int, int]  # line and column, counted from 1


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a file; the line and column count from 1."""

    line: int
    column: int
    message: str


class DocumentError(Exception):
    """The text is not YAML of this subset; parsing cannot go on."""

    def __init__(self, problem: Problem):
        super().__init__(problem.message)
        self.problem = problem


@dataclass(slots=True)
class Document:
    """What a file says, and where.

    Attributes:
        value: Made of dict, list, str, int, float, bool and None.
        values: Where each value starts.
        keys: Where the key of each value in a mapping starts.
        problems: Mistakes that did not end the reading, such as a key given twice.
    """

    value: Any = None
    values: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path, *, of_key: bool = False) -> Position:
        """Return where `path` stands, or the nearest thing around it that stands somewhere."""
        places = self.keys if of_key else self.values
        while path and path not in places:
            path, places = path[:-1], self.values
        return places.get(path, (1, 1))


def read_document(content: bytes) -> Document:
    """Read one YAML document.

    Raises:
        DocumentError: If the text is too large, not UTF-8, or not YAML of this subset.
    """
    if len(content) > MAX_BYTES:
        raise DocumentError(Problem(1, 1, f"the file is larger than {MAX_BYTES} bytes"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentError(Problem(line, 1, "the file is not UTF-8")) from error
    try:
        return _Reader(YAML(typ="safe", pure=True).parse(text)).document()
    except YAMLError as error:
        raise DocumentError(_syntax_problem(error)) from error


def read_section(content: bytes, name: str) -> Any:  # noqa: ANN401 - a value of YAML
    """Return one section of a document, None if there is none, reading no further than it.

    Raises:
        DocumentError: As `read_document`, for what was read.
    """
    try:
        text = content[:MAX_BYTES].decode("utf-8-sig", "replace")
        return _Reader(YAML(typ="safe", pure=True).parse(text)).section(name)
    except YAMLError as error:
        raise DocumentError(_syntax_problem(error)) from error


def _syntax_problem(error: YAMLError) -> Problem:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        reason = str(error.problem or error.context or "this is not YAML")
        return Problem(mark.line + 1, mark.column + 1, reason[:200].lower())
    return Problem(1, 1, "the file holds a character that YAML does not allow")


class _Reader:
    """Builds values out of parser events; one method for each kind of node."""

    def __init__(self, stream: Iterator[Any]):
        self._stream = stream
        self._read = Document()
        self._count = 0

    def document(self) -> Document:
        next(self._stream)  # the start of the stream
        start = next(self._stream)
        if isinstance(start, events.StreamEndEvent):
            raise DocumentError(Problem(1, 1, "the file is empty"))
        if start.version is not None or start.tags:
            raise _refusal(start, "directives are not allowed")
        self._read.value = self._node(next(self._stream), ())
        next(self._stream)  # the end of the document
        if not isinstance(after := next(self._stream), events.StreamEndEvent):
            raise _refusal(after, "a file holds one document")
        return self._read

    def section(self, name: str) -> Any:  # noqa: ANN401 - a value of YAML
        for event in self._stream:
            if isinstance(event, events.MappingStartEvent):
                break
        while isinstance(event := next(self._stream, None), events.ScalarEvent):
            value = self._node(next(self._stream), (event.value,))
            if event.value == name:
                return value
        return None

    def _node(self, event: Any, path: Path) -> Any:  # noqa: ANN401 - events and YAML values
        if isinstance(event, events.AliasEvent):
            raise _refusal(event, "aliases are not allowed")
        if event.anchor is not None:
            raise _refusal(event, "anchors are not allowed")
        if event.tag is not None:
            raise _refusal(event, "tags are not allowed")
        self._count += 1
        if self._count > MAX_VALUES:
            raise _refusal(event, f"the file holds more than {MAX_VALUES} values")
        self._read.values[path] = _position(event)
        if isinstance(event, events.ScalarEvent):
            return event.value if event.style else _plain(event.value)
        if len(path) >= MAX_DEPTH:
            raise _refusal(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, events.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._stream), events.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(self._stream), events.MappingEndEvent):
            if not isinstance(event, events.ScalarEvent):
                raise _refusal(event, "a key has to be plain text")
            key = event.value
            place = _position(event)
            if key in items:
                self._read.problems.append(Problem(*place, f"key `{key[:80]}` is given twice"))
            if event.anchor is not None or event.tag is not None:
                raise _refusal(event, "anchors and tags are not allowed")
            self._read.keys[(*path, key)] = place
            items[key] = self._node(next(self._stream), (*path, key))
        return items


def _position(event: Any) -> Position:  # noqa: ANN401 - ruamel ships no types for events
    return event.start_mark.line + 1, event.start_mark.column + 1


def _refusal(event: Any, message: str) -> DocumentError:  # noqa: ANN401 - as above
    return DocumentError(Problem(*_position(event), message))


# YAML 1.2 section 10.3.2, the core schema. `yes`, `no`, `012` and dates are text or numbers
# as they look, not what YAML 1.1 made of them.
_WORDS = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")


def _plain(text: str) -> str | int | float | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
