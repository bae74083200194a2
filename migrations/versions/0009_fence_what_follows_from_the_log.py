"""Fence what follows from the log, and keep the checkpoints that witnesses cosigned.

A tree's head only moves on, a tile only grows at its end, a strike stays and can only be
reversed. As before these are fences against mistakes: who owns the tables can take them down.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0006"
branch_labels = None
depends_on = None

# What the triggers refuse: when, on which table, by which name, with which words.
_FENCES = (
    (
        "UPDATE",
        "audit_trees",
        "audit_trees_refuse_return",
        "new.shard <> old.shard OR new.first_seq <> old.first_seq OR new.last_seq < old.last_seq "
        "OR new.checkpoint_size < old.checkpoint_size",
        "a tree of the log only grows",
    ),
    (
        "UPDATE",
        "audit_tiles",
        "audit_tiles_refuse_rewrite",
        "new.shard <> old.shard OR new.level <> old.level OR new.number <> old.number "
        "OR new.first_seq IS DISTINCT FROM old.first_seq "
        "OR substr(new.hashes, 1, length(old.hashes)) <> old.hashes",
        "a tile of the log only grows",
    ),
    (
        "UPDATE",
        "audit_witnessed",
        "audit_witnessed_refuse_return",
        "new.shard <> old.shard OR new.witness <> old.witness OR new.size < old.size",
        "what witnesses saw only grows",
    ),
    (
        "DELETE",
        "audit_witnessed",
        "audit_witnessed_refuse_delete",
        "true",
        "what witnesses saw only grows",
    ),
    (
        "UPDATE",
        "strikes",
        "strikes_refuse_change",
        "new.request_id <> old.request_id OR new.rule <> old.rule "
        "OR new.decision_id <> old.decision_id OR new.policy <> old.policy "
        "OR new.project <> old.project OR new.subject <> old.subject "
        "OR new.struck_at <> old.struck_at",
        "a strike stays as it was made",
    ),
    ("DELETE", "strikes", "strikes_refuse_delete", "true", "a strike stays as it was made"),
)


def upgrade() -> None:
    """Create the table of what witnesses saw, and the triggers."""
    op.create_table(
        "audit_witnessed",
        sa.Column("shard", sa.String(16), nullable=False),
        sa.Column("witness", sa.String(256), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("cosigned_at", sa.String(27), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("shard", "witness", name="pk_audit_witnessed"),
    )
    if op.get_bind().dialect.name == "sqlite":
        _protect_on_sqlite()
    else:
        _protect_on_postgresql()


def _protect_on_sqlite() -> None:
    for verb, table, name, when, refused in _FENCES:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} "
            f"WHEN {when} BEGIN SELECT RAISE(ABORT, '{refused}'); END"
        )


def _protect_on_postgresql() -> None:
    for verb, table, name, when, refused in _FENCES:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table} "
            f"FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION audit_trees_refuse('{refused}')"
        )
    for table in ("audit_witnessed", "strikes"):
        op.execute(
            f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION audit_trees_refuse('{table} only grows')"
        )
