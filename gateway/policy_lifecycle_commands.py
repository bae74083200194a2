"""What `ostiary policy list`, `propose`, `activate` and so on do with the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from gateway.policy_bundle import read_candidate
from gateway.policy_commands import open_panel
from gateway.policy_files import Loaded, read_files
from gateway.policy_lifecycle import State, Step, operator
from gateway.policy_news import PolicyNews
from gateway.policy_registry import PolicyRegistry
from gateway.policy_signing import open_trust
from gateway.policy_source import bound, decoded
from gateway.settings import Settings
from gateway.store import policies as stored
from gateway.store.policies import PolicyVersion
from gateway.store.session import Database
from policies.load import PolicyFile, refuse_failures
from policies.testing import judge_of, run_tests

_PAGE = 100
Answer = TypeVar("Answer")


async def with_registry(
    settings: Settings, database: Database, ask: Callable[[PolicyRegistry], Awaitable[Answer]]
) -> Answer:
    """Return what `ask` makes of the registry; replicas hear of what it changes."""

    async def trial(bundles: Mapping[str, bytes]) -> None:
        heads = await decoded(bundles)
        await _prove(heads)
        bound(await asyncio.to_thread(read_files, settings.policy), heads)

    news = PolicyNews(settings.redis_url)
    try:
        return await ask(PolicyRegistry(database, open_trust(settings), news.publish, trial))
    finally:
        await news.aclose()


async def _prove(heads: Sequence[Loaded]) -> None:
    """Run all tests of what is to be in force, those that give a text included."""
    async with open_panel() as panel:
        for file in heads:
            if isinstance(file, PolicyFile):
                refuse_failures(file, await run_tests(file.policy, file.tests, judge_of(panel)))


async def policies(registry: PolicyRegistry) -> list[dict[str, Any]]:
    """Return a line for each policy."""
    lines: list[dict[str, Any]] = []
    while found := await stored.listed(registry.database, _last(lines, "policy"), _PAGE):
        lines += [
            {
                "policy": each.policy_id,
                "kind": each.latest.kind,
                "active": each.active.version if each.active else None,
                "latest": each.latest.version,
                "state": str(each.latest.state),
                "versions": each.versions,
            }
            for each in found
        ]
    return lines


async def versions(registry: PolicyRegistry, policy_id: str) -> list[dict[str, Any]]:
    """Return a line for each version of a policy, newest first."""
    lines: list[dict[str, Any]] = []
    while found := await stored.versions(
        registry.database, policy_id, _last(lines, "version"), _PAGE
    ):
        lines += [version_row(each) for each in found]
    return lines


async def propose_file(
    registry: PolicyRegistry, source: str, note: bytes | None, name: str | None
) -> PolicyVersion:
    """Store the version in a file, if it is not there yet, and propose it."""
    candidate = await asyncio.to_thread(read_candidate, source)
    drafted = await registry.draft(candidate, operator(name), note)
    if drafted.state == State.PROPOSED:
        return drafted
    return await registry.move(Step.PROPOSE, candidate.id, candidate.version, operator(name))


async def activate_file(
    registry: PolicyRegistry, source: str, note: bytes | None, name: str | None
) -> PolicyVersion:
    """Store the version in a file and bring it into force."""
    candidate = await asyncio.to_thread(read_candidate, source)
    return await registry.install(candidate, operator(name), note)


def version_row(version: PolicyVersion) -> dict[str, Any]:
    """Return a version as a line of a table."""
    return {
        "policy": version.policy_id,
        "version": version.version,
        "state": str(version.state),
        "digest": version.digest,
        "author": version.author,
        "created_at": _minute(version.created_at),
        "decided_by": version.decided_by,
        "activated_at": _minute(version.activated_at),
    }


def _minute(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else None


def _last(lines: list[dict[str, Any]], key: str) -> str | None:
    return lines[-1][key] if lines else None
