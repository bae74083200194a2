"""Create the strikes that are counted against end users."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "strikes",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(256), nullable=False),
        sa.Column("decision_id", sa.String(36), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("project", sa.String(128), nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("struck_at", sa.String(27), nullable=False),
        sa.Column("reversed_at", sa.String(27)),
        sa.PrimaryKeyConstraint("request_id", "rule", name="pk_strikes"),
    )
    op.create_index("ix_strikes_project_subject", "strikes", ["project", "subject"])
