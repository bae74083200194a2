"""Leave reviews of exchanges out of the index of what people did: requests make them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0011b"
branch_labels = None
depends_on = None

# As in gateway.store.tables. Entries that requests make are not in it.
_ADMINISTRATIVE = (
    "type NOT IN ('request.admitted', 'request.denied', 'decision.recorded', 'stream.started', "
    "'request.completed', 'request.blocked', 'request.aborted', 'request.client_disconnected', "
    "'request.error', 'request.lost', 'request.closed_late', 'enforcement.struck', "
    "'replica.started', 'replica.stopped', 'oversight.decided', 'oversight.skipped')"
)


def upgrade() -> None:
    """Make the index anew."""
    op.drop_index("ix_audit_entries_administrative", "audit_entries")
    op.create_index(
        "ix_audit_entries_administrative",
        "audit_entries",
        ["seq"],
        sqlite_where=sa.text(_ADMINISTRATIVE),
        postgresql_where=sa.text(_ADMINISTRATIVE),
    )
