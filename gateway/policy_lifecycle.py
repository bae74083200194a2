"""The life of a policy version: who may take which step, from which state. Pure.

    draft -> proposed -> approved -> active -> superseded
                                            -> rolled_back

A version can be withdrawn or rejected before it is active, and then never comes back; what
was superseded or rolled back can be restored. Whoever wrote a version does not approve it,
whatever their key may do otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import Conflict, Forbidden
from gateway.types import Principal, Scope


class State(StrEnum):
    """Where a version stands."""

    DRAFT = "draft"
    PROPOSED = "proposed"
    APPROVED = "approved"
    ACTIVE = "active"  # in force; at most one version of a policy is
    SUPERSEDED = "superseded"  # was in force until another one came, or it was retired
    ROLLED_BACK = "rolled_back"  # was in force and proved wrong
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Step(StrEnum):
    """What can be done to a version."""

    PROPOSE = "propose"
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    ACTIVATE = "activate"
    INSTALL = "install"  # activate a file at once, from the command line
    RESTORE = "restore"  # back into force: where a rollback leads
    SUPERSEDE = "supersede"  # another version comes into force
    ROLL_BACK = "roll_back"  # an earlier version comes into force again
    RETIRE = "retire"  # no version is in force any more


@dataclass(frozen=True, slots=True)
class Actor:
    """Who takes a step.

    Attributes:
        id: A key id, or `cli` and who uses it.
        scopes: What they may do.
    """

    id: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Return whether they have `scope`, or everything."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def actor_of(principal: Principal) -> Actor:
    """Return the holder of an API key as an actor."""
    return Actor(principal.key_id, principal.scopes)


def operator(name: str | None = None) -> Actor:
    """Return who uses the command line; they hold the database, so they may do everything."""
    return Actor(f"cli:{name}" if name else "cli", frozenset({Scope.ADMIN}))


@dataclass(frozen=True, slots=True)
class _Way:
    scope: Scope
    origins: frozenset[State]
    target: State


def _way(scope: Scope, target: State, *origins: State) -> _Way:
    return _Way(scope, frozenset(origins), target)


_EDITOR, _APPROVER = Scope.POLICY_EDITOR, Scope.POLICY_APPROVER
_PENDING = (State.DRAFT, State.PROPOSED, State.APPROVED)
_PAST = (State.SUPERSEDED, State.ROLLED_BACK)

WAYS: Mapping[Step, _Way] = {
    Step.PROPOSE: _way(_EDITOR, State.PROPOSED, State.DRAFT),
    Step.APPROVE: _way(_APPROVER, State.APPROVED, State.PROPOSED),
    Step.REJECT: _way(_APPROVER, State.REJECTED, State.PROPOSED, State.APPROVED),
    Step.WITHDRAW: _way(_EDITOR, State.WITHDRAWN, *_PENDING),
    Step.ACTIVATE: _way(_APPROVER, State.ACTIVE, State.APPROVED),
    Step.INSTALL: _way(Scope.ADMIN, State.ACTIVE, *_PENDING, *_PAST),
    Step.RESTORE: _way(_APPROVER, State.ACTIVE, *_PAST),
    Step.SUPERSEDE: _way(_APPROVER, State.SUPERSEDED, State.ACTIVE),
    Step.ROLL_BACK: _way(_APPROVER, State.ROLLED_BACK, State.ACTIVE),
    Step.RETIRE: _way(_APPROVER, State.SUPERSEDED, State.ACTIVE),
}


def require(actor: Actor, scope: Scope) -> None:
    """Raise `Forbidden` unless `actor` has `scope`."""
    if not actor.may(scope):
        raise Forbidden(f"this API key lacks the scope `{scope.value}`")


def after(step: Step, state: State, *, actor: Actor, author: str) -> State:
    """Return the state that a step leads to.

    Args:
        step: What is to be done.
        state: Where the version stands.
        actor: Who wants it.
        author: Who drafted the version.

    Raises:
        Forbidden: If this actor may not do it.
        Conflict: If nobody can from this state.
    """
    way = WAYS[step]
    require(actor, way.scope)
    if step is Step.APPROVE and actor.id == author:
        raise Forbidden("whoever drafted a version cannot approve it", code="author_cannot_approve")
    if state not in way.origins:
        wanted = " or ".join(f"`{origin}`" for origin in State if origin in way.origins)
        raise Conflict(f"this version is `{state}`; to {_VERBS[step]} it, it has to be {wanted}")
    return way.target


_VERBS = {step: step.value.replace("_", " ") for step in Step} | {Step.INSTALL: "activate"}
