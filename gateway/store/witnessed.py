"""The checkpoints that witnesses cosigned: of each shard and witness the newest."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import audit_witnessed


class WitnessedRow(NamedTuple):
    """What a witness cosigned last.

    Attributes:
        shard: Of which tree.
        witness: The witness's key, as people hand it on.
        size: How many entries the checkpoint covers.
        cosigned_at: When, by the witness's clock.
        note: The checkpoint with the cosignature.
    """

    shard: str
    witness: str
    size: int
    cosigned_at: str
    note: bytes


async def witnessed(connection: AsyncConnection) -> list[WitnessedRow]:
    """Return what every witness cosigned last of each shard."""
    columns = [audit_witnessed.c[name] for name in WitnessedRow._fields]
    query = select(*columns).order_by(audit_witnessed.c.shard, audit_witnessed.c.witness)
    return [WitnessedRow(*row) for row in await connection.execute(query)]


async def keep(connection: AsyncConnection, row: WitnessedRow) -> None:
    """Keep what a witness cosigned, unless it has cosigned a larger one by now."""
    statement = text(
        "INSERT INTO audit_witnessed (shard, witness, size, cosigned_at, note) "
        "VALUES (:shard, :witness, :size, :cosigned_at, :note) "
        "ON CONFLICT (shard, witness) DO UPDATE SET size = excluded.size, "
        "cosigned_at = excluded.cosigned_at, note = excluded.note "
        "WHERE audit_witnessed.size <= excluded.size"
    )
    await connection.execute(statement, row._asdict())
