"""A YAML document as it is written: its parts, in which spelling, and what comments stand where.

`policies.document` says what a file means; this is for writing it anew. It reads what that
one has read without a mistake.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML, events


@dataclass(slots=True)
class Node:
    """A scalar, a mapping or a sequence.

    Attributes:
        lines: How a scalar is written: one line, or the head and the lines of a block.
        entries: What a collection holds.
        mapping: Whether it is a mapping.
        flow: Whether it was written in brackets.
    """

    lines: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    mapping: bool = False
    flow: bool = False


@dataclass(slots=True)
class Entry:
    """One value of a collection.

    Attributes:
        node: The value.
        line: In which line it starts, its key included, from 0.
        key: How its key is written, or None in a sequence.
        name: The key itself.
        before: Comments in the lines above it; an empty one stands for blank lines.
        after: The comment behind it, or None.
    """

    node: Node
    line: int
    key: str | None = None
    name: str = ""
    before: list[str] = field(default_factory=list)
    after: str | None = None


@dataclass(slots=True)
class Written:
    """A whole document: its head and tail are comments."""

    root: Node
    head: list[str]
    tail: list[str]


def read_written(text: str) -> Written:
    """Read a document that `read_document` accepts, and that is a mapping."""
    reader = _Reader(text)
    root = reader.root()
    tail = _place_comments(text, [*_entries(root)], reader.spans)
    head: list[str] = []
    first = root.entries[0].before if root.entries else tail
    if "" in first:  # what is parted from the first key speaks of the file
        cut = len(first) - first[::-1].index("")
        head, first[:] = first[:cut], first[cut:]
    return Written(root, head, tail)


def comments_of(text: str) -> list[str]:
    """Return every comment, sorted: what must not be lost."""
    reader = _Reader(text)
    reader.root()
    return sorted(comment for _, comment, _ in _comments(text, reader.spans) if comment)


class _Reader:
    """Builds nodes out of parser events, and notes where the scalars are."""

    def __init__(self, text: str):
        self._text = text
        self._stream: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
        self.spans: list[tuple[int, int]] = []  # of scalars, in code points

    def root(self) -> Node:
        for event in self._stream:
            if isinstance(event, events.MappingStartEvent):
                return self._collection(event)
        return Node(mapping=True)

    def _node(self, event: Any) -> Node:  # noqa: ANN401 - ruamel ships no types for events
        if isinstance(event, events.ScalarEvent):
            return Node(lines=self._scalar(event))
        return self._collection(event)

    def _collection(self, event: Any) -> Node:  # noqa: ANN401 - as above
        mapping = isinstance(event, events.MappingStartEvent)
        node = Node(mapping=mapping, flow=bool(event.flow_style))
        while not isinstance(
            here := next(self._stream), events.MappingEndEvent | events.SequenceEndEvent
        ):
            line = here.start_mark.line
            if mapping:
                [key] = self._scalar(here)[:1]
                entry = Entry(self._node(next(self._stream)), line, key, here.value)
            else:
                entry = Entry(self._node(here), line)
            node.entries.append(entry)
        return node

    def _scalar(self, event: Any) -> list[str]:  # noqa: ANN401 - as above
        start, end = event.start_mark.index, event.end_mark.index
        raw = self._text[start:end].rstrip()  # empty lines behind a block are not part of it
        self.spans.append((start, start + len(raw)))
        if event.style in ("|", ">"):
            head, *lines = raw.split("\n")
            head = head.partition("#")[0].strip()
            full = [len(line) - len(line.lstrip(" ")) for line in lines if line.strip()]
            if full and not any(sign.isdigit() for sign in head) and "+" not in head:
                return [head, *(line[full[0] :].rstrip() for line in lines)]
        elif "\n" not in raw:
            return [raw]
        return [json.dumps(event.value, ensure_ascii=False)]


def _entries(node: Node) -> Iterator[Entry]:
    for entry in node.entries:
        yield entry
        yield from _entries(entry.node)


def _comments(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, str, bool]]:
    """Yield each line outside of scalars: its number, its comment, and whether it has more.

    A line without a comment has an empty one.
    """
    inside = {at for start, end in spans for at in range(start, end)}
    index = 0
    for number, line in enumerate(text.split("\n")):
        begins = (
            at
            for at, sign in enumerate(line)
            if sign == "#" and index + at not in inside and (at == 0 or line[at - 1] in " \t")
        )
        at = next(begins, len(line))
        # In a block or between quotes a line that looks empty is part of the text.
        if line.strip() or index not in inside:
            yield number, line[at:].rstrip(), bool(line[:at].strip())
        index += len(line) + 1


def _place_comments(text: str, entries: list[Entry], spans: list[tuple[int, int]]) -> list[str]:
    """Give each entry the comments above it and behind it; return those after the last one."""
    starts: dict[int, list[Entry]] = {}
    for entry in entries:
        starts.setdefault(entry.line, []).append(entry)
    pending: list[str] = []
    for number, comment, more in _comments(text, spans):
        if not more:
            pending.append(comment)
        elif number in starts:
            outermost = starts[number][0]
            outermost.before, pending = _apart(pending), []
            _spoken_of(starts[number]).after = comment or None
        elif comment:
            pending.append(comment)
    while pending and not pending[-1]:
        pending.pop()
    return _apart(pending)


def _spoken_of(entries: list[Entry]) -> Entry:
    """Return what a comment behind a line speaks of; behind a dash, that is the first key."""
    dashes = (entry.key is None and entry.node.mapping and not entry.node.flow for entry in entries)
    return next(entry for entry, dash in zip(entries, dashes, strict=True) if not dash)


def _apart(comments: list[str]) -> list[str]:
    """Leave one empty line where there are several."""
    return [
        comment for at, comment in enumerate(comments) if comment or comments[at - 1 : at] != [""]
    ]
