"""Writes what an auditor verifies: bundles, proofs of one entry, and the heads they end in.

Only what a published checkpoint covers is given out: at most the last second is not.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.audit.bundle import (
    BUNDLE_FORMAT,
    CHECKPOINT,
    COLUMNS,
    ENTRIES,
    LEAVES,
    MANIFEST,
)
from gateway.audit.checkpoint import hash_text
from gateway.audit.merkle import (
    HASH_SIZE,
    blocks,
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    inclusion_ranges,
)
from gateway.audit.queries import entry_id_of
from gateway.audit.tiles import WIDTH, Place, nodes_in, places_of
from gateway.audit.verify import PROOF_FORMAT
from gateway.errors import Conflict, NotFound
from gateway.store import entries as entry_rows
from gateway.store import trees as store
from gateway.store.session import Database
from gateway.store.trees import TreeRow

_PAGE = 2000  # entries
_TILES_AT_ONCE = 64
_TAR_BLOCK = 512

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        shard: Of which shard.
        first: Index of the first entry.
        count: How many.
        size: How many the checkpoint covers.
    """

    shard: str
    first: int
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """What to export.

    Attributes:
        shard: Which shard; None is the newest that is signed.
        since: Entries from the first that was recorded then or later; a moment as in the log.
        until: Up to the last that was recorded before.
    """

    shard: str | None = None
    since: str | None = None
    until: str | None = None


async def signed_tree(database: Database, shard: str | None = None) -> TreeRow:
    """Return the tree of a shard, the newest by default, that has a checkpoint.

    Raises:
        NotFound: If there is none.
    """
    async with database.read() as connection:
        trees = [tree for tree in await store.trees(connection) if tree.checkpoint]
    found = [tree for tree in trees if shard in {None, tree.shard}]
    if not found:
        known = ", ".join(tree.shard for tree in trees) or "none"
        raise NotFound(f"no shard `{shard}` has a checkpoint; signed are: {known}")
    return found[-1]


async def export(
    database: Database,
    what: Stretch,
    out: Path,
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Write a bundle; a file that is there is replaced when the new one is whole.

    Raises:
        NotFound: If there is nothing to export.
        StoreUnavailable, OSError: If it could not be read or written; no file is left then.
    """
    tree = await signed_tree(database, what.shard)
    async with database.read() as connection:
        first, end = await _bounds(connection, tree, what)
        manifest = {
            "format": BUNDLE_FORMAT,
            "first": first,
            "count": end - first,
            "left": await _hashes(connection, tree, 0, first),
            "right": await _hashes(connection, tree, end, tree.checkpoint_size),
        }
    draft = out.with_name(f"{out.name}.part")
    try:
        with draft.open("wb") as file:
            await _write(_Source(database, tree, first, end), file, progress)
            _add(file, MANIFEST, json.dumps(manifest, indent=1).encode())
            _add(file, CHECKPOINT, tree.checkpoint or b"")
            file.write(bytes(2 * _TAR_BLOCK))
        draft.replace(out)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    return Exported(tree.shard, first, end - first, tree.checkpoint_size)


async def proof(database: Database, id: str) -> dict[str, Any]:
    """Return the proof of one entry: all that `verify` needs but for the key.

    Args:
        database: Where the log is.
        id: An entry's UUID, or a decision's `dec_...`.

    Raises:
        NotFound: If there is no such entry.
        Conflict: If no checkpoint covers it yet.
    """
    found = await entry_rows.with_id(database, entry_id_of(id) or "")
    if not found:
        raise NotFound(f"there is no entry or decision `{id}` in the log")
    [entry] = found
    async with database.read() as connection:
        for tree in await store.trees(connection):
            index = await store.index_of(connection, tree, entry.seq, WIDTH)
            if index is not None and index < tree.checkpoint_size:
                size = tree.checkpoint_size
                places = places_of(inclusion_ranges(index, size))
                nodes = nodes_in(await store.tiles(connection, tree.shard, places))
                return {
                    "format": PROOF_FORMAT,
                    "index": index,
                    "entry": entry.body.decode(),
                    "hashes": [hash_text(hash) for hash in inclusion_proof(index, size, nodes)],
                    "checkpoint": (tree.checkpoint or b"").decode(),
                }
    raise Conflict(f"no checkpoint covers `{id}` yet; try again in a second")


async def growth(database: Database, tree: TreeRow, old: int) -> list[str]:
    """Return the proof that a tree's checkpoint extends the one of size `old`, base64.

    Raises:
        Conflict: If the checkpoint covers fewer.
    """
    size = tree.checkpoint_size
    if old > size:
        raise Conflict(f"the log has a checkpoint of {size} entries, fewer than {old}")
    async with database.read() as connection:
        places = places_of(consistency_ranges(old, size))
        nodes = nodes_in(await store.tiles(connection, tree.shard, places))
    return [hash_text(hash) for hash in consistency_proof(old, size, nodes)]


async def _bounds(connection: AsyncConnection, tree: TreeRow, what: Stretch) -> tuple[int, int]:
    """Return the indexes of the first entry and of the one after the last."""
    first, end = 0, tree.checkpoint_size
    if what.since is not None or what.until is not None:
        found = await store.recorded_between(connection, tree, what.since, what.until)
        if found is None:
            raise NotFound("nothing was recorded in that time")
        indexes = [await store.index_of(connection, tree, seq, WIDTH) for seq in found]
        first, end = (indexes[0] or 0), min(end, (indexes[1] or 0) + 1)
    if first >= end:
        raise NotFound("nothing was recorded in that time that a checkpoint covers")
    return first, end


async def _hashes(connection: AsyncConnection, tree: TreeRow, begin: int, end: int) -> list[str]:
    nodes = nodes_in(await store.tiles(connection, tree.shard, places_of([(begin, end)])))
    return [hash_text(nodes(level, index)) for level, index in blocks(begin, end)]


@dataclass(frozen=True, slots=True)
class _Source:
    """A stretch of a tree, read page by page."""

    database: Database
    tree: TreeRow
    first: int
    end: int

    async def rows(self) -> AsyncIterator[list[store.WholeEntry]]:
        """Yield the entries, as many as the tree holds or fewer."""
        left = self.end - self.first
        async with self.database.read() as connection:
            seq = await store.seq_at(connection, self.tree.shard, self.first, WIDTH)
        while left > 0:
            async with self.database.read() as connection:
                last_seq, limit = self.tree.last_seq, min(left, _PAGE)
                page = await store.stretch(connection, seq, last_seq, limit)
            if not page:
                return
            yield page
            left, seq = left - len(page), page[-1].seq + 1

    async def leaves(self) -> AsyncIterator[bytes]:
        """Yield the hashes that the tree has of them."""
        step = WIDTH * _TILES_AT_ONCE
        for begin in range(self.first - self.first % WIDTH, self.end, step):
            end = min(begin + step, self.end)
            places = [Place(0, number) for number in range(begin // WIDTH, -(-end // WIDTH))]
            async with self.database.read() as connection:
                tiles = await store.tiles(connection, self.tree.shard, places)
            hashes = b"".join(tiles.get(place, b"") for place in places)
            skipped = max(self.first - begin, 0)
            yield hashes[skipped * HASH_SIZE : (end - begin) * HASH_SIZE]


async def _write(source: _Source, file: IO[bytes], progress: Progress) -> None:
    total, done = source.end - source.first, 0
    with tempfile.TemporaryFile() as columns:
        with _member(file, ENTRIES):
            async for page in source.rows():
                for row in page:
                    file.write(row.body + b"\n")
                    columns.write(_beside(row))
                done += len(page)
                progress(done, total)
        columns.seek(0)
        with _member(file, COLUMNS):
            while block := columns.read(1 << 20):
                file.write(block)
    with _member(file, LEAVES):
        async for hashes in source.leaves():
            file.write(hashes)


class _member:
    """Writes a member of a tar whose size is known in the end."""

    def __init__(self, file: IO[bytes], name: str):
        self._file, self._name = file, name

    def __enter__(self) -> None:
        self._begin = self._file.tell()
        self._file.write(bytes(_TAR_BLOCK))

    def __exit__(self, *_: object) -> None:
        end = self._file.tell()
        size = end - self._begin - _TAR_BLOCK
        self._file.write(bytes(-size % _TAR_BLOCK))
        after = self._file.tell()
        self._file.seek(self._begin)
        self._file.write(_header(self._name, size))
        self._file.seek(after)


def _add(file: IO[bytes], name: str, content: bytes) -> None:
    with _member(file, name):
        file.write(content)


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o644
    return entry.tobuf(tarfile.GNU_FORMAT)


def _beside(row: store.WholeEntry) -> bytes:
    columns = json.dumps(row[:-1], ensure_ascii=False, separators=(",", ":"))
    return columns.encode("utf-8", "replace") + b"\n"
