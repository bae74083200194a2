"""Erasing an end user's content, and the holds that keep it.

To erase is to destroy keys; entries stay as they are, and the log still verifies. It takes
two transactions. The first accepts the erasure, and from then on it will be finished: here,
or, should this process die, by whichever starts next. The second destroys the keys and says
so in the log, both or neither.
"""

from __future__ import annotations

import structlog

from gateway.audit import content_records as records
from gateway.audit.entry import new_id, row_apart
from gateway.errors import Conflict, NotFound
from gateway.store import entries, notices
from gateway.store import retention as store
from gateway.store.content import lock_keys
from gateway.store.retention import Erasure, Hold
from gateway.store.session import Database
from gateway.store.times import now_text

_WRITER = "content"  # who the entries say they are by

log = structlog.get_logger(__name__)


async def erase(database: Database, project: str, subject: str, *, reason: str, actor: str) -> int:
    """Erase all content of an end user.

    Args:
        database: Migrated.
        project: Whose end user it is.
        subject: Their pseudonym, 32 hex digits.
        reason: Why, in the operator's words.
        actor: Who does it: a key id, or `cli`.

    Returns:
        How many keys were destroyed, one for each exchange of which content was kept.

    Raises:
        Conflict: If a hold keeps it.
        StoreUnavailable: If it could not be accepted, or not be finished yet.
    """
    erasure = Erasure(new_id(), project, subject, actor, reason, now_text())
    async with database.write() as connection:
        await lock_keys(connection)
        if holding := _holding(await store.holds(connection, project), subject):
            raise Conflict(f"this content is held by `{holding.id}`; nothing was erased")
        entry = records.erasure_requested(
            project, subject, id=erasure.id, reason=reason, actor=actor
        )
        await entries.append(connection, row_apart(entry, _WRITER))
        await store.add_erasure(connection, erasure)
    return await _finish(database, erasure) or 0


async def finish_erasures(database: Database) -> int:
    """Finish what was accepted and not finished, but for what is held; return how many."""
    finished = 0
    for erasure in await store.erasures(database):
        keys = await _finish(database, erasure)
        if keys is not None:
            log.warning("erasure_finished_late", erasure=erasure.id, keys=keys)
            finished += 1
    return finished


async def _finish(database: Database, erasure: Erasure) -> int | None:
    """Destroy the keys; None if somebody else did, or a hold came in between."""
    async with database.write() as connection:
        await lock_keys(connection)
        if _holding(await store.holds(connection, erasure.project), erasure.subject):
            log.warning("erasure_held", erasure=erasure.id)
            return None
        if not await store.take_erasure(connection, erasure.id):
            return None
        keys = await store.destroy(connection, erasure.project, erasure.subject)
        await notices.forget(connection, erasure.project, erasure.subject)
        # INVARIANT: commits with what it says, or not at all.
        entry = records.erasure_completed(
            erasure.project, erasure.subject, id=erasure.id, keys=keys, actor=erasure.actor
        )
        await entries.append(connection, row_apart(entry, _WRITER))
    if not await store.scrub(database):
        log.warning("deleted_rows_linger", erasure=erasure.id)
    return keys


async def add_hold(
    database: Database, project: str, subject: str | None, *, reason: str, actor: str
) -> Hold:
    """Keep content from being erased and from expiring, of one end user or a whole project."""
    hold = Hold(new_id(), project, subject, actor, reason, now_text())
    async with database.write() as connection:
        await lock_keys(connection)
        await store.add_hold(connection, hold)
        entry = records.hold_added(project, subject, id=hold.id, reason=reason, actor=actor)
        await entries.append(connection, row_apart(entry, _WRITER))
    return hold


async def release_hold(database: Database, id: str, *, reason: str, actor: str) -> Hold:
    """End a hold. Raises `NotFound`."""
    async with database.write() as connection:
        await lock_keys(connection)
        hold = await store.take_hold(connection, id)
        if hold is None:
            raise NotFound(f"there is no hold `{id[:80]}`")
        entry = records.hold_released(hold.project, hold.subject, id=id, reason=reason, actor=actor)
        await entries.append(connection, row_apart(entry, _WRITER))
    return hold


async def holds(database: Database) -> list[Hold]:
    """Return all holds, oldest first."""
    async with database.read() as connection:
        return await store.holds(connection)


def _holding(found: list[Hold], subject: str) -> Hold | None:
    return next((hold for hold in found if hold.subject in {None, subject}), None)
