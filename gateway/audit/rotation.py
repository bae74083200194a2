"""New keys for everything that is kept: master key, projects' keys, and what these wrap.

Content stays readable at every moment, and a rotation that was cut off is finished by the
next one. At the end the earlier keys are destroyed: what somebody copied of the database
and the key file before does not open what was erased since, nor anything kept after.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.audit import content_records as records
from gateway.audit.entry import Entry, row_apart
from gateway.audit.envelope import unwrap, wrap
from gateway.audit.master_keys import MasterKeys
from gateway.audit.vault import ProjectKey, new_project_key, open_project_key
from gateway.memory import REMEMBERED_S
from gateway.store import content, entries
from gateway.store import retention as store
from gateway.store.content import KeyRow, ProjectKeyRow, lock_keys
from gateway.store.session import Database

_TOGETHER = 500  # data keys in one transaction


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did.

    Attributes:
        projects: How many projects have a new key.
        keys: How many data keys were wrapped anew.
        master_key: The id of the master key that is above them all.
    """

    projects: int
    keys: int
    master_key: str


async def rotate(
    database: Database, master: MasterKeys, *, actor: str, settle_s: float = 2 * REMEMBERED_S
) -> Rotated:
    """Give everything new keys.

    Args:
        database: Migrated.
        master: The keys above; renewed first.
        actor: Who does it: a key id, or `cli`.
        settle_s: How long replicas go on using a project's earlier key, seconds.

    Raises:
        Unreadable: If a key cannot be opened; nothing is lost.
        StoreUnavailable: If the database cannot be used.
    """
    async with _alone(database) as connection:
        newest = await master.renew()
        added = await _new_generations(connection, master)
        started = records.rotation_started(len(added), master_key=newest, actor=actor)
        await _record(connection, started)
    await asyncio.sleep(settle_s)
    keys = sum([await _rewrap(database, master, row) for row in added])
    async with _alone(database) as connection:
        await store.drop_earlier_generations(connection)
        await _record(connection, records.rotated(keys, master_key=newest, actor=actor))
    async with _alone(database) as connection:
        # After the commit, so that nothing needs what goes; and alone, so that no other
        # rotation adds a key meanwhile.
        await master.retire(sorted(await store.master_keys(connection)))
    await store.scrub(database)
    return Rotated(len(added), keys, newest)


@asynccontextmanager
async def _alone(database: Database) -> AsyncGenerator[AsyncConnection]:
    async with database.write() as connection:
        await lock_keys(connection)
        yield connection


async def _record(connection: AsyncConnection, entry: Entry) -> None:
    await entries.append(connection, row_apart(entry, "content"))


async def _new_generations(connection: AsyncConnection, master: MasterKeys) -> list[ProjectKeyRow]:
    added: list[ProjectKeyRow] = []
    for project, generation in sorted((await store.newest_generations(connection)).items()):
        row = await new_project_key(master, project, generation + 1)
        await content.add_project_key(connection, row)
        added.append(row)
    return added


async def _rewrap(database: Database, master: MasterKeys, newest: ProjectKeyRow) -> int:
    """Wrap a project's data keys by its newest key; return how many."""
    async with database.read() as connection:
        rows = await content.project_keys(connection, newest.project)
    owners = {row.generation: await open_project_key(master, row) for row in rows}
    count = 0
    while True:
        async with database.write() as connection:
            earlier = await store.earlier_keys(connection, newest, _TOGETHER)
            await store.rewrap(connection, _wrapped_anew(earlier, owners, newest.generation))
        count += len(earlier)
        if len(earlier) < _TOGETHER:
            return count


def _wrapped_anew(
    rows: Sequence[KeyRow], owners: dict[int, ProjectKey], generation: int
) -> list[KeyRow]:
    anew: list[KeyRow] = []
    for row in rows:
        place = ("data", row.project, row.id)
        key = unwrap(owners[row.generation].key, row.wrapped, *place)
        box = wrap(owners[generation].key, key, *place)
        anew.append(row._replace(generation=generation, wrapped=box))
    return anew
