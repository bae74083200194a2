"""Writes what an auditor verifies: bundles, proofs of one entry, and the heads they end in.

Only what a published checkpoint covers is given out: at most the last second is not.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.audit.archive import Archive, whole_file
from gateway.audit.bundle import (
    BUNDLE_FORMAT,
    CHECKPOINT,
    COLUMNS,
    ENTRIES,
    KEYED_FORMAT,
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
from gateway.audit.succession import KEY_CHANGED, recorded_change
from gateway.audit.tiles import WIDTH, Place, nodes_in, places_of
from gateway.audit.verify import KEYED_PROOF_FORMAT, PROOF_FORMAT
from gateway.errors import Conflict, NotFound
from gateway.store import entries as entry_rows
from gateway.store import trees as store
from gateway.store.log_keys import of_type
from gateway.store.session import Database
from gateway.store.trees import TreeRow

_PAGE = 2000  # entries
_TILES_AT_ONCE = 64

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


@dataclass(frozen=True, slots=True)
class Source:
    """A stretch of a tree, read page by page.

    Attributes:
        database: Where the log is.
        tree: Of which shard.
        first: Index of the first entry.
        end: Of the one after the last.
        key_changes: How the log's key changed, signed notes, in their order.
    """

    database: Database
    tree: TreeRow
    first: int
    end: int
    key_changes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many entries these are."""
        return self.end - self.first

    @property
    def exported(self) -> Exported:
        """What is written when all of it is."""
        return Exported(self.tree.shard, self.first, self.count, self.tree.checkpoint_size)

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

    async def hashes(self, begin: int, end: int) -> list[str]:
        """Return the hashes of the complete subtrees over [begin, end), base64."""
        async with self.database.read() as connection:
            places = places_of([(begin, end)])
            nodes = nodes_in(await store.tiles(connection, self.tree.shard, places))
        return [hash_text(nodes(level, index)) for level, index in blocks(begin, end)]


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
    source = await _source(database, await signed_tree(database, what.shard), what)
    if source is None:
        raise NotFound("nothing was recorded in that time that a checkpoint covers")
    with whole_file(out) as file:
        await write_bundle(source, Archive(file), progress)
    return source.exported


async def stretches(database: Database, what: Stretch) -> list[Source]:
    """Return what is asked for of each shard that has some of it, the oldest first.

    Raises:
        NotFound: If there is nothing.
        StoreUnavailable: If the log cannot be read.
    """
    newest = await signed_tree(database, what.shard)
    async with database.read() as connection:
        trees = [newest] if what.shard else await store.trees(connection)
    found = [await _source(database, tree, what) for tree in trees if tree.checkpoint]
    if not any(found):
        raise NotFound("nothing was recorded in that time that a checkpoint covers")
    return [source for source in found if source is not None]


async def write_bundle(
    source: Source, archive: Archive, progress: Progress = lambda done, total: None
) -> None:
    """Write the five files of a bundle, and the archive's end."""
    manifest: dict[str, Any] = {
        "format": BUNDLE_FORMAT,
        "first": source.first,
        "count": source.count,
        "left": await source.hashes(0, source.first),
        "right": await source.hashes(source.end, source.tree.checkpoint_size),
    }
    if source.key_changes:
        manifest.update(format=KEYED_FORMAT, keys=list(source.key_changes))
    await _write_entries(source, archive, progress)
    with archive.member(LEAVES) as file:
        async for hashes in source.leaves():
            file.write(hashes)
    archive.add(MANIFEST, json.dumps(manifest, indent=1).encode())
    archive.add(CHECKPOINT, source.tree.checkpoint or b"")
    archive.end()


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
                made: dict[str, Any] = {
                    "format": PROOF_FORMAT,
                    "index": index,
                    "entry": entry.body.decode(),
                    "hashes": [hash_text(hash) for hash in inclusion_proof(index, size, nodes)],
                    "checkpoint": (tree.checkpoint or b"").decode(),
                }
                if keys := await key_changes(connection):
                    made.update(format=KEYED_PROOF_FORMAT, keys=keys)
                return made
    raise Conflict(f"no checkpoint covers `{id}` yet; try again in a second")


async def key_changes(connection: AsyncConnection) -> list[str]:
    """Return the changes of the log's key, signed notes, in their order."""
    found = await of_type(connection, KEY_CHANGED, 0)
    notes = (recorded_change(entry.body) for entry in found)
    return [note for note in notes if note is not None]


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


async def _source(database: Database, tree: TreeRow, what: Stretch) -> Source | None:
    """Return the stretch of a tree that was recorded in that time, None if there is none."""
    first, end = 0, tree.checkpoint_size
    if what.since is not None or what.until is not None:
        async with database.read() as connection:
            found = await store.recorded_between(connection, tree, what.since, what.until)
            if found is None:
                return None
            indexes = [await store.index_of(connection, tree, seq, WIDTH) for seq in found]
        first, end = (indexes[0] or 0), min(end, (indexes[1] or 0) + 1)
    if first >= end:
        return None
    async with database.read() as connection:
        changes = await key_changes(connection)
    return Source(database, tree, first, end, tuple(changes))


async def _write_entries(source: Source, archive: Archive, progress: Progress) -> None:
    done = 0
    with tempfile.TemporaryFile() as columns:
        with archive.member(ENTRIES) as file:
            async for page in source.rows():
                for row in page:
                    file.write(row.body + b"\n")
                    columns.write(_beside(row))
                done += len(page)
                progress(done, source.count)
        columns.seek(0)
        with archive.member(COLUMNS) as file:
            while block := columns.read(1 << 20):
                file.write(block)


def _beside(row: store.WholeEntry) -> bytes:
    columns = json.dumps(row[:-1], ensure_ascii=False, separators=(",", ":"))
    return columns.encode("utf-8", "replace") + b"\n"
