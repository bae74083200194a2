"""`/v1/organization/policies`: the registry over HTTP, with OpenAI's lists and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.administration import answered, body_of, limit_of, listing
from gateway.api.fields import Wire, checked
from gateway.api.gates import admit_key
from gateway.api.services import Services
from gateway.errors import BadRequest, NotFound
from gateway.notes import NoteError, parse_note
from gateway.policy_bundle import Candidate, candidate_of, files_of
from gateway.policy_lifecycle import Actor, Step, actor_of
from gateway.store import policies
from gateway.store.policies import PolicySummary, PolicyVersion
from gateway.types import Scope
from policies.bundle import MAX_FILES, SourceFile
from policies.load import PolicyError

router = APIRouter()

_ROOT = "/v1/organization/policies"
_READERS = (Scope.POLICY_EDITOR, Scope.POLICY_APPROVER, Scope.AUDITOR)
_ACTORS = (Scope.POLICY_EDITOR, Scope.POLICY_APPROVER)
_STEPS = {step.value: step for step in (Step.PROPOSE, Step.APPROVE, Step.REJECT, Step.WITHDRAW)}

Note = Annotated[str, Field(max_length=100_000)]


class _File(Wire):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    text: str


class _Draft(Wire):
    files: Annotated[list[_File], Field(min_length=1, max_length=MAX_FILES)]
    note: Note | None = None


class _Move(Wire):
    note: Note | None = None
    reason: Annotated[str, Field(max_length=500)] | None = None


class _Rollback(Wire):
    version: Annotated[str, Field(max_length=32)] | None = None


@router.get(_ROOT)
async def list_policies(request: Request) -> Response:
    """List policies, in order of their ids."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, *_READERS)
        after, limit = request.query_params.get("after"), limit_of(request)
        found = await policies.listed(services.database, after, limit + 1)
        return listing([_policy(each) for each in found], limit)

    return await _answered(request, work)


@router.post(_ROOT)
async def draft_policy(request: Request) -> Response:
    """Store a version as a draft."""

    async def work(services: Services) -> dict[str, Any]:
        actor = actor_of(await admit_key(request, services, Scope.POLICY_EDITOR))
        draft = checked(_Draft, await body_of(request, services, optional=True))
        candidate = await asyncio.to_thread(_candidate, draft.files)
        stored = await services.registry.draft(candidate, actor, _bytes(draft.note))
        return _version(stored)

    return await _answered(request, work)


@router.get(_ROOT + "/{policy_id}")
async def retrieve_policy(request: Request, policy_id: str) -> Response:
    """Return one policy: which version is in force, and which came last."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, *_READERS)
        return _policy(await _summary(services, policy_id))

    return await _answered(request, work)


@router.get(_ROOT + "/{policy_id}/versions")
async def list_versions(request: Request, policy_id: str) -> Response:
    """List a policy's versions, newest first."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, *_READERS)
        after, limit = request.query_params.get("after"), limit_of(request)
        await _summary(services, policy_id)
        found = await policies.versions(services.database, policy_id, after, limit + 1)
        return listing([_version(each) for each in found], limit)

    return await _answered(request, work)


@router.get(_ROOT + "/{policy_id}/versions/{version}")
async def retrieve_version(request: Request, policy_id: str, version: str) -> Response:
    """Return one version with its files and its signatures."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, *_READERS)
        found = await services.registry.find(policy_id, version)
        files = files_of(await policies.bundle(services.database, found.digest))
        return {
            **_version(found),
            "files": [{"name": file.name, "text": file.content.decode()} for file in files],
            "note": found.note.decode() if found.note else None,
        }

    return await _answered(request, work)


@router.post(_ROOT + "/{policy_id}/versions/{version}/{step}")
async def move_version(request: Request, policy_id: str, version: str, step: str) -> Response:
    """Propose, approve, reject, withdraw or activate a version."""

    async def work(services: Services) -> dict[str, Any]:
        actor = actor_of(await admit_key(request, services, *_ACTORS))
        if step != Step.ACTIVATE and step not in _STEPS:
            raise NotFound(f"there is no step `{step[:80]}`")
        asked = checked(_Move, await body_of(request, services, optional=True))
        note, registry = _bytes(asked.note), services.registry
        if step == Step.ACTIVATE:
            return _version(await registry.activate(policy_id, version, actor, note))
        return _version(
            await registry.move(
                _STEPS[step], policy_id, version, actor, note=note, reason=asked.reason
            )
        )

    return await _answered(request, work)


@router.post(_ROOT + "/{policy_id}/rollback")
async def roll_back(request: Request, policy_id: str) -> Response:
    """Bring an earlier version back into force; returns it."""

    async def work(services: Services) -> dict[str, Any]:
        actor = await _approver(request, services)
        asked = checked(_Rollback, await body_of(request, services, optional=True))
        return _version(await services.registry.roll_back(policy_id, actor, asked.version))

    return await _answered(request, work)


@router.post(_ROOT + "/{policy_id}/retire")
async def retire(request: Request, policy_id: str) -> Response:
    """Take a policy out of force; returns the version that was."""

    async def work(services: Services) -> dict[str, Any]:
        actor = await _approver(request, services)
        await body_of(request, services, optional=True)
        return _version(await services.registry.retire(policy_id, actor))

    return await _answered(request, work)


async def _answered(
    request: Request, work: Callable[[Services], Awaitable[dict[str, Any]]]
) -> Response:
    """Answer with what `work` returns, or record and tell why not."""

    async def told(services: Services) -> dict[str, Any]:
        try:
            return await work(services)
        except PolicyError as error:
            wrong = "\n".join(error.lines())
            raise BadRequest(wrong, param="files", code="invalid_policy") from error
        except NoteError as error:
            raise BadRequest(str(error), param="note", code="invalid_signature") from error

    return await answered(request, "policies", told)


async def _approver(request: Request, services: Services) -> Actor:
    return actor_of(await admit_key(request, services, Scope.POLICY_APPROVER))


async def _summary(services: Services, policy_id: str) -> PolicySummary:
    found = await policies.summary(services.database, policy_id)
    if found is None:
        raise NotFound(f"there is no policy `{policy_id[:80]}`")
    return found


def _candidate(files: list[_File]) -> Candidate:
    return candidate_of([SourceFile(file.name, file.text.encode()) for file in files])


def _policy(summary: PolicySummary) -> dict[str, Any]:
    return {
        "object": "organization.policy",
        "id": summary.policy_id,
        "kind": summary.latest.kind,
        "versions": summary.versions,
        "active": _version(summary.active) if summary.active else None,
        "latest": _version(summary.latest),
    }


def _version(version: PolicyVersion) -> dict[str, Any]:
    """Return a version; its id is its number, which is unique in its policy."""
    lines = parse_note(version.note).signatures if version.note else ()
    return {
        "object": "organization.policy.version",
        "id": version.version,
        "policy": version.policy_id,
        "kind": version.kind,
        "digest": version.digest,
        "state": version.state,
        "author": version.author,
        "created_at": _seconds(version.created_at),
        "decided_by": version.decided_by,
        "decided_at": _seconds(version.decided_at),
        "reason": version.reason,
        "activated_at": _seconds(version.activated_at),
        "replaced": version.replaced,
        "signed_by": [line.name for line in lines],
    }


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _bytes(note: str | None) -> bytes | None:
    return None if note is None else note.encode("utf-8", "replace")
