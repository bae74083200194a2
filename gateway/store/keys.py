"""API keys: what is kept of them, and the changes, each with its audit entry.

A key is kept as its public prefix and an HMAC; nobody can read it back. Creating and
revoking take the entry that records it, and write both in one transaction, so that
neither can be without the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, insert, select, update

from gateway.store import entries
from gateway.store.entries import EntryRow
from gateway.store.session import Database
from gateway.store.tables import api_keys
from gateway.store.times import as_text, from_text
from gateway.types import Scope


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without its secret.

    Attributes:
        prefix: Its public part; identifies it in logs.
        secret_hmac: HMAC-SHA256 of the whole key, 32 bytes.
        project: Whose it is.
        name: What people call it.
        scopes: What it may do.
        requests_per_minute: Its quota.
        tokens_per_minute: Its quota, input and output together.
        created_at: When it was made.
        expires_at: From when on it is refused, or None.
        revoked_at: Since when it is refused, or None.
    """

    prefix: str
    secret_hmac: bytes
    project: str
    name: str
    scopes: frozenset[Scope]
    requests_per_minute: int
    tokens_per_minute: int
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


async def create(database: Database, key: ApiKey, entry: EntryRow) -> None:
    """Store a new key and the entry that records it, both or neither.

    Raises:
        StoreUnavailable: If they could not be written.
    """
    row = {
        "prefix": key.prefix,
        "secret_hmac": key.secret_hmac,
        "project": key.project,
        "name": key.name,
        "scopes": " ".join(sorted(key.scopes)),
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "created_at": as_text(key.created_at),
        "expires_at": _text(key.expires_at),
        "revoked_at": _text(key.revoked_at),
    }
    async with database.write() as connection:
        await connection.execute(insert(api_keys).values(row))
        await entries.append(connection, entry)


async def find(database: Database, prefix: str) -> ApiKey | None:
    """Return the key with this prefix, revoked and expired ones too."""
    async with database.read() as connection:
        row = (
            await connection.execute(select(api_keys).where(api_keys.c.prefix == prefix))
        ).one_or_none()
    return _key(row) if row else None


async def listed(database: Database, project: str | None = None) -> list[ApiKey]:
    """Return all keys, or a project's, newest first."""
    query = select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.prefix)
    if project is not None:
        query = query.where(api_keys.c.project == project)
    async with database.read() as connection:
        return [_key(row) for row in await connection.execute(query)]


async def revoke(database: Database, prefix: str, at: datetime, entry: EntryRow) -> bool:
    """Revoke a key and write the entry that records it, both or neither.

    Returns:
        False, with nothing written, if there is no such key or it is revoked already.
    """
    async with database.write() as connection:
        done = await connection.execute(
            update(api_keys)
            .where(api_keys.c.prefix == prefix, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=as_text(at))
        )
        if done.rowcount == 0:
            return False
        await entries.append(connection, entry)
        return True


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else as_text(moment)


def _key(row: Row[tuple[object, ...]]) -> ApiKey:
    fields = dict(row._mapping)
    fields["scopes"] = frozenset(Scope(scope) for scope in fields["scopes"].split())
    for moment in ("created_at", "expires_at", "revoked_at"):
        fields[moment] = fields[moment] and from_text(fields[moment])
    return ApiKey(**fields)
