"""Alembic's entry point, run by `Database.migrate` with a connection of ours."""

from __future__ import annotations

from alembic import context

from gateway.store.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations run through `ostiary` itself; start it, or call `migrate()`")
# The caller's transaction covers every step, so a failed upgrade leaves nothing behind.
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
