"""Whether a policy can be in force beside all the others, before it is.

Two files of attachments, attachments that name a policy which is not there, a test that
fails with the classifiers of this gateway: no replica would take any of that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from gateway.errors import Conflict
from gateway.store import policies
from gateway.store.session import Database
from policies.book import BookError
from policies.bundle import BundleError
from policies.load import PolicyError

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


async def _fits(trial: Trial, bundles: Mapping[str, bytes]) -> bool:
    try:
        await trial(bundles)
    except _UNFIT:
        return False
    return True
