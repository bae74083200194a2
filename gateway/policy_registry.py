"""The registry of policies: what was drafted, who agreed to it, and what is in force.

Each act is one transaction together with the audit entry that records it, and acts happen
one at a time: of two that cannot both be, the second sees what the first one did. Nothing
comes into force that does not load here, fails a test of its own or lacks signatures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.audit import policy_records
from gateway.audit.entry import row_apart
from gateway.errors import Conflict, NotFound
from gateway.notes import NoteError
from gateway.policy_bundle import Candidate, parse_candidate, refuse_over
from gateway.policy_files import Loaded
from gateway.policy_lifecycle import WAYS, Actor, State, Step, after, require
from gateway.policy_signatures import Trust, statement
from gateway.policy_trial import Trial, tried, untried, vouched
from gateway.store import entries, policies
from gateway.store.policies import PolicyVersion
from gateway.store.session import Database
from gateway.types import Scope

_TRIES = 10


async def _nobody(revision: int) -> None:
    """Tell nobody; others see the revision when they look."""


@dataclass(slots=True, eq=False)
class PolicyRegistry:
    """Takes versions of policies through their lives.

    Args:
        database: Migrated.
        trust: Whose signatures a version needs to come into force.
        announce: Told, after the commit, what the revision is now.
        trial: Tells whether policies could be in force together; asked before they are.
        now: The time of day.
    """

    database: Database
    trust: Trust = field(default_factory=Trust)
    announce: Callable[[int], Awaitable[None]] = _nobody
    trial: Trial = untried
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def draft(
        self, candidate: Candidate, actor: Actor, note: bytes | None = None
    ) -> PolicyVersion:
        """Store a version. One that is there already is returned, with signatures added.

        Raises:
            Forbidden: If the actor may not.
            Conflict: If the version is there with another content, or was turned down.
            NoteError: If the note does not fit.
        """
        require(actor, Scope.POLICY_EDITOR)
        async with self._turn() as connection:
            return await self._drafted(connection, candidate, actor, note)

    async def move(
        self,
        step: Step,
        policy_id: str,
        version: str,
        actor: Actor,
        *,
        note: bytes | None = None,
        reason: str | None = None,
    ) -> PolicyVersion:
        """Propose, approve, reject or withdraw a version.

        Raises:
            NotFound: If there is none.
            Forbidden: If the actor may not.
            Conflict: If the version's state does not allow it.
            PolicyError: If it is proposed and does not load any more.
            NoteError: If the note does not fit.
        """
        if step is Step.PROPOSE:
            await self._load(await self.find(policy_id, version))
        async with self._turn() as connection:
            found = await self._found(connection, policy_id, version)
            state = after(step, State(found.state), actor=actor, author=found.author)
            moved = replace(self._signed(found, note), state=state)
            if step in {Step.APPROVE, Step.REJECT}:
                moved = replace(moved, decided_by=actor.id, decided_at=self.now(), reason=reason)
            await policies.change(connection, moved)
            await _record(connection, state.value, moved, actor)
        return moved

    async def activate(
        self, policy_id: str, version: str, actor: Actor, note: bytes | None = None
    ) -> PolicyVersion:
        """Bring an approved version into force; the one that was there is superseded.

        Raises:
            NotFound: If there is none.
            Forbidden: If the actor may not.
            Conflict: If it is not approved, signatures are missing, or it does
                not fit beside what is in force.
            PolicyError: If it does not load any more, or an exception in it has ended.
            NoteError: If the note does not fit.
        """
        require(actor, WAYS[Step.ACTIVATE].scope)
        stored = await self.find(policy_id, version)
        after(Step.ACTIVATE, State(stored.state), actor=actor, author=stored.author)
        candidate = await self._load(stored)
        refuse_over(candidate, self.now())

        async def act(connection: AsyncConnection) -> PolicyVersion:
            found = await self._found(connection, policy_id, version)
            signed = self._signed(found, note)
            return await self._activated(connection, Step.ACTIVATE, signed, candidate, actor)

        return await self._changed(policy_id, candidate.bundle, act)

    async def install(
        self, candidate: Candidate, actor: Actor, note: bytes | None = None
    ) -> PolicyVersion:
        """Store a version and bring it into force at once; for operators.

        Raises:
            Forbidden: If the actor may not.
            Conflict: If it was turned down, signatures are missing, or it does
                not fit beside what is in force.
            PolicyError: If an exception in it has ended.
            NoteError: If the note does not fit.
        """
        require(actor, WAYS[Step.INSTALL].scope)
        refuse_over(candidate, self.now())

        async def act(connection: AsyncConnection) -> PolicyVersion:
            stored = await self._drafted(connection, candidate, actor, note)
            if stored.state == State.ACTIVE:
                return stored
            return await self._activated(connection, Step.INSTALL, stored, candidate, actor)

        return await self._changed(candidate.id, candidate.bundle, act)

    async def roll_back(
        self, policy_id: str, actor: Actor, version: str | None = None
    ) -> PolicyVersion:
        """Bring an earlier version back into force; the one that was there is rolled back.

        Args:
            policy_id: Whose.
            actor: Who does it.
            version: Which; None stands for the one that was active before, versions that
                were rolled back themselves left out.

        Returns:
            The version that is in force now.

        Raises:
            NotFound: If there is no such policy or version.
            Forbidden: If the actor may not.
            Conflict: If there was none before, it does not qualify, signatures are missing,
                or it does not fit beside what is in force.
            PolicyError: If it does not load any more.
        """
        require(actor, WAYS[Step.RESTORE].scope)
        async with self.database.read() as connection:
            current = await policies.active(connection, policy_id)
            target = await self._earlier(connection, policy_id, current, version)
        candidate = await self._load(target)

        async def act(connection: AsyncConnection) -> PolicyVersion:
            if _digest(await policies.active(connection, policy_id)) != _digest(current):
                raise Conflict(f"another version of `{policy_id}` came into force meanwhile")
            found = await self._found(connection, policy_id, target.version)
            return await self._activated(connection, Step.RESTORE, found, candidate, actor)

        return await self._changed(policy_id, candidate.bundle, act)

    async def retire(self, policy_id: str, actor: Actor) -> PolicyVersion:
        """Take a policy out of force; what a file configures under its id holds again.

        Raises:
            Forbidden: If the actor may not.
            NotFound: If no version of it is in force.
            Conflict: If the others cannot do without it.
        """
        require(actor, WAYS[Step.RETIRE].scope)

        async def act(connection: AsyncConnection) -> PolicyVersion:
            current = await policies.active(connection, policy_id)
            if current is None:
                raise NotFound(f"no version of the policy `{policy_id[:80]}` is in force")
            state = after(Step.RETIRE, State.ACTIVE, actor=actor, author=current.author)
            retired = replace(current, state=state)
            await policies.change(connection, retired)
            revision = await policies.set_head(connection, policy_id, None)
            await _record(connection, "retired", retired, actor, revision=revision)
            return retired

        return await self._changed(policy_id, None, act)

    async def revision(self) -> int:
        """Return how often what is in force has changed. Raises `StoreUnavailable`."""
        return await policies.revision(self.database)

    async def heads(self) -> tuple[int, Mapping[str, bytes]]:
        """Return the revision, and by id the bundles in force. Raises `StoreUnavailable`."""
        found = await policies.heads(self.database)
        return found.revision, found.bundles

    async def vouch(self, loaded: Sequence[Loaded]) -> None:
        """Raise `PolicyError` if one of these is in force without the signatures it needs."""
        await vouched(self.database, self.trust, loaded)

    async def find(self, policy_id: str, version: str) -> PolicyVersion:
        """Return a version. Raises `NotFound`."""
        async with self.database.read() as connection:
            return await self._found(connection, policy_id, version)

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[AsyncConnection]:
        """Run one act, alone; what it changed of what is in force is announced after it."""
        async with self.database.write() as connection:
            before = await policies.lock(connection)
            yield connection
            revision = await policies.lock(connection)
        if revision != before:
            await self.announce(revision)

    async def _changed(
        self,
        policy_id: str,
        bundle: bytes | None,
        act: Callable[[AsyncConnection], Awaitable[PolicyVersion]],
    ) -> PolicyVersion:
        """Change what is in force by `act`, once that was tried beside all the rest."""
        for _ in range(_TRIES):
            revision = await tried(self.database, self.trial, policy_id, bundle)
            async with self._turn() as connection:
                if await policies.lock(connection) == revision:  # still what was tried
                    return await act(connection)
        raise Conflict("other policies keep coming into force; try again")

    async def _load(self, version: PolicyVersion) -> Candidate:
        """Return what a stored version says, off the event loop: it takes a while."""
        bundle = await policies.bundle(self.database, version.digest)
        candidate = await asyncio.to_thread(parse_candidate, bundle)
        if candidate.digest != version.digest:
            raise Conflict(
                "this version meant something else when it was drafted, with another release "
                "of Ostiary; draft it anew under a new version"
            )
        return candidate

    async def _drafted(
        self, connection: AsyncConnection, candidate: Candidate, actor: Actor, note: bytes | None
    ) -> PolicyVersion:
        stored = await policies.with_digest(connection, candidate.digest)
        if stored is None:
            await _refuse_double(connection, candidate)
            drafted = self._signed(_draft(candidate, actor, self.now()), note)
            await policies.add(connection, drafted, candidate.bundle)
            await _record(connection, "drafted", drafted, actor)
            return drafted
        if stored.state in {State.REJECTED, State.WITHDRAWN}:
            raise Conflict(f"this version was {stored.state}; draft it anew under a new version")
        signed = self._signed(stored, note)
        if signed != stored:
            await policies.change(connection, signed)
            await _record(connection, "signed", signed, actor)
        return signed

    async def _activated(
        self,
        connection: AsyncConnection,
        step: Step,
        version: PolicyVersion,
        candidate: Candidate,
        actor: Actor,
    ) -> PolicyVersion:
        state = after(step, State(version.state), actor=actor, author=version.author)
        signers = self._signers(version)
        current = await policies.active(connection, version.policy_id)
        back = step is Step.RESTORE and current is not None
        if current is not None:
            leaving = Step.ROLL_BACK if back else Step.SUPERSEDE
            left = after(leaving, State(current.state), actor=actor, author=current.author)
            await policies.change(connection, replace(current, state=left))
        activated = replace(
            version,
            state=state,
            activated_at=self.now(),
            # A rollback does not change what was before the version it leads back to.
            replaced=version.replaced if step is Step.RESTORE else _digest(current),
        )
        await policies.change(connection, activated)
        await _record(
            connection,
            "rolled_back" if back else "activated",
            activated,
            actor,
            previous_digest=_digest(current),
            rules=candidate.rules,
            signers=list(signers),
            revision=await policies.set_head(connection, version.policy_id, version.digest),
        )
        return activated

    def _signed(self, version: PolicyVersion, note: bytes | None) -> PolicyVersion:
        if note is None:
            return version
        return replace(version, note=self.trust.merged(version.note, note, _statement(version)))

    def _signers(self, version: PolicyVersion) -> tuple[str, ...]:
        try:
            return self.trust.signers(version.note, _statement(version))
        except NoteError as error:
            raise Conflict(str(error), code="signatures_missing") from error

    async def _earlier(
        self,
        connection: AsyncConnection,
        policy_id: str,
        current: PolicyVersion | None,
        version: str | None,
    ) -> PolicyVersion:
        """Return where a rollback leads."""
        if version is not None:
            return await self._found(connection, policy_id, version)
        if current is None:
            raise NotFound(f"no version of the policy `{policy_id[:80]}` is in force")
        seen: set[str] = set()
        digest = current.replaced
        while digest is not None and digest not in seen:
            seen.add(digest)
            earlier = await policies.with_digest(connection, digest)
            if earlier is not None and earlier.state == State.SUPERSEDED:
                return earlier
            digest = earlier.replaced if earlier else None
        raise Conflict(f"no version of `{policy_id}` was in force before this one")

    async def _found(
        self, connection: AsyncConnection, policy_id: str, version: str
    ) -> PolicyVersion:
        found = await policies.find(connection, policy_id, version)
        if found is None:
            raise NotFound(f"there is no version `{version[:80]}` of a policy `{policy_id[:80]}`")
        return found


async def _refuse_double(connection: AsyncConnection, candidate: Candidate) -> None:
    if await policies.find(connection, candidate.id, candidate.version) is not None:
        raise Conflict(
            f"version `{candidate.version}` of `{candidate.id}` is there with another content; "
            "give this one a new version"
        )
    kind = await policies.kind_of(connection, candidate.id)
    if kind not in {None, candidate.kind}:
        raise Conflict(f"`{candidate.id}` names a file of kind `{kind}`, not `{candidate.kind}`")


async def _record(
    connection: AsyncConnection, step: str, version: PolicyVersion, actor: Actor, **details: object
) -> None:
    entry = policy_records.taken(step, version, actor=actor.id, **details)
    await entries.append(connection, row_apart(entry, "policies"))


def _draft(candidate: Candidate, actor: Actor, now: datetime) -> PolicyVersion:
    return PolicyVersion(
        digest=candidate.digest,
        kind=candidate.kind,
        policy_id=candidate.id,
        version=candidate.version,
        author=actor.id,
        created_at=now,
        state=State.DRAFT,
    )


def _statement(version: PolicyVersion) -> str:
    return statement(version.policy_id, version.version, version.digest)


def _digest(version: PolicyVersion | None) -> str | None:
    return version.digest if version else None
