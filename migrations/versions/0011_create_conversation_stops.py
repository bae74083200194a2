"""Create what stopped conversations are known by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "conversation_stops",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project", sa.String(128), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("decision_id", sa.String(36), nullable=False),
        sa.Column("rule", sa.String(256), nullable=False),
        sa.Column("error_type", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(32)),
        sa.Column("stopped_at", sa.String(27), nullable=False),
        sa.Column("expires_at", sa.String(27), nullable=False),
        sa.Column("lifted_at", sa.String(27)),
        sa.Column("lifted_by", sa.String(128)),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_conversation_stops"),
    )
    op.create_index(
        "ix_conversation_stops_project_stopped_at",
        "conversation_stops",
        ["project", "stopped_at"],
    )
    op.create_table(
        "conversation_marks",
        sa.Column("stop_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("project", sa.String(128), nullable=False),
        sa.Column("until", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("stop_id", "kind", "digest", name="pk_conversation_marks"),
    )
    op.create_index(
        "ix_conversation_marks_project_digest", "conversation_marks", ["project", "digest"]
    )
