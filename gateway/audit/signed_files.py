"""Files that go together, under one signed list of their hashes. Standard library only.

The list is a signed note (c2sp.org/signed-note) by the log's key, in the file `manifest`:

    ostiary-files/1
    what export csv/1
    made 2026-07-01T00:00:00.000000Z
    since 2026-04-01T00:00:00.000000Z
    until -
    log ostiary/46db883c1ffa/2026h1 0 54 54
    <SHA-256, hexadecimal>  entries.csv

`log` says of which shard entries are there: the index of the first, how many, and the size
of the checkpoint that covers them. Lines of files read as `sha256sum` writes them. The files
lie in an uncompressed tar, or in a folder that it was unpacked into.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.audit.bundle import BundleError, Span, members
from gateway.audit.checkpoint import parse_size
from gateway.notes import NoteError

FILES_FORMAT = "ostiary-files/1"
SIGNED_LIST = "manifest"  # the name of the list
KEY_CHANGES = "key-changes"  # of the file that says how the log's key changed, where it did

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.ASCII)
_FILE = re.compile(r"([0-9a-f]{64})  (.*)", re.ASCII)
_MOMENT = re.compile(
    r"-|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", re.ASCII
)
_HEAD = ("what", "made", "since", "until")
_LARGEST_LIST = 1_000_000  # bytes
_HASHED = 1 << 20  # bytes read at once


@dataclass(frozen=True, slots=True)
class LogPart:
    """Which entries of a shard are there.

    Attributes:
        origin: The log's name and the shard.
        first: Index of the first.
        count: How many.
        size: How many its checkpoint covers.
    """

    origin: str
    first: int
    count: int
    size: int

    @property
    def shard(self) -> str:
        """The half year, as in `2026h2`."""
        return self.origin.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class FileList:
    """What is signed.

    Attributes:
        what: For example `evidence eu-ai-act/1`.
        made: When, as moments stand in the log.
        since: From when on, or `-`.
        until: Until when, or `-`.
        logs: Of which shards entries are there.
        digests: SHA-256 by name.

    Raises:
        NoteError: If it cannot be written, and read back as the same.
    """

    what: str
    made: str
    since: str
    until: str
    logs: tuple[LogPart, ...]
    digests: dict[str, str]

    def __post_init__(self) -> None:
        """Check what can be said in a line."""
        if not self.what or "\n" in self.what:
            raise NoteError("what the files are must be said in one line")
        if not all(_MOMENT.fullmatch(moment) for moment in (self.made, self.since, self.until)):
            raise NoteError("a moment must be written as in the log")
        if not self.digests or list(self.digests) != sorted(self.digests):
            raise NoteError("files must be listed by name, at least one")
        if not all(map(_NAME.fullmatch, self.digests)) or SIGNED_LIST in self.digests:
            raise NoteError("a file's name must be plain")

    def text(self) -> str:
        """Return what is signed."""
        head = [f"{name} {getattr(self, name)}" for name in _HEAD]
        logs = [f"log {each.origin} {each.first} {each.count} {each.size}" for each in self.logs]
        files = [f"{digest}  {name}" for name, digest in self.digests.items()]
        return "\n".join([FILES_FORMAT, *head, *logs, *files, ""])


def parse_list(text: str) -> FileList:
    """Read the text of a list's note. Raises `NoteError` if it could be written otherwise."""
    lines = text.split("\n")
    if lines[0] != FILES_FORMAT:
        raise NoteError(f"this reads `{FILES_FORMAT}`, and no other format")
    head = [line.partition(" ") for line in lines[1:5]]
    if tuple(name for name, _, _ in head) != _HEAD:
        raise NoteError(f"must begin with {', '.join(_HEAD)}")
    rest = lines[5:-1]
    logs = tuple(_parse_log(line) for line in rest if line.startswith("log "))
    files = [_FILE.fullmatch(line) for line in rest[len(logs) :]]
    digests = {match[2]: match[1] for match in files if match}
    what, made, since, until = (value for _, _, value in head)
    read = FileList(what, made, since, until, logs, digests)
    if read.text() != text:
        raise NoteError("a list that could be written in another way")
    return read


def _parse_log(line: str) -> LogPart:
    parts = line.split(" ")
    if len(parts) != 5:
        raise NoteError("a log must be listed with its origin and three numbers")
    return LogPart(parts[1], *map(parse_size, parts[2:]))


class FileSet:
    """Files in a tar or in a folder.

    Raises:
        BundleError: If it is neither, or holds no list.
        OSError: If it cannot be read.
    """

    def __init__(self, path: Path):
        if path.is_dir():
            inside = sorted(each for each in path.iterdir())
            if not all(each.is_file() and not each.is_symlink() for each in inside):
                raise BundleError("the folder holds something that is no file")
            self._places = {each.name: (each, Span(0, each.stat().st_size)) for each in inside}
        else:
            self._places = {name: (path, span) for name, span in members(path).items()}
        if SIGNED_LIST not in self._places:
            raise BundleError(f"it holds no `{SIGNED_LIST}`")

    @property
    def names(self) -> set[str]:
        """The files, without the list."""
        return self._places.keys() - {SIGNED_LIST}

    def place(self, name: str) -> tuple[Path, Span]:
        """Return in which file something lies, and where in there."""
        return self._places[name]

    def read(self, name: str) -> bytes:
        """Return a small file. Raises `BundleError` if it is not small."""
        if self._places[name][1].size > _LARGEST_LIST:
            raise BundleError(f"`{name}` is too large")
        return b"".join(self._blocks(name))

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file, hexadecimal."""
        hashed = hashlib.sha256()
        for block in self._blocks(name):
            hashed.update(block)
        return hashed.hexdigest()

    def _blocks(self, name: str) -> Iterator[bytes]:
        path, (offset, left) = self._places[name]
        with path.open("rb") as file:
            file.seek(offset)
            while left > 0 and (block := file.read(min(left, _HASHED))):
                yield block
                left -= len(block)


def holds_signed_files(path: Path) -> bool:
    """Return whether something is such files. Raises `OSError` if it cannot be read."""
    try:
        FileSet(path)
    except BundleError:
        return path.is_dir()  # nothing else is a folder, and then the reason is to be told
    return True
