"""Create what keeps content apart from the log: keys, sealed texts, erasures and holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _create_keys()
    _create_content()
    _create_erasures_and_holds()


def _create_keys() -> None:
    op.create_table(
        "content_projects",
        sa.Column("project", sa.String(128), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("master_key", sa.String(64), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("project", "generation", name="pk_content_projects"),
    )
    op.create_table(
        "content_keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("project", sa.String(128), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(32)),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_content_keys"),
    )
    op.create_index("ix_content_keys_project_subject", "content_keys", ["project", "subject"])
    op.create_index("ix_content_keys_created_at", "content_keys", ["created_at"])


def _create_content() -> None:
    op.create_table(
        "content",
        sa.Column("record_id", sa.String(36), nullable=False),
        sa.Column("field", sa.String(16), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("kept_at", sa.String(27), nullable=False),
        sa.Column("box", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "field", name="pk_content"),
    )
    op.create_index("ix_content_key_id", "content", ["key_id"])
    op.create_index("ix_content_kept_at", "content", ["kept_at"])


def _create_erasures_and_holds() -> None:
    op.create_table(
        "content_erasures",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project", sa.String(128), nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_content_erasures"),
    )
    op.create_table(
        "content_holds",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("project", sa.String(128), nullable=False),
        sa.Column("subject", sa.String(32)),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_content_holds"),
    )
    op.create_index("ix_content_holds_project", "content_holds", ["project"])
