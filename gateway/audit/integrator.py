"""Adds to the Merkle tree what was committed to the log. Any number of replicas may try.

A pass reads the tree's head and the entries after it, hashes them and stores the tiles
that grew, with a compare-and-swap on the size. A leaf's index is its entry's position in
the order of `seq` within the shard; commits come in that order, so nothing is skipped
where numbers have gaps or transactions wait for each other.

An entry belongs to the shard of the half year in which it is integrated, by the clock
that all replicas share. Shards are thus stretches of the log that follow each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.audit.tiles import WIDTH, Tile, grown, last_places, split_hashes
from gateway.store import leaves as store_leaves
from gateway.store import replicas
from gateway.store import trees as store
from gateway.store.leaves import Leaves, RecentLeaves
from gateway.store.session import Database
from gateway.store.trees import TreeRow

BATCH = 1024  # entries in one pass: about a millisecond of hashing


def shard_of(moment_s: float) -> str:
    """Return the half year of a moment, Unix seconds: `2026h2`."""
    moment = datetime.fromtimestamp(moment_s, UTC)
    return f"{moment.year}h{1 if moment.month <= 6 else 2}"


class Integrator:
    """Grows the trees of one database.

    Args:
        database: Migrated.
        clock: The clock that all replicas share, Unix seconds.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[Database], Awaitable[float]] = replicas.database_time,
    ):
        self._database = database
        self._clock = clock

    async def integrate(self) -> int:
        """Add everything that is committed; return how many entries that was.

        Raises:
            StoreUnavailable: If the database cannot be used. What was added stays.
        """
        shard, total = shard_of(await self._clock(self._database)), 0
        while (added := await self._pass(shard)) > 0:
            total += added
            if added < BATCH:
                break
        return total

    async def _pass(self, shard: str) -> int:
        if self._database.is_sqlite:
            # Its only writer is the ledger's, too: read and hash before taking its turn.
            async with self._database.read() as connection:
                plan = await _planned(connection, shard, self._database.recent_leaves)
            if plan is None:
                return 0
            async with self._database.write() as connection:
                return await _carried_out(connection, plan)
        async with self._database.write() as connection:
            if not await store.alone(connection):
                return 0
            plan = await _planned(connection, shard, self._database.recent_leaves)
            return await _carried_out(connection, plan) if plan is not None else 0


class _Plan:
    """What one pass does: a tree, the tiles of it that change, and where it then ends."""

    __slots__ = ("first_seqs", "fresh", "leaves", "tiles", "tree")

    def __init__(self, tree: TreeRow, fresh: bool, leaves: Leaves):
        self.tree = tree
        self.fresh = fresh
        self.leaves = leaves
        self.tiles: list[Tile] = []
        begins = (0, *range(-tree.size % WIDTH, len(leaves.seqs), WIDTH))
        self.first_seqs: dict[tuple[int, int], int] = {
            (0, (tree.size + at) // WIDTH): leaves.seqs[at] for at in begins
        }

    def hash(self, last: Mapping[tuple[int, int], bytes]) -> None:
        """Hash what is above the leaves. For a thread."""
        self.tiles = grown(self.tree.size, last, split_hashes(self.leaves.hashes))


async def _planned(connection: AsyncConnection, shard: str, recent: RecentLeaves) -> _Plan | None:
    trees = await store.trees(connection)
    newest = trees[-1] if trees else None
    after_seq = newest.last_seq if newest is not None else 0
    leaves = await store_leaves.after(connection, after_seq, BATCH, recent)
    if not leaves.seqs:
        return None
    # A clock that was set back opens no earlier shard.
    if newest is None or newest.shard < shard:
        tree, fresh = TreeRow(shard, after_seq + 1, 0, after_seq, 0, None), True
    else:
        tree, fresh = newest, False
    plan = _Plan(tree, fresh, leaves)
    found = await store.tiles(connection, plan.tree.shard, last_places(plan.tree.size))
    await asyncio.to_thread(plan.hash, found)
    return plan


async def _carried_out(connection: AsyncConnection, plan: _Plan) -> int:
    tree, seqs = plan.tree, plan.leaves.seqs
    if plan.fresh and not await store.open_tree(connection, tree.shard, tree.first_seq):
        return 0
    if not await store.grow(connection, tree, tree.size + len(seqs), seqs[-1]):
        return 0  # another replica was first
    await store.put_tiles(connection, tree.shard, plan.tiles, plan.first_seqs)
    return len(seqs)
