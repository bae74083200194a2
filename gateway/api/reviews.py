"""`/v1/organization/reviews`: tool calls that wait for a person, and deciding about them.

The arguments of a call come from the vault, and that somebody read them is recorded first.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.administration import (
    answered,
    body_of,
    limit_of,
    listing,
    reason_of,
    seconds,
)
from gateway.api.fields import Wire, checked
from gateway.api.gates import admit_key
from gateway.api.services import Services
from gateway.audit.access import open_content
from gateway.errors import BadRequest, NotFound
from gateway.reviewing import decide
from gateway.store import reviews
from gateway.store.reviews import Review, State
from gateway.types import Scope

router = APIRouter()

_ROOT = "/v1/organization/reviews"
_ENDPOINT = "reviews"


class _Decision(Wire):
    decision: Literal["approve", "reject"]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


@router.get(_ROOT)
async def list_reviews(request: Request) -> Response:
    """List reviews, the newest first; `state=open` those that wait."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, Scope.REVIEWER, Scope.AUDITOR)
        limit, query = limit_of(request), request.query_params
        state = _state(query.get("state"))
        found = await reviews.listed(services.database, state, query.get("project_id"), limit + 1)
        return listing([_object(each) for each in found], limit)

    return await answered(request, _ENDPOINT, work)


@router.get(_ROOT + "/{id}")
async def show_review(request: Request, id: str) -> Response:
    """Show one of them, without what the call says."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, Scope.REVIEWER, Scope.AUDITOR)
        return _object(await _review(services, id))

    return await answered(request, _ENDPOINT, work)


@router.post(_ROOT + "/{id}/content")
async def open_review(request: Request, id: str) -> Response:
    """Return what the call says, for a `reason`."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.REVIEWER)
        review = await _review(services, id)
        reason = await reason_of(request, services)
        opened = await open_content(
            services.vault, review.decision_id, reason=reason, actor=principal.key_id
        )
        said = [each for record in opened for field in record.content for each in field.said]
        return {"object": "organization.review.content", "id": review.id, "data": said}

    return await answered(request, _ENDPOINT, work)


@router.post(_ROOT + "/{id}")
async def decide_review(request: Request, id: str) -> Response:
    """Approve or reject one that waits, for a `reason`."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.REVIEWER)
        said = checked(_Decision, await body_of(request, services))
        found = await decide(
            services.database,
            id,
            approve=said.decision == "approve",
            by=principal.key_id,
            reason=said.reason,
        )
        services.reviews.wake(id)
        return _object(found)

    return await answered(request, _ENDPOINT, work)


async def _review(services: Services, id: str) -> Review:
    found = await reviews.look(services.database, id)
    if found is None:
        raise NotFound(f"there is no review `{id[:80]}`")
    return found


def _state(name: str | None) -> State | None:
    if name is None:
        return None
    if name not in set(State):
        raise BadRequest(f"`state` must be one of {', '.join(State)}", param="state")
    return State(name)


def _object(review: Review) -> dict[str, Any]:
    return {
        "object": "organization.review",
        "id": review.id,
        "project": review.project,
        "state": review.state.value,
        "tool": review.tool,
        "rule": review.rule,
        "request_id": review.request_id,
        "decision_id": review.decision_id,
        "requested_by": review.key_id,
        "end_user": review.subject,
        "opened_at": seconds(review.opened_at),
        "expires_at": seconds(review.expires_at),
        "approvals": review.approvals,
        "approved_first_by": review.first_by,
        "decided_by": review.decided_by,
        "decided_at": seconds(review.decided_at),
        "reason": review.reason,
    }
