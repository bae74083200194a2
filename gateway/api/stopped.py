"""`/v1/organization/stopped_conversations`: what was stopped, and letting it go on."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.administration import answered, limit_of, listing, reason_of, seconds
from gateway.api.gates import admit_key
from gateway.api.services import Services
from gateway.errors import NotFound
from gateway.store import stops
from gateway.store.stops import Stop
from gateway.types import Scope

router = APIRouter()

_ROOT = "/v1/organization/stopped_conversations"
_ENDPOINT = "stopped_conversations"


@router.get(_ROOT)
async def list_stopped(request: Request) -> Response:
    """List conversations that were stopped, the newest first."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, Scope.REVIEWER, Scope.AUDITOR)
        limit = limit_of(request)
        project = request.query_params.get("project_id")
        found = await stops.listed(services.database, project, limit + 1)
        return listing([stop_object(stop) for stop in found], limit)

    return await answered(request, _ENDPOINT, work)


@router.get(_ROOT + "/{id}")
async def show_stopped(request: Request, id: str) -> Response:
    """Show one of them."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, Scope.REVIEWER, Scope.AUDITOR)
        return stop_object(found_or_not(await stops.with_id(services.database, id)))

    return await answered(request, _ENDPOINT, work)


@router.post(_ROOT + "/{id}/lift")
async def lift_stopped(request: Request, id: str) -> Response:
    """Let one go on, for a `reason`."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.REVIEWER)
        reason = await reason_of(request, services)
        lifted = await services.consequences.stops.lift(id, reason=reason, actor=principal.key_id)
        return stop_object(found_or_not(lifted))

    return await answered(request, _ENDPOINT, work)


def found_or_not(stop: Stop | None) -> Stop:
    """Return the stop. Raises `NotFound` if there is none."""
    if stop is None:
        raise NotFound("there is no such stopped conversation, or it was lifted")
    return stop


def stop_object(stop: Stop) -> dict[str, Any]:
    """Return a stop as it is listed: no content, and nobody's name."""
    return {
        "object": "organization.stopped_conversation",
        "id": stop.id,
        "project": stop.project,
        "request_id": stop.request_id,
        "decision_id": stop.decision_id,
        "rule": stop.rule,
        "error_type": stop.error_type,
        "end_user": stop.subject,
        "stopped_at": seconds(stop.stopped_at),
        "expires_at": seconds(stop.expires_at),
        "lifted_at": seconds(stop.lifted_at),
        "lifted_by": stop.lifted_by,
        "reason": stop.reason,
    }
