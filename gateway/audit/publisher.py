"""Signs checkpoints, and raises an alarm instead where the log is not what it was.

Before each signature the tree must extend the last checkpoint that the head-keeper kept
and the one in the database: the root at their sizes is computed anew from the tiles. If
it is another, or the tree is smaller, nothing is signed and the alarm names what is
wrong, until the database is again one that extends them.

INVARIANT: what is kept is read before the tree, so a tree that grows meanwhile never
looks too small; and a checkpoint is kept before it is published. Who signs is alone
meanwhile, also with those who change the key: what a key signed ends where the log says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import structlog

from gateway.audit.checkpoint import Checkpoint
from gateway.audit.heads import HeadKeeper
from gateway.audit.log_key import LogKeys
from gateway.audit.merkle import range_hash
from gateway.audit.mldsa import sign_mldsa
from gateway.audit.succession import (
    KEY_CHANGED,
    Keyring,
    Succession,
    parse_succession,
    recorded_change,
)
from gateway.audit.tiles import nodes_in, places_of
from gateway.errors import StoreUnavailable
from gateway.notes import Note, NoteError, SigningKey, VerifierKey, sign
from gateway.store import trees as store
from gateway.store.log_keys import of_type, signing_turn
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
        keys: Sign; their name is the log's.
        heads: Where checkpoints are kept apart.
        now: The time of day, Unix seconds.

    Attributes:
        current: The key that signs, as far as the log has been read; it need not be here.
    """

    def __init__(
        self,
        database: Database,
        keys: LogKeys,
        heads: HeadKeeper,
        now: Callable[[], float] = time.time,
    ):
        self._database = database
        self._keys = keys
        self._heads = heads
        self._now = now
        self._name = keys.held[0].name
        self._changes: list[Succession] = []
        self._changed_at = 0  # the number of the last entry that changed the key
        self._read_to = 0
        self._ring = Keyring([key.verifier for key in keys.held])

    @property
    def current(self) -> VerifierKey:
        """See above."""
        return self._ring.current

    @property
    def earlier(self) -> tuple[VerifierKey, ...]:
        """The keys that signed before."""
        return tuple(each.old for each in self._ring.changes)

    def signing_key(self) -> SigningKey | None:
        """Return the key that signs, or None if it is not here: others sign then."""
        return next((key for key in self._keys.held if key.verifier == self.current), None)

    def origin(self, shard: str) -> str:
        """Return by which name a shard goes."""
        return f"{self._name}/{shard}"

    async def publish(self) -> list[Checkpoint]:
        """Sign and publish the head of every shard that has grown.

        Returns:
            What was signed.

        Raises:
            LogAlarm: If the log is not what it was; nothing is signed.
            StoreUnavailable: If the database cannot be used.
        """
        async with signing_turn(self._database):
            return await self.publish_alone()

    async def publish_alone(self) -> list[Checkpoint]:
        """Do as `publish`, for whoever has the turn to sign already."""
        await self._read_changes()
        with _keeping():
            notes = await self._heads.kept()  # INVARIANT: before the trees
        kept = self._own(notes)
        async with self._database.read() as connection:
            trees = await store.trees(connection)
        self._check_shards(kept, trees)
        for tree in trees:
            await self._check(tree, kept.get(self.origin(tree.shard)))
        signer = self.signing_key()
        # INVARIANT: what a new key signs holds the entry by which it took over.
        if signer is None or not trees or trees[-1].last_seq < self._changed_at:
            return []
        grown = (tree for tree in trees if tree.size > tree.checkpoint_size)
        return [await self._sign(tree, signer) for tree in grown]

    async def _read_changes(self) -> None:
        """Read from the log how the key changed since it was looked at last."""
        async with self._database.read() as connection:
            found = await of_type(connection, KEY_CHANGED, self._read_to)
        for entry in found:
            self._read_to = entry.seq
            if (note := recorded_change(entry.body)) is None:
                log.warning("log_key_change_unreadable", seq=entry.seq)
            else:
                self._changes.append(parse_succession(note.encode()))
                self._changed_at = entry.seq
        try:
            self._ring = Keyring((key.verifier for key in self._keys.held), self._changes)
        except NoteError as error:
            raise LogAlarm(Wrong.FOREIGN_KEY, str(error)) from error

    def _own(self, notes: dict[str, bytes]) -> dict[str, Checkpoint]:
        """Return the kept checkpoints of this log; others are none of our business."""
        own = {}
        for origin, note in notes.items():
            if origin.startswith(f"{self._name}/"):
                try:
                    own[origin] = self._ring.read(note)
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
            published = self._ring.read(tree.checkpoint)
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

    async def _sign(self, tree: TreeRow, signer: SigningKey) -> Checkpoint:
        root = await self._root(tree.shard, tree.size)
        checkpoint = Checkpoint(self.origin(tree.shard), tree.size, root)
        note = self._signed(checkpoint, signer)
        with _keeping():
            await self._heads.keep(checkpoint, note)  # INVARIANT: before it is published
        async with self._database.write() as connection:
            await store.publish(connection, tree, checkpoint.size, note)
        return checkpoint

    def _signed(self, checkpoint: Checkpoint, signer: SigningKey) -> bytes:
        """Return a checkpoint signed; also by the key before, for those who know only that."""
        note = sign(Note(checkpoint.text()), signer)
        for key in self._keys.held:
            if key.verifier == self._ring.previous:
                note = sign(note, key)
        if self._keys.mldsa is not None:
            note = sign_mldsa(note, self._keys.mldsa, int(self._now()))
        return note.encode()

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
