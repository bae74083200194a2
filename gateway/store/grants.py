"""What the role that a gateway runs as may do in PostgreSQL, and what only the owner may.

The owner makes the tables and changes them when Ostiary is upgraded. The gateway's own role
writes the log and can neither change nor delete an entry, whatever becomes of the triggers:
it does not own them and cannot take them down. What is no part of the log (keys, policies,
kept content) it looks after as ever; erasing and expiry are deletions of content and keys.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.session import Database
from gateway.store.tables import metadata

_READ, _ADD = "SELECT", "SELECT, INSERT"

# INVARIANT: no role but the owner may change or delete an entry. A tree's head and its last
# tiles grow in place; the log can be hashed anew, and each checkpoint is kept elsewhere.
_GRANTS = {
    "audit_entries": _ADD,
    "audit_trees": f"{_ADD}, UPDATE (size, last_seq, checkpoint_size, checkpoint)",
    "audit_tiles": f"{_ADD}, UPDATE (hashes)",
    "audit_witnessed": f"{_ADD}, UPDATE (size, cosigned_at, note)",
    "replicas": f"{_ADD}, UPDATE (heartbeat_at, open_from_seq, fenced_at, swept_at)",
    "strikes": f"{_ADD}, UPDATE (reversed_at)",
    "api_keys": f"{_ADD}, UPDATE (revoked_at)",
    "alembic_version": _READ,
}
_OTHER = "SELECT, INSERT, UPDATE, DELETE"
_VACUUMED = "content_keys, content_projects"  # so that a destroyed key's row is let go of
_LOG = "audit_"


def statements(role: str) -> Iterator[str]:
    """Yield the SQL that gives `role`, which must be there, what a gateway needs, and no more.

    To be run by the owner of the tables, in their schema, after each upgrade.
    """
    name = quoted(role)
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name}"
    yield f"REVOKE CREATE ON SCHEMA public FROM {name}"
    yield f"GRANT USAGE ON SCHEMA public TO {name}"
    for table in sorted({*metadata.tables, *_GRANTS}):
        if table.startswith(_LOG) and table not in _GRANTS:
            raise ValueError(f"`{table}` is of the log, and nothing says who may do what to it")
        yield f"GRANT {_GRANTS.get(table, _OTHER)} ON {table} TO {name}"
    yield (  # from version 17 on; before it only the owner can
        "DO $$ BEGIN IF current_setting('server_version_num')::int >= 170000 THEN "
        f"EXECUTE 'GRANT MAINTAIN ON {_VACUUMED} TO {name.replace(chr(39), chr(39) * 2)}'; "
        "END IF; END $$"
    )


async def grant(database: Database, role: str) -> None:
    """Give `role` what a gateway needs, and take the rest away.

    Raises:
        ValueError: If there is no such role, or one that no grant restricts.
        StoreUnavailable: If it could not be done; nothing is changed then.
    """
    async with database.write() as connection:
        await _check_restrictable(connection, role)
        for statement in statements(role):
            await connection.execute(text(statement.replace(":", r"\:")))


async def powers(database: Database) -> list[str]:
    """Return what this role could do to the log and must not be able to: nothing, if restricted.

    Raises:
        StoreUnavailable: If the database cannot be asked.
    """
    found = []
    async with database.read() as connection:
        for verb in ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER"):
            query = text("SELECT has_table_privilege('audit_entries', :verb)")
            if await connection.scalar(query, {"verb": verb}):
                found.append(verb)
    return found


def quoted(name: str) -> str:
    """Return an identifier as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


async def _check_restrictable(connection: AsyncConnection, role: str) -> None:
    query = text(
        "SELECT rolsuper, pg_has_role(rolname, tableowner, 'MEMBER') FROM pg_roles, pg_tables "
        "WHERE rolname = :role AND tablename = 'audit_entries' AND schemaname = 'public'"
    )
    exists = text("SELECT 1 FROM pg_roles WHERE rolname = :role")
    if await connection.scalar(exists, {"role": role}) is None:
        raise ValueError(f"there is no role `{role}`; make it: CREATE ROLE {quoted(role)} LOGIN")
    found = (await connection.execute(query, {"role": role})).one_or_none()
    if found is None:
        raise ValueError("the log's tables are not in the schema `public`")
    if found[0] or found[1]:
        raise ValueError(f"`{role}` owns the tables or is a superuser: no grant restricts it")
