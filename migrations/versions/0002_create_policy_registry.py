"""Create the policy registry: versions, which of them are in force, and the count of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REFUSED = "a policy version does not change"
_FIXED = "digest, kind, policy_id, version, bundle, author, created_at"


def upgrade() -> None:
    """Create the tables, and the triggers that keep versions as they were stored."""
    _create_policy_versions()
    op.create_table(
        "policy_heads",
        sa.Column("policy_id", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("policy_id", name="pk_policy_heads"),
        sa.ForeignKeyConstraint(
            ["digest"], ["policy_versions.digest"], name="fk_policy_heads_digest"
        ),
    )
    counter = op.create_table(
        "policy_revision",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policy_revision"),
    )
    op.bulk_insert(counter, [{"id": 1, "revision": 0}])
    if op.get_bind().dialect.name == "sqlite":
        _protect_on_sqlite()
    else:
        _protect_on_postgresql()


def _create_policy_versions() -> None:
    op.create_table(
        "policy_versions",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("policy_id", sa.String(64), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("bundle", sa.LargeBinary(), nullable=False),
        sa.Column("author", sa.String(128), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("note", sa.LargeBinary()),
        sa.Column("decided_by", sa.String(128)),
        sa.Column("decided_at", sa.String(27)),
        sa.Column("reason", sa.Text()),
        sa.Column("activated_at", sa.String(27)),
        sa.Column("replaced", sa.String(64)),
        sa.PrimaryKeyConstraint("digest", name="pk_policy_versions"),
        sa.UniqueConstraint("policy_id", "version", name="uq_policy_versions_policy_id_version"),
    )


def _protect_on_sqlite() -> None:
    for event in ("DELETE", f"UPDATE OF {_FIXED}"):
        verb = event.partition(" ")[0]
        op.execute(
            f"CREATE TRIGGER policy_versions_refuse_{verb.lower()} "
            f"BEFORE {event} ON policy_versions "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )


def _protect_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION policy_versions_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER policy_versions_refuse_change "
        f"BEFORE DELETE OR UPDATE OF {_FIXED} ON policy_versions "
        "FOR EACH ROW EXECUTE FUNCTION policy_versions_refuse()"
    )
    op.execute(
        "CREATE TRIGGER policy_versions_refuse_truncate BEFORE TRUNCATE ON policy_versions "
        "FOR EACH STATEMENT EXECUTE FUNCTION policy_versions_refuse()"
    )
