"""What an auditor is given: an uncompressed tar of five files. Standard library only.

- `manifest.json`: which entries these are, and the hashes of those before and after.
- `checkpoint`: the signed note.
- `entries.jsonl`: one entry a line, the very bytes that were hashed.
- `columns.jsonl`: one array a line, the number in the log and the columns beside the entry.
- `leaves`: 32 bytes an entry, the hashes as the log's tree has them; they say which entry
  is wrong when one is, and are believed in nothing else.

A reader takes exactly these files, each once, and nothing after them.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gateway.audit.checkpoint import MAX_SIZE, parse_hash
from gateway.audit.merkle import HASH_SIZE
from gateway.notes import NoteError

BUNDLE_FORMAT = "ostiary-bundle/1"
KEYED_FORMAT = "ostiary-bundle/2"  # of a log whose key was changed: the manifest says how
MANIFEST, CHECKPOINT, ENTRIES = "manifest.json", "checkpoint", "entries.jsonl"
COLUMNS, LEAVES = "columns.jsonl", "leaves"
PART = 1024  # entries that are checked at once: a megabyte, which a processor keeps at hand

_FILES = frozenset({MANIFEST, CHECKPOINT, ENTRIES, COLUMNS, LEAVES})
_MOST = 2_000_000  # bytes of a manifest or a checkpoint
_PIECE = 1 << 20


class BundleError(ValueError):
    """This is no bundle, or not a whole one: nothing can be said about the log."""


class Span(NamedTuple):
    """Where something lies in a file, bytes."""

    offset: int
    size: int


class Part(NamedTuple):
    """Up to `PART` lines of entries and of columns, and where they lie.

    Attributes:
        first: How many entries of the bundle come before.
        lines: How many.
        entries: Of them, in the file.
        columns: As many lines, or fewer at the end.
        leaves: Their hashes, or fewer at the end.
    """

    first: int
    lines: int
    entries: Span
    columns: Span
    leaves: Span


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which entries of the log a bundle holds.

    Attributes:
        first: Index of the first.
        count: How many.
        left: Hashes of the complete subtrees over the entries before, the largest first.
        right: Likewise of those after, up to the size of the checkpoint.
        keys: The changes of the log's key, signed notes, in their order.
    """

    first: int
    count: int
    left: tuple[bytes, ...]
    right: tuple[bytes, ...]
    keys: tuple[bytes, ...] = ()


class Bundle:
    """An open bundle; its long files are read piece by piece.

    Args:
        path: The file.
        within: Where in the file it lies, if that holds more.

    Raises:
        BundleError: If it is none.
        OSError: If the file cannot be read.
    """

    def __init__(self, path: Path, within: Span | None = None):
        self.path = path
        self._spans = members(path, within)
        if self._spans.keys() != _FILES:
            raise BundleError(f"must hold exactly {', '.join(sorted(_FILES))}")
        self.checkpoint = self._read(CHECKPOINT)
        self.manifest = parse_manifest(self._read(MANIFEST))

    @property
    def listed(self) -> int:
        """How many bytes of hashes are listed beside the entries."""
        return self._spans[LEAVES].size

    def leaves(self, begin: int, end: int) -> Span:
        """Return where the hashes of some entries are listed, or of fewer at the end.

        Args:
            begin: The first, as an index of the bundle.
            end: The one after the last.
        """
        whole = self._spans[LEAVES]
        begin, end = (min(index * HASH_SIZE, whole.size) for index in (begin, end))
        return Span(whole.offset + begin, end - begin)

    def parts(self) -> Iterator[Part]:
        """Yield the entries in parts, in order.

        Raises:
            BundleError: If the last line is not a whole one.
        """
        columns = _lines(self.path, self._spans[COLUMNS])
        first = 0
        for span, count in _lines(self.path, self._spans[ENTRIES]):
            beside, _ = next(columns, (Span(0, 0), 0))
            known = min(first + count, self.manifest.count)
            yield Part(first, count, span, beside, self.leaves(min(first, known), known))
            first += count

    def _read(self, name: str) -> bytes:
        span = self._spans[name]
        if span.size > _MOST:
            raise BundleError(f"`{name}` is too large")
        return read_span(self.path, span)


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest. Raises `BundleError`."""
    document = read_object(content, {"format", "first", "count", "left", "right"}, {"keys"})
    check_format(document, BUNDLE_FORMAT, KEYED_FORMAT)
    first, count = document["first"], document["count"]
    if not all(type(number) is int and 0 <= number <= MAX_SIZE for number in (first, count)):
        raise BundleError("the manifest's numbers cannot be used")
    return Manifest(
        first,
        count,
        read_hashes(document["left"]),
        read_hashes(document["right"]),
        read_notes(document.get("keys", [])),
    )


def check_format(document: dict[str, Any], plain: str, keyed: str) -> None:
    """Check that a document is in the format that its names are of. Raises `BundleError`."""
    if document["format"] != (keyed if "keys" in document else plain):
        raise BundleError(f"this reads `{plain}` and `{keyed}`, and no other format")


def read_object(
    content: bytes, names: set[str], optional: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """Read a JSON object with exactly these names, each once, or the `optional` ones besides.

    Raises:
        BundleError: If it is none, or holds anything else.
    """
    try:
        pairs = json.loads(content, object_pairs_hook=tuple)
    except ValueError as error:
        raise BundleError("not JSON") from error
    found = sorted(str(pair[0]) for pair in pairs) if isinstance(pairs, tuple) else []
    if found not in (sorted(names), sorted(names | optional)):
        raise BundleError(f"must hold exactly {', '.join(sorted(names))}")
    return dict(pairs)


def read_hashes(value: Any) -> tuple[bytes, ...]:  # noqa: ANN401 - whatever the JSON holds
    """Read a list of hashes. Raises `BundleError`."""
    if not isinstance(value, list) or not all(isinstance(hash, str) for hash in value):
        raise BundleError("hashes must be a list of base64")
    try:
        return tuple(parse_hash(hash) for hash in value)
    except NoteError as error:
        raise BundleError(str(error)) from error


def read_notes(value: Any) -> tuple[bytes, ...]:  # noqa: ANN401 - whatever the JSON holds
    """Read a list of signed notes, which nobody has verified yet. Raises `BundleError`."""
    if not isinstance(value, list) or not all(isinstance(note, str) for note in value):
        raise BundleError("changes of key must be a list of signed notes")
    try:
        return tuple(note.encode() for note in value)
    except UnicodeEncodeError as error:
        raise BundleError("a change of key is no Unicode text") from error


def read_lines(path: Path, span: Span) -> list[bytes]:
    """Return the lines in a span, without their newlines."""
    return read_span(path, span).split(b"\n")[:-1]


def members(path: Path, within: Span | None = None) -> dict[str, Span]:
    """Return where each file in a tar lies.

    Args:
        path: The tar, or what it lies in.
        within: Where in there.

    Raises:
        BundleError: If it is none, is cut off, holds a name twice or what is no file, or if
            something follows it.
    """
    begin, size = within or Span(0, path.stat().st_size)
    try:
        with path.open("rb") as file:
            file.seek(begin)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                found = archive.getmembers()
                end = archive.offset
    except tarfile.TarError as error:
        raise BundleError("not a bundle: it must be an uncompressed tar") from error
    spans = {member.name: Span(member.offset_data, member.size) for member in found}
    if len(spans) < len(found) or not all(member.isreg() for member in found):
        raise BundleError("it holds something that is no file, or two of one name")
    if any(span.offset + span.size > begin + size for span in spans.values()):
        raise BundleError("the bundle is cut off")
    if any(read_span(path, Span(end, max(begin + size - end, 0)))):
        raise BundleError("something follows the end of the bundle")
    return spans


def read_span(path: Path, span: Span) -> bytes:
    """Return what lies in a span."""
    with path.open("rb") as file:
        file.seek(span.offset)
        return file.read(span.size)


def _lines(path: Path, whole: Span) -> Iterator[tuple[Span, int]]:
    """Yield spans of up to `PART` lines, and how many lines."""
    begin, count, position, end = whole.offset, 0, whole.offset, whole.offset + whole.size
    with path.open("rb") as file:
        file.seek(position)
        while position < end:
            block = file.read(min(_PIECE, end - position))
            at = -1
            while (at := block.find(b"\n", at + 1)) >= 0:
                count += 1
                if count == PART:
                    yield Span(begin, position + at + 1 - begin), count
                    begin, count = position + at + 1, 0
            position += len(block)
    if whole.size and read_span(path, Span(end - 1, 1)) != b"\n":
        raise BundleError("the last line is not a whole one")
    if count:
        yield Span(begin, end - begin), count
