"""Signs checkpoints, and raises an alarm instead where the log is not what it was.

Before each signature the tree must extend the last checkpoint that the head-keeper kept
and the one in the database: the root at their sizes is computed anew from the tiles. If
it is another, or the tree is smaller, nothing is signed and the alarm names what is
wrong, until the database is again one that extends them.

INVARIANT: what is kept is read before the tree, so a tree that grows meanwhile never
looks too small; and a checkpoint is kept before it is published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import structlog

from gateway.audit.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from gateway.audit.heads import HeadKeeper
from gateway.audit.merkle import range_hash
from gateway.audit.tiles import nodes_in, places_of
from gateway.errors import StoreUnavailable
from gateway.notes import NoteError, SigningKey
from gateway.store import trees as store
from gateway.store.session import Database
from gateway.store.trees import TreeRow

log = structlog.get_logger(__name__)


class Wrong(StrEnum):
    """What can be wrong with a log."""

    ROLLED_BACK = "rolled_back"  # it ends before a checkpoint that was signed
    FORKED = "forked"  # it is another one than was signed
    MISSING_SHARD = "missing_shard"  # a shard that was signed is not there
    EDITED = "edited"  # an entry is not what was hashed
    FOREIGN_KEY = "foreign_key"  # its head was signed by another key
    NO_KEEPER = "no_keeper"  # nothing can be kept apart, or what was kept be read
    STOPPED = "stopped"  # whatever signs has died: a mistake of ours


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why nothing is signed.

    Attributes:
        wrong: The kind, for metrics.
        detail: A sentence for people; nothing of what an entry says.
    """

    wrong: Wrong
    detail: str


class LogAlarm(Exception):
    """Carries an alarm to whoever runs the pass."""

    def __init__(self, wrong: Wrong, detail: str):
        super().__init__(detail)
        self.alarm = Alarm(wrong, detail)


class Publisher:
    """Publishes the heads of one log.

    Args:
        database: Migrated.
        key: Signs; its name is the log's.
        heads: Where checkpoints are kept apart.
    """

    def __init__(self, database: Database, key: SigningKey, heads: HeadKeeper):
        self._database = database
        self._key = key
        self._heads = heads

    def origin(self, shard: str) -> str:
        """Return by which name a shard goes."""
        return f"{self._key.name}/{shard}"

    async def publish(self) -> list[Checkpoint]:
        """Sign and publish the head of every shard that has grown.

        Returns:
            What was signed.

        Raises:
            LogAlarm: If the log is not what it was; nothing is signed.
            StoreUnavailable: If the database cannot be used.
        """
        with _keeping():
            notes = await self._heads.kept()  # INVARIANT: before the trees
        kept = self._own(notes)
        async with self._database.read() as connection:
            trees = await store.trees(connection)
        self._check_shards(kept, trees)
        for tree in trees:
            await self._check(tree, kept.get(self.origin(tree.shard)))
        return [await self._sign(tree) for tree in trees if tree.size > tree.checkpoint_size]

    def _own(self, notes: dict[str, bytes]) -> dict[str, Checkpoint]:
        """Return the kept checkpoints of this log; others are none of our business."""
        own = {}
        for origin, note in notes.items():
            if origin.startswith(f"{self._key.name}/"):
                try:
                    own[origin] = read_checkpoint(note, [self._key.verifier])
                except NoteError as error:
                    detail = f"the checkpoint kept of `{origin}` cannot be used: {error}"
                    raise LogAlarm(Wrong.NO_KEEPER, detail) from error
        return own

    def _check_shards(self, kept: dict[str, Checkpoint], trees: Sequence[TreeRow]) -> None:
        missing = sorted(set(kept) - {self.origin(tree.shard) for tree in trees})
        if missing:
            detail = f"`{missing[0]}` was signed and is not in the database"
            raise LogAlarm(Wrong.MISSING_SHARD, detail)

    async def _check(self, tree: TreeRow, kept: Checkpoint | None) -> None:
        published = self._published(tree)
        for before in (kept, published):
            if before is not None:
                await self._check_extends(tree, before)
        if published is not None and (kept is None or kept.size < published.size):
            # Signed by another replica, or kept nowhere yet.
            with _keeping():
                await self._heads.keep(published, tree.checkpoint or b"")

    def _published(self, tree: TreeRow) -> Checkpoint | None:
        if tree.checkpoint is None:
            return None
        try:
            published = read_checkpoint(tree.checkpoint, [self._key.verifier])
        except NoteError as error:
            detail = f"the head of `{tree.shard}` in the database cannot be used: {error}"
            raise LogAlarm(Wrong.FOREIGN_KEY, detail) from error
        if published.origin != self.origin(tree.shard):
            detail = f"the head of `{tree.shard}` in the database is that of `{published.origin}`"
            raise LogAlarm(Wrong.FORKED, detail)
        return published

    async def _check_extends(self, tree: TreeRow, before: Checkpoint) -> None:
        if before.size > tree.size:
            detail = (
                f"`{before.origin}` had {before.size} entries when it was signed and has "
                f"{tree.size}: the database was rolled back"
            )
            raise LogAlarm(Wrong.ROLLED_BACK, detail)
        if await self._root(tree.shard, before.size) != before.root:
            detail = (
                f"the first {before.size} entries of `{before.origin}` are not those that "
                "were signed: the log was forked or edited"
            )
            raise LogAlarm(Wrong.FORKED, detail)

    async def _sign(self, tree: TreeRow) -> Checkpoint:
        root = await self._root(tree.shard, tree.size)
        checkpoint = Checkpoint(self.origin(tree.shard), tree.size, root)
        note = sign_checkpoint(checkpoint, self._key)
        with _keeping():
            await self._heads.keep(checkpoint, note)  # INVARIANT: before it is published
        async with self._database.write() as connection:
            await store.publish(connection, tree, checkpoint.size, note)
        return checkpoint

    async def _root(self, shard: str, size: int) -> bytes:
        """Return the root at `size`, computed from the tiles."""
        async with self._database.read() as connection:
            tiles = await store.tiles(connection, shard, places_of([(0, size)]))
        try:
            return range_hash(0, size, nodes_in(tiles))
        except LookupError as error:
            detail = f"the tree of `{shard}` lacks hashes of its first {size} entries"
            raise LogAlarm(Wrong.FORKED, detail) from error


@contextmanager
def _keeping() -> Iterator[None]:
    """Turn what a head-keeper raises into an alarm: without one nothing is signed."""
    try:
        yield
    except (OSError, StoreUnavailable) as error:
        detail = f"the head-keeper cannot be used: {type(error).__name__}"
        raise LogAlarm(Wrong.NO_KEEPER, detail) from error
