"""Index what people did, which lies far apart in the log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As in gateway.store.tables. Entries that every request makes are not in it.
_ADMINISTRATIVE = (
    "type NOT IN ('request.admitted', 'request.denied', 'decision.recorded', 'stream.started', "
    "'request.completed', 'request.blocked', 'request.aborted', 'request.client_disconnected', "
    "'request.error', 'request.lost', 'request.closed_late', 'enforcement.struck', "
    "'replica.started', 'replica.stopped')"
)


def upgrade() -> None:
    """Create the index."""
    op.create_index(
        "ix_audit_entries_administrative",
        "audit_entries",
        ["seq"],
        sqlite_where=sa.text(_ADMINISTRATIVE),
        postgresql_where=sa.text(_ADMINISTRATIVE),
    )
