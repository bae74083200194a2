"""The tables, as SQLAlchemy Core. `migrations/` makes them; a test compares the two.

Rows of these tables never leave `gateway.store`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from gateway.store.times import LENGTH

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_MOMENT = String(LENGTH)

# INVARIANT: append-only. Triggers in the migration refuse UPDATE, DELETE and TRUNCATE.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column(
        "seq",
        BigInteger().with_variant(Integer(), "sqlite"),
        Identity(always=True),
        primary_key=True,
    ),
    Column("id", String(36), nullable=False),  # UUIDv7
    Column("type", String(64), nullable=False),
    Column("recorded_at", _MOMENT, nullable=False),
    Column("request_id", String(64)),
    Column("project", String(128)),
    Column("replica", String(64), nullable=False),
    Column("replica_seq", BigInteger(), nullable=False),
    Column("terminal", Boolean(), nullable=False),
    Column("body", LargeBinary(), nullable=False),  # the canonical bytes, at most 32 KiB
    UniqueConstraint("id"),
    UniqueConstraint("replica", "replica_seq"),  # a gap shows, a repeat cannot be written
    sqlite_autoincrement=True,  # a sequence number is never used again
)
Index("ix_audit_entries_request_id", audit_entries.c.request_id)
# What people did, or is done to what they look after; not what every request makes.
ADMINISTRATIVE = (
    "type NOT IN ('request.admitted', 'request.denied', 'decision.recorded', 'stream.started', "
    "'request.completed', 'request.blocked', 'request.aborted', 'request.client_disconnected', "
    "'request.error', 'request.lost', 'request.closed_late', 'enforcement.struck', "
    "'replica.started', 'replica.stopped', 'oversight.decided', 'oversight.skipped')"
)
Index(
    "ix_audit_entries_administrative",
    audit_entries.c.seq,
    sqlite_where=text(ADMINISTRATIVE),
    postgresql_where=text(ADMINISTRATIVE),
)
Index(
    "uq_audit_entries_terminal",
    audit_entries.c.request_id,
    unique=True,  # INVARIANT: at most one terminal record per request
    sqlite_where=text("terminal"),
    postgresql_where=text("terminal"),
)

# The Merkle trees over the log, one per shard. Triggers let both tables only grow.
audit_trees = Table(
    "audit_trees",
    metadata,
    Column("shard", String(16), primary_key=True),
    Column("first_seq", BigInteger(), nullable=False),
    Column("size", BigInteger(), nullable=False),
    Column("last_seq", BigInteger(), nullable=False),
    Column("checkpoint_size", BigInteger(), nullable=False),
    Column("checkpoint", LargeBinary()),  # a signed note
)
audit_tiles = Table(
    "audit_tiles",
    metadata,
    Column("shard", String(16), primary_key=True),
    Column("level", Integer(), primary_key=True, autoincrement=False),
    Column("number", BigInteger(), primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger()),  # of the entry of its first leaf; at level 0 only
    Column("hashes", LargeBinary(), nullable=False),  # 1 to 256, 32 bytes each
)
Index("ix_audit_tiles_first_seq", audit_tiles.c.first_seq)

# The newest checkpoint of each shard that each witness cosigned. Triggers let it only grow.
audit_witnessed = Table(
    "audit_witnessed",
    metadata,
    Column("shard", String(16), primary_key=True),
    Column("witness", String(256), primary_key=True),  # its key, as people hand it on
    Column("size", BigInteger(), nullable=False),
    Column("cosigned_at", _MOMENT, nullable=False),
    Column("note", LargeBinary(), nullable=False),  # the checkpoint with the cosignature
)

# An index of the log by blocks of its numbers, `gateway.store.log_index`. What stands here can
# be found in the log again: it may be emptied, is filled anew, and proves nothing.
log_indexed = Table(
    "log_indexed",
    metadata,
    Column("id", Integer(), primary_key=True, autoincrement=False),  # 1: there is one row
    Column("seq", BigInteger(), nullable=False),  # entries up to this number are in the index
)
log_blocks = Table(
    "log_blocks",
    metadata,
    Column("block", BigInteger(), primary_key=True, autoincrement=False),
    Column("first_at", _MOMENT, nullable=False),  # the earliest time of an entry in it
    Column("last_at", _MOMENT, nullable=False),
)
log_terms = Table(
    "log_terms",
    metadata,
    Column("term", String(200), primary_key=True),  # as in `rule:no-weapons`
    Column("block", BigInteger(), primary_key=True, autoincrement=False),  # it is in an entry there
)

# Moments here are Unix seconds by the database's clock, which all replicas share.
replicas = Table(
    "replicas",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("build", String(64), nullable=False),
    Column("started_at", Float(53), nullable=False),
    Column("heartbeat_at", Float(53), nullable=False),
    # Every entry of an exchange that is still open has at least this `replica_seq`.
    Column("open_from_seq", BigInteger(), nullable=False),
    Column("fenced_at", Float(53)),  # declared dead: the log takes nothing from it any more
    Column("swept_at", Float(53)),  # and all its requests have a terminal record
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("prefix", String(32), primary_key=True),
    Column("secret_hmac", LargeBinary(), nullable=False),
    Column("project", String(128), nullable=False),
    Column("name", Text(), nullable=False),
    Column("scopes", Text(), nullable=False),  # separated by spaces
    Column("requests_per_minute", BigInteger(), nullable=False),
    Column("tokens_per_minute", BigInteger(), nullable=False),
    Column("created_at", _MOMENT, nullable=False),
    Column("expires_at", _MOMENT),
    Column("revoked_at", _MOMENT),
)
Index("ix_api_keys_project", api_keys.c.project)

# INVARIANT: a version never changes its content. Triggers in the migration refuse DELETE, and
# UPDATE of what it is and what it says.
policy_versions = Table(
    "policy_versions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("policy_id", String(64), nullable=False),
    Column("version", String(32), nullable=False),
    Column("bundle", LargeBinary(), nullable=False),  # its files, canonical JSON
    Column("author", String(128), nullable=False),  # a key id, or who used the command line
    Column("created_at", _MOMENT, nullable=False),
    Column("state", String(16), nullable=False),
    Column("note", LargeBinary()),  # signatures, a signed note
    Column("decided_by", String(128)),  # who approved or rejected it
    Column("decided_at", _MOMENT),
    Column("reason", Text()),  # of a rejection
    Column("activated_at", _MOMENT),
    Column("replaced", String(64)),  # the digest that was active before it, if any
    UniqueConstraint("policy_id", "version"),
)

# Which version of each policy is in force.
policy_heads = Table(
    "policy_heads",
    metadata,
    Column("policy_id", String(64), primary_key=True),
    Column("digest", String(64), ForeignKey("policy_versions.digest"), nullable=False),
)

# One row. It counts the changes of `policy_heads`, and whoever changes a policy locks it.
policy_revision = Table(
    "policy_revision",
    metadata,
    Column("id", Integer(), primary_key=True, autoincrement=False),
    Column("revision", BigInteger(), nullable=False),
)

# One strike: a rule counted against an end user. A rule counts once in an exchange.
# INVARIANT: it stays as it was made. Triggers refuse all but its reversal.
strikes = Table(
    "strikes",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("rule", String(256), primary_key=True),
    Column("decision_id", String(36), nullable=False),
    Column("policy", Text(), nullable=False),  # its id; those of several, united
    Column("project", String(128), nullable=False),
    Column("subject", String(32), nullable=False),  # the end user's pseudonym
    Column("struck_at", _MOMENT, nullable=False),
    Column("reversed_at", _MOMENT),  # by a person; since then it does not count
)
Index("ix_strikes_project_subject", strikes.c.project, strikes.c.subject)

# Conversations that must not go on, and what they are known by: digests, nothing to read.
conversation_stops = Table(
    "conversation_stops",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(128), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("decision_id", String(36), nullable=False),
    Column("rule", String(256), nullable=False),
    Column("error_type", String(64), nullable=False),
    Column("subject", String(32)),
    Column("stopped_at", _MOMENT, nullable=False),
    Column("expires_at", _MOMENT, nullable=False),
    Column("lifted_at", _MOMENT),  # by a person; since then it may go on
    Column("lifted_by", String(128)),
    Column("reason", Text()),
)
Index(
    "ix_conversation_stops_project_stopped_at",
    conversation_stops.c.project,
    conversation_stops.c.stopped_at,
)
conversation_marks = Table(
    "conversation_marks",
    metadata,
    Column("stop_id", String(64), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("digest", LargeBinary(), primary_key=True),
    Column("project", String(128), nullable=False),
    Column("until", _MOMENT, nullable=False),
)
Index(
    "ix_conversation_marks_project_digest",
    conversation_marks.c.project,
    conversation_marks.c.digest,
)

# What projects were told: findings, and notices about their end users.
safety_alerts = Table(
    "safety_alerts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(128), nullable=False),
    Column("created_at", _MOMENT, nullable=False),
    Column("error_type", String(64), nullable=False),
    Column("category", String(64), nullable=False),
    Column("rule", String(256), nullable=False),
    Column("model", Text(), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("response_id", String(64), nullable=False),
    Column("decision_id", String(36), nullable=False),
    Column("request_paused", Boolean(), nullable=False),
    Column("subject", String(32)),
)
Index("ix_safety_alerts_project_id", safety_alerts.c.project, safety_alerts.c.id)
safety_cases = Table(
    "safety_cases",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(128), nullable=False),
    Column("created_at", _MOMENT, nullable=False),
    Column("notice", String(16), nullable=False),
    Column("subject", String(32), nullable=False),
    Column("entity", Text(), nullable=False),  # the safety identifier as it was sent
    Column("reason", Text(), nullable=False),
)
Index("ix_safety_cases_project_subject", safety_cases.c.project, safety_cases.c.subject)

# What endpoints are to be told; `gateway.store.outbox` says how it is claimed.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("event_id", String(64), nullable=False),
    Column("event_type", String(64), nullable=False),
    Column("endpoint", String(64), nullable=False),
    Column("project", String(128), nullable=False),
    Column("body", LargeBinary(), nullable=False),
    Column("tries", Integer(), nullable=False),
    Column("created_at", _MOMENT, nullable=False),
    Column("due_at", _MOMENT, nullable=False),
    Column("state", String(16), nullable=False),
    Column("settled_at", _MOMENT),
    Column("error", String(64)),
)
Index("ix_webhook_deliveries_state_due_at", webhook_deliveries.c.state, webhook_deliveries.c.due_at)

# Tool calls that wait for a person. Never what a call says: that lies in `content`.
reviews = Table(
    "reviews",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(128), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("decision_id", String(36), nullable=False),
    Column("rule", String(256), nullable=False),
    Column("tool", String(64), nullable=False),
    Column("key_id", String(64), nullable=False),
    Column("subject", String(32)),
    Column("approvals", Integer(), nullable=False),
    Column("opened_at", _MOMENT, nullable=False),
    Column("expires_at", _MOMENT, nullable=False),
    Column("seen_at", _MOMENT, nullable=False),  # whoever waits shows that they do
    Column("state", String(16), nullable=False),
    Column("first_by", String(128)),
    Column("first_at", _MOMENT),
    Column("decided_by", String(128)),
    Column("decided_at", _MOMENT),
    Column("reason", Text()),
)
Index("ix_reviews_state_id", reviews.c.state, reviews.c.id)

# Keys of projects, wrapped by a master key that is not in the database. A project has one
# generation of them, and a second one while keys are rotated.
content_projects = Table(
    "content_projects",
    metadata,
    Column("project", String(128), primary_key=True),
    Column("generation", Integer(), primary_key=True, autoincrement=False),
    Column("master_key", String(64), nullable=False),  # the id of the one that opens it
    Column("wrapped", LargeBinary(), nullable=False),
    Column("created_at", _MOMENT, nullable=False),
)

# Keys of exchanges, wrapped by their project's. Destroying them is what erases content.
content_keys = Table(
    "content_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("project", String(128), nullable=False),
    Column("generation", Integer(), nullable=False),
    Column("subject", String(32)),  # the end user's pseudonym, where somebody was named
    Column("wrapped", LargeBinary(), nullable=False),
    Column("created_at", _MOMENT, nullable=False),
)
Index("ix_content_keys_project_subject", content_keys.c.project, content_keys.c.subject)
Index("ix_content_keys_created_at", content_keys.c.created_at)

# What was said, sealed. The entry with this id names it by its SHA-256.
content = Table(
    "content",
    metadata,
    Column("record_id", String(36), primary_key=True),
    Column("field", String(16), primary_key=True),  # the stage
    Column("key_id", String(32), nullable=False),
    Column("kept_at", _MOMENT, nullable=False),
    Column("box", LargeBinary(), nullable=False),
)
Index("ix_content_key_id", content.c.key_id)
Index("ix_content_kept_at", content.c.kept_at)

# Erasures that were accepted and are not finished.
content_erasures = Table(
    "content_erasures",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("project", String(128), nullable=False),
    Column("subject", String(32), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("reason", Text(), nullable=False),
    Column("requested_at", _MOMENT, nullable=False),
)

# What may neither be erased nor expire: an end user's, or all of a project.
content_holds = Table(
    "content_holds",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("project", String(128), nullable=False),
    Column("subject", String(32)),
    Column("actor", String(128), nullable=False),
    Column("reason", Text(), nullable=False),
    Column("created_at", _MOMENT, nullable=False),
)
Index("ix_content_holds_project", content_holds.c.project)
