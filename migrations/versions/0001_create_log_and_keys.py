"""Create the decision log, the replicas that write it, and the API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_REFUSED = "audit entries are append-only"


def upgrade() -> None:
    """Create the tables, and the triggers that keep the log append-only."""
    _create_audit_entries()
    _create_replicas()
    _create_api_keys()
    if op.get_bind().dialect.name == "sqlite":
        _protect_on_sqlite()
    else:
        _protect_on_postgresql()


def _create_audit_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(always=True),
            nullable=False,
        ),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("recorded_at", sa.String(27), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("project", sa.String(128)),
        sa.Column("replica", sa.String(64), nullable=False),
        sa.Column("replica_seq", sa.BigInteger(), nullable=False),
        sa.Column("terminal", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_entries"),
        sa.UniqueConstraint("id", name="uq_audit_entries_id"),
        sa.UniqueConstraint("replica", "replica_seq", name="uq_audit_entries_replica_replica_seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_entries_request_id", "audit_entries", ["request_id"])
    op.create_index(
        "uq_audit_entries_terminal",
        "audit_entries",
        ["request_id"],
        unique=True,
        sqlite_where=sa.text("terminal"),
        postgresql_where=sa.text("terminal"),
    )


def _create_replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("build", sa.String(64), nullable=False),
        sa.Column("started_at", sa.Float(53), nullable=False),
        sa.Column("heartbeat_at", sa.Float(53), nullable=False),
        sa.Column("open_from_seq", sa.BigInteger(), nullable=False),
        sa.Column("fenced_at", sa.Float(53)),
        sa.Column("swept_at", sa.Float(53)),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("prefix", sa.String(32), nullable=False),
        sa.Column("secret_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("project", sa.String(128), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger(), nullable=False),
        sa.Column("tokens_per_minute", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("expires_at", sa.String(27)),
        sa.Column("revoked_at", sa.String(27)),
        sa.PrimaryKeyConstraint("prefix", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_project", "api_keys", ["project"])


def _protect_on_sqlite() -> None:
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_entries_refuse_{verb.lower()} "
            f"BEFORE {verb} ON audit_entries "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )


def _protect_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION audit_entries_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_refuse_change "
        "BEFORE UPDATE OR DELETE ON audit_entries "
        "FOR EACH ROW EXECUTE FUNCTION audit_entries_refuse()"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_refuse_truncate BEFORE TRUNCATE ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()"
    )
