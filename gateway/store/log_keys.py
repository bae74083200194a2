"""Changes of the log's key, as they stand in the log; and whose turn it is to sign."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.entries import StoredEntry
from gateway.store.session import Database, storage_errors
from gateway.store.tables import ADMINISTRATIVE, audit_entries
from gateway.store.turns import turn_at

_SIGNING_LOCK = 0x6F737469_0005  # of PostgreSQL; its kin stand in `gateway.store.session`


async def of_type(connection: AsyncConnection, kind: str, after_seq: int) -> list[StoredEntry]:
    """Return the entries of an administrative type after a number, in log order."""
    columns = audit_entries.c
    query = (
        select(columns.seq, columns.body)
        # As the partial index says it, so that only what people did is looked through.
        .where(columns.seq > after_seq, text(ADMINISTRATIVE), columns.type == kind)
        .order_by(columns.seq)
    )
    return [StoredEntry(*row) for row in await connection.execute(query)]


@asynccontextmanager
async def signing_turn(database: Database) -> AsyncGenerator[None]:
    """Be the only one who signs, or changes the key that does, until the context ends.

    Nobody who writes to the log waits for it. On SQLite it is a file beside the database.

    Raises:
        StoreUnavailable: If the turn did not come.
    """
    if not database.is_sqlite:
        async with database.read() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SIGNING_LOCK}
            )
            yield
        return
    beside = database.path.with_name(f"{database.path.name}-signing")
    async with AsyncExitStack() as stack:
        with storage_errors():
            await stack.enter_async_context(turn_at(beside))
        yield
