"""Reads the log again, tile by tile, and compares it with what was hashed.

An entry that is changed, removed or put in afterwards no longer fits the hashes beside it,
and a column that is changed no longer fits its entry. A tile a second is some twenty
million entries a day; the newest come first, and after the oldest the newest again.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from gateway.audit.merkle import leaf_hash
from gateway.audit.projection import columns_of
from gateway.audit.publisher import LogAlarm, Wrong
from gateway.audit.tiles import WIDTH, Place, split_hashes
from gateway.store import trees as store
from gateway.store.session import Database
from gateway.store.trees import TreeRow, WholeEntry, stretch


class Scrubber:
    """Walks over the log, one tile a step.

    Args:
        database: Migrated.
    """

    def __init__(self, database: Database):
        self._database = database
        self._next: tuple[str, int] | None = None  # shard and tile

    async def step(self) -> bool:
        """Check one tile; False if the log is empty, or this was the oldest tile of it.

        Raises:
            LogAlarm: If an entry is not what was hashed. The next step checks it again.
            StoreUnavailable: If the database cannot be read.
        """
        async with self._database.read() as connection:
            trees = {tree.shard: tree for tree in await store.trees(connection) if tree.size}
        if not trees:
            return False
        shard, number = self._next or _newest(trees[max(trees)])
        if shard not in trees:  # rolled back: that is for others to say
            self._next = None
            return False
        await self._check(trees[shard], number)
        self._next = _before(trees, shard, number)
        return self._next is not None

    async def _check(self, tree: TreeRow, number: int) -> None:
        async with self._database.read() as connection:
            found = await store.tiles(connection, tree.shard, [Place(0, number)])
            first = await store.first_seq_of(connection, tree.shard, number)
            following = await store.first_seq_of(connection, tree.shard, number + 1)
            # What was added since the tree was read is left out.
            last = tree.last_seq if following is None else min(tree.last_seq, following - 1)
            entries = await stretch(connection, first or 0, last, WIDTH + 1)
        hashes = split_hashes(found.get((0, number), b""))
        width = min(WIDTH, tree.size - number * WIDTH)
        wrong = _first_wrong(hashes[:width], entries)
        if wrong is not None or len(hashes) < width:
            index = number * WIDTH + (wrong or 0)
            detail = f"entry {index} of `{tree.shard}` is not what was recorded"
            raise LogAlarm(Wrong.EDITED, detail)


def _newest(tree: TreeRow) -> tuple[str, int]:
    return tree.shard, (tree.size - 1) // WIDTH


def _before(trees: dict[str, TreeRow], shard: str, number: int) -> tuple[str, int] | None:
    if number > 0:
        return shard, number - 1
    earlier = max((name for name in trees if name < shard), default=None)
    return _newest(trees[earlier]) if earlier is not None else None


def _first_wrong(hashes: Sequence[bytes], entries: Sequence[WholeEntry]) -> int | None:
    """Return which entry of a tile is not what it must be; one too many counts as wrong."""
    for at, hash in enumerate(hashes):
        if at >= len(entries) or leaf_hash(entries[at].body) != hash:
            return at
        entry = entries[at]
        # The columns between the number and the body.
        if columns_of(orjson.loads(entry.body)) != entry[1:-1]:
            return at
    return len(hashes) if len(entries) > len(hashes) else None
