"""Create the Merkle trees over the log: tiles of hashes, and the heads of the shards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SEQUENCE_LOCK = 0x6F737469_0001  # as in gateway.store.session
_FULL = 256 * 32  # bytes in a tile that will not change any more

# What the triggers refuse: when, on which table, with which words.
_FENCES = (
    ("DELETE", "audit_trees", "true", "a tree of the log only grows"),
    ("UPDATE", "audit_trees", "new.size < old.size", "a tree of the log only grows"),
    ("DELETE", "audit_tiles", "true", "tiles of the log stay"),
    ("UPDATE", "audit_tiles", f"length(old.hashes) = {_FULL}", "a full tile does not change"),
)


def upgrade() -> None:
    """Create the tables, and the triggers that let them only grow."""
    op.create_table(
        "audit_trees",
        sa.Column("shard", sa.String(16), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint_size", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("shard", name="pk_audit_trees"),
    )
    op.create_table(
        "audit_tiles",
        sa.Column("shard", sa.String(16), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger()),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("shard", "level", "number", name="pk_audit_tiles"),
    )
    op.create_index("ix_audit_tiles_first_seq", "audit_tiles", ["first_seq"])
    if op.get_bind().dialect.name == "sqlite":
        _protect_on_sqlite()
    else:
        _protect_on_postgresql()
        _order_commits()


def _protect_on_sqlite() -> None:
    for verb, table, when, refused in _FENCES:
        op.execute(
            f"CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table} "
            f"WHEN {when} BEGIN SELECT RAISE(ABORT, '{refused}'); END"
        )


def _protect_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION audit_trees_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '%', tg_argv[0] USING ERRCODE = 'restrict_violation'; END $$"
    )
    for verb, table, when, refused in _FENCES:
        op.execute(
            f"CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table} "
            f"FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION audit_trees_refuse('{refused}')"
        )
    for table in ("audit_trees", "audit_tiles"):
        op.execute(
            f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION audit_trees_refuse('{table} only grows')"
        )


def _order_commits() -> None:
    """Let whoever inserts, and be it by hand, hold the sequence lock until the commit.

    An entry with a smaller number can then never appear after one with a greater.
    """
    op.execute(
        "CREATE FUNCTION audit_entries_in_order() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_advisory_xact_lock({_SEQUENCE_LOCK}); RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_in_order BEFORE INSERT ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_in_order()"
    )
