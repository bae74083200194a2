"""`/v1/organization/erasures` and `/holds`: what `ostiary audit erase` and `hold` do, over HTTP.

To erase, to hold and to release take the scope `admin`; an auditor can see what is held. The
records are those of the command line, with the key that did it. An end user is named by the
identifier that the application sends, or by the pseudonym of the log.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.administration import answered, body_of, limit_of, listing, reason_of, seconds
from gateway.api.fields import Wire, checked
from gateway.api.gates import admit_key
from gateway.api.services import Services
from gateway.audit import erasure
from gateway.errors import BadRequest
from gateway.store.retention import Hold
from gateway.store.times import from_text
from gateway.types import Scope

router = APIRouter()

_ROOT = "/v1/organization"
_ERASURES, _HOLDS = "erasures", "holds"

Project = Annotated[str, Field(min_length=1, max_length=128)]


class _EndUser(Wire):
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    project_id: Project
    safety_identifier: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    subject: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None


@router.post(f"{_ROOT}/{_ERASURES}")
async def erase(request: Request) -> Response:
    """Destroy the keys of all content of an end user; 409 if a hold keeps it."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.ADMIN)
        asked = checked(_EndUser, await body_of(request, services))
        subject = _subject(services, asked)
        if subject is None:
            raise BadRequest("name the end user: `safety_identifier` or `subject`", param="subject")
        keys = await erasure.erase(
            services.database,
            asked.project_id,
            subject,
            reason=asked.reason,
            actor=principal.key_id,
        )
        return {
            "object": "organization.erasure",
            "project_id": asked.project_id,
            "subject": subject,
            "keys_destroyed": keys,
        }

    return await answered(request, _ERASURES, work)


@router.get(f"{_ROOT}/{_HOLDS}")
async def list_holds(request: Request) -> Response:
    """List what is held, oldest first."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, Scope.ADMIN, Scope.AUDITOR)
        limit = limit_of(request)
        after = request.query_params.get("after", "")
        found = [each for each in await erasure.holds(services.database) if each.id > after]
        return listing([_hold(each) for each in found[: limit + 1]], limit)

    return await answered(request, _HOLDS, work)


@router.post(f"{_ROOT}/{_HOLDS}")
async def hold(request: Request) -> Response:
    """Keep content from erasure and expiry: an end user's, or else a whole project's."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.ADMIN)
        asked = checked(_EndUser, await body_of(request, services))
        made = await erasure.add_hold(
            services.database,
            asked.project_id,
            _subject(services, asked),
            reason=asked.reason,
            actor=principal.key_id,
        )
        return _hold(made)

    return await answered(request, _HOLDS, work)


@router.post(f"{_ROOT}/{_HOLDS}/{{id}}/release")
async def release(request: Request, id: str) -> Response:
    """End a hold, for a reason."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.ADMIN)
        reason = await reason_of(request, services)
        ended = await erasure.release_hold(
            services.database, id, reason=reason, actor=principal.key_id
        )
        return {**_hold(ended), "released": True}

    return await answered(request, _HOLDS, work)


def _subject(services: Services, asked: _EndUser) -> str | None:
    """Return the pseudonym of whoever is named, None for nobody. Raises `BadRequest`."""
    if asked.safety_identifier is not None and asked.subject is not None:
        raise BadRequest("name the end user once", param="subject")
    if asked.safety_identifier is not None:
        return services.ledger.subject_of(asked.project_id, asked.safety_identifier)
    return asked.subject


def _hold(held: Hold) -> dict[str, Any]:
    return {
        "object": "organization.hold",
        "id": held.id,
        "project_id": held.project,
        "subject": held.subject,
        "reason": held.reason,
        "actor": held.actor,
        "created_at": seconds(from_text(held.created_at)),
    }
