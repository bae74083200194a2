"""The policy registry's rows: versions, which of them are in force, and how often that changed.

What may follow what is decided in `gateway.policy_registry`. The functions that take a
connection run in its transaction, after `lock`: changes of policies happen one at a time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    func,
    insert,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.session import Database
from gateway.store.tables import policy_heads, policy_revision, policy_versions
from gateway.store.times import as_text, from_text

_MOMENTS = ("created_at", "decided_at", "activated_at")


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version of one policy. What it is and says never changes; where it stands does.

    Attributes:
        digest: SHA-256 of what it means, hex: its identity.
        kind: `Policy`, or another kind of file.
        policy_id: Whose version it is.
        version: Unique among them.
        author: Who drafted it: a key id, or who used the command line.
        created_at: When.
        state: A `gateway.policy_lifecycle.State`.
        note: Its signatures, a signed note.
        decided_by: Who approved or rejected it.
        decided_at: When.
        reason: Why it was rejected, if that was said.
        activated_at: When it last came into force.
        replaced: The digest of the version that was active before it, if any.
    """

    digest: str
    kind: str
    policy_id: str
    version: str
    author: str
    created_at: datetime
    state: str
    note: bytes | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None
    activated_at: datetime | None = None
    replaced: str | None = None


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """One policy in a list.

    Attributes:
        policy_id: Its id.
        latest: The version that was drafted last.
        active: The version in force, if any.
        versions: How many there are.
    """

    policy_id: str
    latest: PolicyVersion
    active: PolicyVersion | None
    versions: int


@dataclass(frozen=True, slots=True)
class Heads:
    """Everything in force.

    Attributes:
        revision: Goes up by one with each change.
        bundles: By policy id.
    """

    revision: int
    bundles: dict[str, bytes]


async def lock(connection: AsyncConnection) -> int:
    """Keep all others from changing policies until the transaction ends.

    Returns:
        The revision.
    """
    # SQLite has locked already: its transaction began as a writer's.
    query = select(policy_revision.c.revision).with_for_update()
    return int((await connection.execute(query)).scalar_one())


async def add(connection: AsyncConnection, version: PolicyVersion, bundle: bytes) -> None:
    """Store a new version and its files."""
    await connection.execute(insert(policy_versions).values({**_row(version), "bundle": bundle}))


async def change(connection: AsyncConnection, version: PolicyVersion) -> None:
    """Store where a version stands now; what it is and says stays as it is."""
    row = _row(version)
    standing = ("state", "note", "decided_by", "decided_at", "reason", "activated_at", "replaced")
    await connection.execute(
        update(policy_versions)
        .where(policy_versions.c.digest == version.digest)
        .values({name: row[name] for name in standing})
    )


async def set_head(connection: AsyncConnection, policy_id: str, digest: str | None) -> int:
    """Say which version is in force, or that none is.

    Returns:
        The new revision.
    """
    heads = policy_heads
    if digest is None:
        await connection.execute(heads.delete().where(heads.c.policy_id == policy_id))
    else:
        done = await connection.execute(
            update(heads).where(heads.c.policy_id == policy_id).values(digest=digest)
        )
        if done.rowcount == 0:
            await connection.execute(insert(heads).values(policy_id=policy_id, digest=digest))
    counted = update(policy_revision).values(revision=policy_revision.c.revision + 1)
    await connection.execute(counted)
    return int((await connection.execute(select(policy_revision.c.revision))).scalar_one())


async def find(connection: AsyncConnection, policy_id: str, version: str) -> PolicyVersion | None:
    """Return a version by its number."""
    found = policy_versions.c
    return await _one(connection, and_(found.policy_id == policy_id, found.version == version))


async def with_digest(connection: AsyncConnection, digest: str) -> PolicyVersion | None:
    """Return a version by its digest."""
    return await _one(connection, policy_versions.c.digest == digest)


async def active(connection: AsyncConnection, policy_id: str) -> PolicyVersion | None:
    """Return the version of a policy that is in force."""
    head = select(policy_heads.c.digest).where(policy_heads.c.policy_id == policy_id)
    return await _one(connection, policy_versions.c.digest == head.scalar_subquery())


async def kind_of(connection: AsyncConnection, policy_id: str) -> str | None:
    """Return what kind of file has this id, or None if none has."""
    query = select(policy_versions.c.kind).where(policy_versions.c.policy_id == policy_id)
    return (await connection.execute(query.limit(1))).scalar_one_or_none()


async def bundle(database: Database, digest: str) -> bytes:
    """Return the files of a version that is there."""
    query = select(policy_versions.c.bundle).where(policy_versions.c.digest == digest)
    async with database.read() as connection:
        return bytes((await connection.execute(query)).scalar_one())


async def revision(database: Database) -> int:
    """Return how often the heads have changed: the one small question of a poll."""
    async with database.read() as connection:
        query = select(policy_revision.c.revision)
        return int((await connection.execute(query)).scalar_one())


async def heads(database: Database) -> Heads:
    """Return everything in force, as it was at one moment."""
    versions, current = policy_versions.c, policy_heads.c
    query = (  # one statement, so that revision and bundles belong together
        select(policy_revision.c.revision, versions.policy_id, versions.bundle)
        .select_from(policy_revision)
        .outerjoin(policy_heads, current.policy_id.is_not(None))
        .outerjoin(policy_versions, versions.digest == current.digest)
        .order_by(versions.policy_id)
    )
    async with database.read() as connection:
        rows = (await connection.execute(query)).all()
    bundles = {policy_id: bytes(content) for _, policy_id, content in rows if policy_id}
    return Heads(rows[0][0], bundles)


async def notes(database: Database) -> dict[str, bytes]:
    """Return the signatures of everything in force, by digest."""
    query = select(policy_versions.c.digest, policy_versions.c.note).where(
        policy_versions.c.digest.in_(select(policy_heads.c.digest)),
        policy_versions.c.note.is_not(None),
    )
    async with database.read() as connection:
        return {digest: bytes(note) for digest, note in await connection.execute(query)}


async def listed(database: Database, after: str | None, limit: int) -> list[PolicySummary]:
    """Return up to `limit` policies whose ids come after `after`, in order of their ids."""
    ids = policy_versions.c.policy_id
    wanted = ids > after if after is not None else true()
    return await _summaries(database, wanted, limit)


async def summary(database: Database, policy_id: str) -> PolicySummary | None:
    """Return one policy."""
    found = await _summaries(database, policy_versions.c.policy_id == policy_id, 1)
    return found[0] if found else None


async def versions(
    database: Database, policy_id: str, after: str | None, limit: int
) -> list[PolicyVersion]:
    """Return up to `limit` versions of a policy, newest first.

    Args:
        database: Where they are.
        policy_id: Whose.
        after: Only those that were drafted before this version.
        limit: At most so many.
    """
    columns = policy_versions.c
    query = (
        _columns()
        .where(columns.policy_id == policy_id)
        .order_by(columns.created_at.desc(), columns.digest.desc())
    )
    async with database.read() as connection:
        if after is not None:
            last = await find(connection, policy_id, after)
            if last is None:
                return []
            place = (as_text(last.created_at), last.digest)
            query = query.where(tuple_(columns.created_at, columns.digest) < place)
        return [_version(row) for row in await connection.execute(query.limit(limit))]


async def _summaries(
    database: Database, wanted: ColumnElement[bool], limit: int
) -> list[PolicySummary]:
    """Return policies in order of their ids; `wanted` must take or leave all versions of one."""
    columns = policy_versions.c
    order = (columns.created_at.desc(), columns.digest.desc())
    ranked = (
        select(
            columns.policy_id,
            columns.digest,
            func.row_number().over(partition_by=columns.policy_id, order_by=order).label("rank"),
            func.count().over(partition_by=columns.policy_id).label("versions"),
        )
        .where(wanted)
        .subquery()
    )
    latest = (
        select(ranked.c.policy_id, ranked.c.versions, ranked.c.digest, policy_heads.c.digest)
        .outerjoin(policy_heads, policy_heads.c.policy_id == ranked.c.policy_id)
        .where(ranked.c.rank == 1)
        .order_by(ranked.c.policy_id)
        .limit(limit)
    )
    async with database.read() as connection:
        rows = [tuple(row) for row in await connection.execute(latest)]
        digests = {digest for row in rows for digest in row[2:]}
        found = {
            row.digest: _version(row)
            for row in await connection.execute(_columns().where(columns.digest.in_(digests)))
        }
    return [
        PolicySummary(policy_id, found[newest], found.get(head), count)
        for policy_id, count, newest, head in rows
    ]


async def _one(connection: AsyncConnection, wanted: ColumnElement[bool]) -> PolicyVersion | None:
    row = (await connection.execute(_columns().where(wanted))).one_or_none()
    return _version(row) if row else None


def _columns() -> Select[Any]:
    """Return all of a version but its files, which may be large."""
    return select(*(column for column in policy_versions.c if column.name != "bundle"))


def _version(row: Row[Any]) -> PolicyVersion:
    fields = dict(row._mapping)
    for moment in _MOMENTS:
        fields[moment] = fields[moment] and from_text(fields[moment])
    return PolicyVersion(**fields)


def _row(version: PolicyVersion) -> dict[str, Any]:
    row = asdict(version)
    for moment in _MOMENTS:
        row[moment] = row[moment] and as_text(row[moment])
    return row
