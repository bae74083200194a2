"""The gateway processes that write the log, and which of them are still alive.

Moments are Unix seconds by the database's clock, so that replicas whose own clocks
differ agree on who is late. Every function takes the moment as an argument.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from sqlalchemy import insert, or_, select, text, update

from gateway.store.session import Database
from gateway.store.tables import replicas


class Silent(NamedTuple):
    """A replica that has to be swept: dead, or fenced and not yet swept."""

    id: str
    open_from_seq: int


async def database_time(database: Database) -> float:
    """Return Unix seconds by the database's clock (SQLite: this machine's)."""
    if database.is_sqlite:
        return time.time()
    async with database.read() as connection:
        now = await connection.scalar(
            text("SELECT extract(epoch FROM clock_timestamp())::double precision")
        )
        return float(now or 0.0)


async def register(database: Database, replica: str, build: str, now: float) -> None:
    """Enter a new replica; from now on it may write to the log."""
    async with database.write() as connection:
        await connection.execute(
            insert(replicas).values(
                id=replica, build=build, started_at=now, heartbeat_at=now, open_from_seq=1
            )
        )


async def beat(database: Database, replica: str, open_from_seq: int, now: float) -> bool:
    """Say that `replica` lives. False if it was declared dead before, which is final."""
    async with database.write() as connection:
        done = await connection.execute(
            update(replicas)
            .where(replicas.c.id == replica, replicas.c.fenced_at.is_(None))
            .values(heartbeat_at=now, open_from_seq=open_from_seq)
        )
        return done.rowcount == 1


async def silent(database: Database, since: float) -> list[Silent]:
    """Return replicas not heard of since `since` or fenced, and not swept yet."""
    columns = replicas.c
    query = select(columns.id, columns.open_from_seq).where(
        columns.swept_at.is_(None),
        or_(columns.fenced_at.is_not(None), columns.heartbeat_at < since),
    )
    async with database.read() as connection:
        return [Silent(*row) for row in await connection.execute(query)]


async def fence(database: Database, replica: str, since: float, now: float) -> bool:
    """Declare `replica` dead unless it has been heard of after all.

    Returns:
        Whether it is fenced. If so its writes are refused from here on.
    """
    columns = replicas.c
    async with database.write() as connection:
        await connection.execute(
            update(replicas)
            .where(columns.id == replica, columns.fenced_at.is_(None), columns.heartbeat_at < since)
            .values(fenced_at=now)
        )
        return (
            await connection.scalar(select(columns.fenced_at).where(columns.id == replica))
        ) is not None


async def mark_swept(database: Database, replica: str, now: float) -> None:
    """Note that all requests of `replica` have a terminal record; it writes no more."""
    async with database.write() as connection:
        await connection.execute(
            update(replicas)
            .where(replicas.c.id == replica, replicas.c.swept_at.is_(None))
            .values(fenced_at=text("coalesce(fenced_at, :now)").bindparams(now=now), swept_at=now)
        )
