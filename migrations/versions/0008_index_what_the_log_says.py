"""Index when entries were recorded, and which rules, categories, actions and types they name.

By blocks of 256 numbers of the log, beside it: what a gateway finds again in the log by itself,
so it may be emptied and is filled anew, and writing an entry costs no more than before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; a running gateway fills them."""
    op.create_table(
        "log_indexed",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_indexed"),
    )
    op.execute("INSERT INTO log_indexed (id, seq) VALUES (1, 0)")
    op.create_table(
        "log_blocks",
        sa.Column("block", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("first_at", sa.String(27), nullable=False),
        sa.Column("last_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("block", name="pk_log_blocks"),
    )
    op.create_table(
        "log_terms",
        sa.Column("term", sa.String(200), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("term", "block", name="pk_log_terms"),
    )
