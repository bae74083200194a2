"""Whether a policy can be in force beside all the others, before it is.

Two files of attachments, attachments that name a policy which is not there, a test that
fails with the classifiers of this gateway: no replica would take any of that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from gateway.errors import Conflict
from gateway.notes import NoteError
from gateway.policy_files import Loaded
from gateway.policy_signatures import Trust, statement
from gateway.store import policies
from gateway.store.session import Database
from policies.book import BookError
from policies.bundle import BundleError
from policies.document import Problem
from policies.load import PolicyError, PolicyFile

_UNFIT = (PolicyError, BundleError, BookError)

Trial: TypeAlias = Callable[[Mapping[str, bytes]], Awaitable[None]]
"""Raises one of these if these bundles, by policy id, cannot be in force together."""


async def untried(bundles: Mapping[str, bytes]) -> None:
    """Try nothing."""


async def tried(database: Database, trial: Trial, policy_id: str, bundle: bytes | None) -> int:
    """Try to have `bundle` in force for a policy, or nothing, beside all the others.

    Returns:
        The revision of the others.

    Raises:
        Conflict: If that cannot be, and what is in force now can: what is broken already
            may be mended bit by bit.
    """
    present = await policies.heads(database)
    wanted = {name: each for name, each in present.bundles.items() if name != policy_id}
    if bundle is not None:
        wanted[policy_id] = bundle
    try:
        await trial(wanted)
    except _UNFIT as error:
        if await _fits(trial, present.bundles):
            raise Conflict(str(error), code="policies_do_not_fit") from error
    return present.revision


async def vouched(database: Database, trust: Trust, loaded: Sequence[Loaded]) -> None:
    """Check the signatures of what is in force once more, by whoever is to enforce it.

    That a version is active is for the database to say, and whoever holds that could say so
    of any. What was signed is asked of the files themselves and not of the row beside them.

    Raises:
        PolicyError: If there are fewer signatures than wanted.
    """
    if not trust.keys:
        return
    notes = await policies.notes(database)
    for file in loaded:
        said = file.policy if isinstance(file, PolicyFile) else file.attachments
        try:
            trust.signers(notes.get(said.digest), statement(said.id, said.version, said.digest))
        except NoteError as error:
            problem = Problem(1, 1, f"`{said.id}` {said.version} is active, and {error}")
            raise PolicyError(file.name, [problem]) from error


async def _fits(trial: Trial, bundles: Mapping[str, bytes]) -> bool:
    try:
        await trial(bundles)
    except _UNFIT:
        return False
    return True
