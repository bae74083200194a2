"""The Merkle trees over the log, one per shard: their tiles and their heads.

What they mean is in `gateway.audit.tiles`. A tree grows by compare-and-swap on its size,
and a checkpoint is published by compare-and-swap on that of the one before, so of any
number of replicas that try at once one succeeds and nothing is done twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import insert, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import log_index
from gateway.store.tables import audit_entries, audit_tiles, audit_trees

# Keys of PostgreSQL advisory locks stand in `gateway.store.session`: 1 and 2 of "osti".
_INTEGRATION_LOCK = 0x6F737469_0003

TilePlace = tuple[int, int]  # level and number


class TreeRow(NamedTuple):
    """The tree of one shard.

    Attributes:
        shard: For example `2026h2`.
        first_seq: Entries with a smaller number belong to earlier shards.
        size: How many entries are in it.
        last_seq: The number of the last of them.
        checkpoint_size: The size that the published checkpoint covers; 0 if there is none.
        checkpoint: The signed note, or None.
    """

    shard: str
    first_seq: int
    size: int
    last_seq: int
    checkpoint_size: int
    checkpoint: bytes | None


async def trees(connection: AsyncConnection) -> list[TreeRow]:
    """Return all trees, the oldest shard first."""
    columns = [audit_trees.c[name] for name in TreeRow._fields]
    query = select(*columns).order_by(audit_trees.c.shard)
    return [TreeRow(*row) for row in await connection.execute(query)]


async def alone(connection: AsyncConnection) -> bool:
    """Return whether no other replica integrates; keeps them out until the transaction ends.

    On SQLite the compare-and-swap has to do: there is one machine.
    """
    if connection.dialect.name != "postgresql":
        return True
    query = text("SELECT pg_try_advisory_xact_lock(:key)")
    return bool(await connection.scalar(query, {"key": _INTEGRATION_LOCK}))


async def open_tree(connection: AsyncConnection, shard: str, first_seq: int) -> bool:
    """Begin a shard, empty. False if another replica has."""
    known = await connection.scalar(select(audit_trees.c.shard).where(audit_trees.c.shard == shard))
    if known is not None:
        return False
    row = TreeRow(shard, first_seq, 0, first_seq - 1, 0, None)
    await connection.execute(insert(audit_trees).values(row._asdict()))
    return True


async def tiles(
    connection: AsyncConnection, shard: str, places: Collection[TilePlace]
) -> dict[TilePlace, bytes]:
    """Return the hashes in these tiles; one that is not there is left out."""
    if not places:
        return {}
    columns = audit_tiles.c
    query = select(columns.level, columns.number, columns.hashes).where(
        columns.shard == shard, tuple_(columns.level, columns.number).in_(list(places))
    )
    return {(level, number): hashes for level, number, hashes in await connection.execute(query)}


async def first_seq_of(connection: AsyncConnection, shard: str, number: int) -> int | None:
    """Return the number of the first entry in a tile of leaves, None if there is no such tile."""
    columns = audit_tiles.c
    query = select(columns.first_seq).where(
        columns.shard == shard, columns.level == 0, columns.number == number
    )
    return await connection.scalar(query)


async def index_of(connection: AsyncConnection, tree: TreeRow, seq: int, width: int) -> int | None:
    """Return the leaf index of the entry with this number, None if it is not in the tree.

    `width` is how many leaves a full tile holds.
    """
    if not tree.first_seq <= seq <= tree.last_seq:
        return None
    columns = audit_tiles.c
    query = (
        select(columns.number, columns.first_seq)
        .where(columns.shard == tree.shard, columns.level == 0, columns.first_seq <= seq)
        .order_by(columns.first_seq.desc())
        .limit(1)
    )
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        return None
    between = select(audit_entries.c.seq).where(
        audit_entries.c.seq >= found.first_seq, audit_entries.c.seq < seq
    )
    return int(found.number) * width + len((await connection.execute(between)).all())


async def grow(connection: AsyncConnection, tree: TreeRow, size: int, last_seq: int) -> bool:
    """Say that a tree holds `size` entries. False if it is not as `tree` says any more."""
    done = await connection.execute(
        update(audit_trees)
        .where(audit_trees.c.shard == tree.shard, audit_trees.c.size == tree.size)
        .values(size=size, last_seq=last_seq)
    )
    return done.rowcount == 1


async def put_tiles(
    connection: AsyncConnection,
    shard: str,
    changed: Iterable[tuple[TilePlace, bytes]],
    first_seqs: Mapping[TilePlace, int],
) -> None:
    """Store tiles that are new or have grown.

    Args:
        connection: In the transaction of `grow`.
        shard: Of the tree.
        changed: Places and hashes.
        first_seqs: For tiles of leaves, the number of the first entry; others have none.
    """
    rows = [
        {
            "shard": shard,
            "level": place[0],
            "number": place[1],
            "first_seq": first_seqs.get(place),
            "hashes": hashes,
        }
        for place, hashes in changed
    ]
    statement = text(
        "INSERT INTO audit_tiles (shard, level, number, first_seq, hashes) "
        "VALUES (:shard, :level, :number, :first_seq, :hashes) "
        "ON CONFLICT (shard, level, number) DO UPDATE SET hashes = excluded.hashes"
    )
    await connection.execute(statement, rows)


async def publish(connection: AsyncConnection, tree: TreeRow, size: int, note: bytes) -> bool:
    """Store a checkpoint. False if one was published since `tree` was read."""
    columns = audit_trees.c
    done = await connection.execute(
        update(audit_trees)
        .where(columns.shard == tree.shard, columns.checkpoint_size == tree.checkpoint_size)
        .values(checkpoint_size=size, checkpoint=note)
    )
    return done.rowcount == 1


class WholeEntry(NamedTuple):
    """One entry as it lies in the log, with its columns. `body` is its canonical bytes."""

    seq: int
    id: str
    type: str
    recorded_at: str
    request_id: str | None
    project: str | None
    replica: str
    replica_seq: int
    terminal: bool
    body: bytes


async def stretch(
    connection: AsyncConnection, first_seq: int, last_seq: int, limit: int
) -> list[WholeEntry]:
    """Return up to `limit` entries from one number to another, both included, in log order."""
    columns = [audit_entries.c[name] for name in WholeEntry._fields]
    entries = audit_entries.c
    query = (
        select(*columns)
        .where(entries.seq >= first_seq, entries.seq <= last_seq)
        .order_by(entries.seq)
        .limit(limit)
    )
    return [WholeEntry(*row) for row in (await connection.execute(query)).all()]


async def seq_at(connection: AsyncConnection, shard: str, index: int, width: int) -> int:
    """Return the number of the entry with a leaf index; `width` as in `index_of`."""
    first = await first_seq_of(connection, shard, index // width)
    columns = audit_entries.c
    query = select(columns.seq).where(columns.seq >= (first or 0)).order_by(columns.seq)
    found = await connection.scalar(query.offset(index % width).limit(1))
    return int(found or 0)


async def recorded_between(
    connection: AsyncConnection, tree: TreeRow, since: str | None, until: str | None
) -> tuple[int, int] | None:
    """Return the numbers of a shard's first and last entry of a time, None if there is none.

    Args:
        connection: To read through.
        tree: Of the shard.
        since: Recorded at this moment or later; moments as in `gateway.store.times`.
        until: Recorded before this moment.
    """
    look = log_index.Look(since=since, before=until)
    span = (tree.first_seq, tree.last_seq)
    first = await log_index.edge(connection, look, *span, newest=False)
    last = await log_index.edge(connection, look, *span, newest=True)
    return None if first is None or last is None else (first, last)
