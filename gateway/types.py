"""The gateway's nouns: who is asking, and how an exchange can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What an API key may be used for."""

    CALLER = "caller"  # ask the model, ask for moderation
    REVIEWER = "reviewer"
    AUDITOR = "auditor"
    POLICY_EDITOR = "policy_editor"
    POLICY_APPROVER = "policy_approver"
    ADMIN = "admin"  # everything


@dataclass(frozen=True, slots=True)
class Principal:
    """Who an API key belongs to.

    Attributes:
        key_id: The key's public prefix; safe to log.
        project: The project that pays, and whose policy applies.
        scopes: What the key may do.
        requests_per_minute: Quota of this key.
        tokens_per_minute: Quota of this key, input and output together.
    """

    key_id: str
    project: str
    scopes: frozenset[Scope]
    requests_per_minute: int
    tokens_per_minute: int

    def may(self, scope: Scope) -> bool:
        """Return whether the key has `scope`, or is an admin's."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class Outcome(StrEnum):
    """How an admitted request ended; each becomes the terminal record `request.<outcome>`."""

    COMPLETED = "completed"
    BLOCKED = "blocked"  # a decision stopped it
    ABORTED = "aborted"  # we stopped it: shutdown, drain
    CLIENT_DISCONNECTED = "client_disconnected"
    ERROR = "error"  # we or the engine failed
    LOST = "lost"  # the replica died; written by the sweeper


@dataclass(frozen=True, slots=True)
class Stopped:
    """A conversation that was stopped, as its caller may know of it.

    Attributes:
        id: By which an operator finds it: `stop_` and 32 hex digits.
        error_type: What the wire calls what was found.
    """

    id: str
    error_type: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What became of a tool call that was held for a person.

    Attributes:
        id: The review's.
        decision: `approved`, `rejected` or `expired`.
        reviewer: Who decided last, if anybody.
        second: Who approved before them, where two had to.
    """

    id: str
    decision: str
    reviewer: str | None = None
    second: str | None = None
