"""What evidence asks of the database beside the entries themselves."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from gateway.store.session import Database
from gateway.store.tables import audit_entries, audit_witnessed
from gateway.store.trees import TreeRow, seq_at


async def began(database: Database) -> str | None:
    """Return when the log's first entry was recorded, None if it is empty."""
    query = select(audit_entries.c.recorded_at).order_by(audit_entries.c.seq).limit(1)
    async with database.read() as connection:
        found: str | None = await connection.scalar(query)
        return found


async def unsigned(database: Database, tree: TreeRow, until: str, width: int) -> tuple[int, str]:
    """Return how many entries recorded before a moment no checkpoint covers.

    And when the last entry was recorded that one covers. `width` is how many leaves a full
    tile holds, `tree` the newest.
    """
    entries = audit_entries.c
    async with database.read() as connection:
        last = 0
        if tree.checkpoint_size < tree.size:
            last = await seq_at(connection, tree.shard, tree.checkpoint_size - 1, width)
        last = last or tree.last_seq  # also where entries were taken away
        covered = select(entries.recorded_at).where(entries.seq <= last)
        covered = covered.order_by(entries.seq.desc()).limit(1)
        after = select(func.count()).where(entries.seq > last, entries.recorded_at < until)
        recorded_at: str = (await connection.execute(covered)).scalar_one()
        return await connection.scalar(after) or 0, recorded_at


async def witnesses(database: Database, shards: Sequence[str]) -> tuple[str, ...]:
    """Return the names of those who cosigned a checkpoint of these shards."""
    columns = audit_witnessed.c
    query = select(columns.witness).where(columns.shard.in_(shards)).distinct()
    async with database.read() as connection:
        keys = await connection.scalars(query.order_by(columns.witness))
        return tuple(key.partition("+")[0] for key in keys)
