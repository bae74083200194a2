"""The book of policies in force, and its replacement while the gateway runs.

Two sources: files, and the registry in the database, whose active version stands in for a
file's policy of the same id. Whatever changes is loaded off the request path, tested and
swapped in as one reference; an exchange keeps what it was admitted under. What cannot be
used leaves the last good policies in force, and says so in `refused`, the log and the
decision log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import structlog

from gateway.errors import AuditUnavailable, StoreUnavailable
from gateway.policy_files import LastGood, Loaded, Stamp, decode, read_files, stamp
from policies.attachments import Attachments
from policies.book import NOBODY, Book, BookError
from policies.bundle import BundleError
from policies.document import Problem
from policies.load import PolicyError, PolicyFile, refuse_ended, refuse_failures
from policies.testing import Judge, run_tests
from policies.types import Policy

POLL_S = 1.0
_log = structlog.get_logger("ostiary.policy")

FILE, REGISTRY = "file", "registry"


class Registry(Protocol):
    """The versions that are active in the database."""

    async def revision(self) -> int:
        """Return a number that goes up with every change. Raises `StoreUnavailable`."""
        ...

    async def heads(self) -> tuple[int, Mapping[str, bytes]]:
        """Return the revision, and by id the bundles that are active.

        Raises:
            StoreUnavailable: If the database cannot be read.
        """
        ...

    async def vouch(self, loaded: Sequence[Loaded]) -> None:
        """Raise `PolicyError` if one of these is not signed as it must be."""
        ...


class Told(Protocol):
    """Who is told of what comes into force."""

    async def activated(self, policy: Policy, previous: str | None, source: str) -> None:
        """A policy is about to come into force; it does once this returns.

        Args:
            policy: The policy.
            previous: The digest of the one before by this id, if there was one.
            source: `FILE` or `REGISTRY`.
        """
        ...

    async def deactivated(self, policy: Policy) -> None:
        """A policy is about to be in force no longer, and none by its id is."""
        ...

    async def rejected(self, name: str, reason: str) -> None:
        """A file, or a version in the registry, is not taken."""
        ...


class PolicySource:
    """Owns the current book; only `start` and `check` set it.

    Args:
        name: What to load from files; see `gateway.policy_files`.
        judge: Asks the classifiers that the gateway runs, for tests that give a text.
        told: Told, and awaited, before a policy comes into force.
        registry: The database's policies, or None where there are none.
        last_good: Where a copy of good files is kept, or None.
        now: The time of day.
    """

    def __init__(
        self,
        name: str,
        judge: Judge,
        told: Told,
        registry: Registry | None = None,
        last_good: LastGood | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ):
        self._name = name
        self._judge = judge
        self._told = told
        self._registry = registry
        self._last_good = last_good
        self._now = now
        self._files: tuple[Loaded, ...] = ()
        self._heads: tuple[Loaded, ...] = ()
        self._stamp: Stamp = ()
        self._revision = 0
        self._refusals: dict[str, str] = {}  # by source
        self._proved: set[str] = set()  # digests of policies whose tests passed
        self._due: datetime | None = None  # when a policy that waits comes into force
        self._woken = asyncio.Event()
        self._book: Book | None = None

    @property
    def book(self) -> Book:
        """What is in force; there is none before `start`."""
        assert self._book is not None  # noqa: S101 - nobody is given a source that has not started
        return self._book

    @property
    def refused(self) -> str | None:
        """The first mistake of what is on disk or in the registry and not in force."""
        return next(iter(self._refusals.values()), None)

    @property
    def current(self) -> Policy:
        """What governs a request that no attachment is about."""
        return self.book.governing(NOBODY, NOBODY, NOBODY)

    @property
    def expired(self) -> tuple[str, ...]:
        """Ids of policies that should have been replaced by now; they stay in force."""
        return tuple(
            policy.id
            for policy in self.book.policies.values()
            if policy.effective_until is not None and policy.effective_until <= self._now()
        )

    async def start(self) -> None:
        """Load what is in force to begin with.

        There is no start without what is active in the registry: the files alone may ask
        for less.

        Raises:
            PolicyError: If a file cannot be used and there is no good copy of it, or an
                active version cannot be used.
            BundleError: If what the registry holds is no bundle.
            BookError: If the files cannot be in force together.
            StoreUnavailable: If the registry cannot be read.
            AuditUnavailable: If it could not be recorded.
        """
        heads: tuple[Loaded, ...] = ()
        if self._registry is not None:
            self._revision, bundles = await self._registry.heads()
            heads = await decoded(bundles)
            await self._registry.vouch(heads)
        self._stamp = await asyncio.to_thread(stamp, self._name, ())
        try:
            files = await asyncio.to_thread(read_files, self._name)
            book = await self._assembled(files, heads)
        except (PolicyError, BookError) as error:
            files = await asyncio.to_thread(self._last_good.read) if self._last_good else ()
            if not files:
                raise
            book = await self._assembled(files, heads)
            await self._refuse(FILE, self._name, error)
        await self._swap(book, files, heads)

    async def watch(self) -> None:
        """Check for changes for ever: every second, and when woken."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self.check()
            except (AuditUnavailable, StoreUnavailable) as error:  # the next check tries again
                _log.warning("policy_not_activated", reason=str(error))

    def wake(self) -> None:
        """Have `watch` check now: somebody says that something changed."""
        self._woken.set()

    async def trial(self, bundles: Mapping[str, bytes]) -> None:
        """Try what would happen if the registry held these; nothing comes into force.

        Raises:
            PolicyError: If one does not load here, or a test of its own fails.
            BundleError: If one is no bundle.
            BookError: If they cannot be in force together, and with the files.
        """
        await self._proved_book(self._files, await decoded(bundles))

    async def check(self) -> None:
        """Load again what changed since it was last looked at.

        Raises:
            AuditUnavailable: If a new policy could not be recorded; it is not in force.
            StoreUnavailable: If the registry could not be read.
        """
        seen = await asyncio.to_thread(stamp, self._name, self._files)
        if seen != self._stamp:
            await self._renew_files(seen)
        if self._registry is not None and await self._registry.revision() != self._revision:
            await self._renew_heads(self._registry)
        if self._due is not None and self._due <= self._now():
            await self._try(FILE, self._files, self._heads)

    async def _renew_files(self, seen: Stamp) -> None:
        try:
            files = await asyncio.to_thread(read_files, self._name)
        except PolicyError as error:
            await self._refuse(FILE, self._name, error)
        else:
            await self._try(FILE, files, self._heads)
        self._stamp = seen  # if they include more files than before, the next check sees it

    async def _renew_heads(self, registry: Registry) -> None:
        revision, bundles = await registry.heads()
        try:
            heads = await decoded(bundles)
            await registry.vouch(heads)
        except (PolicyError, BundleError) as error:
            await self._refuse(REGISTRY, REGISTRY, error)
        else:
            await self._try(REGISTRY, self._files, heads)
        self._revision = revision

    async def _try(self, source: str, files: tuple[Loaded, ...], heads: tuple[Loaded, ...]) -> None:
        """Bring these into force, or note why they cannot be."""
        try:
            book = await self._assembled(files, heads)
        except (PolicyError, BookError) as error:
            await self._refuse(source, self._name if source == FILE else REGISTRY, error)
            return
        await self._swap(book, files, heads, mended=source)

    async def _assembled(self, files: Sequence[Loaded], heads: Sequence[Loaded]) -> Book:
        """Return the book of these, all tests of which pass.

        Raises:
            PolicyError: If a test fails, or two files are the same policy.
            BookError: If they cannot be in force together.
        """
        book = await self._proved_book(files, heads)
        waiting = [
            file.policy.effective_from
            for file in {**_by_id(files), **_by_id(heads)}.values()
            if file.policy.effective_from is not None and file.policy.effective_from > self._now()
        ]
        self._due = min(waiting, default=None)
        return book

    async def _proved_book(self, files: Sequence[Loaded], heads: Sequence[Loaded]) -> Book:
        active = _by_id(heads)
        for name, file in {**_by_id(files), **active}.items():
            if file.policy.digest not in self._proved:
                await self._prove(file, fresh=self._book is not None and name not in active)
        return bound(files, heads, self._effective)

    def _effective(self, policy: Policy) -> Policy | None:
        """Return the policy if its time has come, else the one that it is to replace."""
        if policy.effective_from is None or policy.effective_from <= self._now():
            return policy
        return self._book.policies.get(policy.id) if self._book else None

    async def _prove(self, file: PolicyFile, *, fresh: bool) -> None:
        """Run all tests of a policy, those that give a text included.

        Args:
            file: The policy.
            fresh: Whether a file brings it in now. What was in force already may outlast its
                exceptions, and of what is active in the registry all replicas must think alike.
        """
        if fresh:
            refuse_ended(file, self._now())
        outcomes = await run_tests(file.policy, file.tests, self._judge)
        refuse_failures(file, outcomes)
        if unsure := sum(outcome.inconclusive and not outcome.passed for outcome in outcomes):
            _log.warning("policy_tests_inconclusive", tests=unsure, version=file.policy.version)
        self._proved.add(file.policy.digest)

    async def _swap(
        self,
        book: Book,
        files: tuple[Loaded, ...],
        heads: tuple[Loaded, ...],
        *,
        mended: str | None = None,
    ) -> None:
        """Bring a book into force. Raises `AuditUnavailable`; then nothing has changed.

        Args:
            book: What is to be in force.
            files: What it was made of.
            heads: Likewise.
            mended: The source that is refused no longer.
        """
        before = self._book.policies if self._book else {}
        from_registry = _by_id(heads)
        for name, policy in book.policies.items():
            previous = before[name].digest if name in before else None
            if policy.digest != previous:  # durable before it decides anything
                source = REGISTRY if name in from_registry else FILE
                await self._told.activated(policy, previous, source)
                _log.info("policy_activated", id=policy.id, version=policy.version)
        for name in before.keys() - book.policies.keys():
            await self._told.deactivated(before[name])
        self._book, self._files, self._heads = book, files, heads
        if mended is not None:
            self._refusals.pop(mended, None)
        if self._last_good is not None:
            try:
                await asyncio.to_thread(self._last_good.keep, files)
            except OSError as error:
                _log.warning("last_good_policy_not_kept", error=type(error).__name__)

    async def _refuse(self, source: str, name: str, error: Exception) -> None:
        reason = str(error).partition("\n")[0]
        self._refusals[source] = reason
        _log.warning("policy_refused", source=source, reason=reason)
        await self._told.rejected(name, reason)


async def decoded(bundles: Mapping[str, bytes]) -> tuple[Loaded, ...]:
    """Return what the registry holds, loaded. Raises `PolicyError` and `BundleError`."""
    return tuple([await asyncio.to_thread(decode, each) for each in bundles.values()])


def bound(
    files: Sequence[Loaded],
    heads: Sequence[Loaded],
    effective: Callable[[Policy], Policy | None] = lambda policy: policy,
) -> Book:
    """Return the book of files and of the registry's versions, which stand in for files.

    Args:
        files: Loaded from files.
        heads: Active in the registry.
        effective: Says what is in force of a policy now, if anything is.

    Raises:
        PolicyError: If two files are the same policy.
        BookError: If they cannot be in force together.
    """
    policies = {**_by_id(files), **_by_id(heads)}
    in_force = {name: effective(file.policy) for name, file in policies.items()}
    return Book(
        {name: policy for name, policy in in_force.items() if policy is not None},
        _attachments(heads) or _attachments(files) or Attachments(),
    )


def _by_id(loaded: Sequence[Loaded]) -> dict[str, PolicyFile]:
    found: dict[str, PolicyFile] = {}
    for file in loaded:
        if isinstance(file, PolicyFile):
            name = file.policy.id
            if name in found:
                place = file.document.place(("metadata", "id"))
                message = f"`{name}` is also the id of {found[name].name}"
                raise PolicyError(file.name, [Problem(*place, message)])
            found[name] = file
    return found


def _attachments(loaded: Sequence[Loaded]) -> Attachments | None:
    found = [file for file in loaded if not isinstance(file, PolicyFile)]
    if len(found) > 1:
        names = " and ".join(file.name for file in found[:2])
        raise BookError(f"there can be one file of attachments; these are two: {names}")
    return found[0].attachments if found else None


async def book_in_force(name: str, registry: Registry, now: datetime) -> Book:
    """Return what a gateway that starts now would bring into force, its tests not run.

    For commands that ask what a policy says beside a gateway that runs.

    Args:
        name: As for `PolicySource`.
        registry: The database's policies.
        now: The time of day; a policy whose time has not come is left out.

    Raises:
        PolicyError: If a file cannot be used.
        BookError: If they cannot be in force together.
        StoreUnavailable: If the registry cannot be read.
    """

    def effective(policy: Policy) -> Policy | None:
        begins = policy.effective_from
        return policy if begins is None or begins <= now else None

    files = await asyncio.to_thread(read_files, name)
    _, bundles = await registry.heads()
    return bound(files, await decoded(bundles), effective)
