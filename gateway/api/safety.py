"""`/v1/safety`: alerts and cases, as the official client's `client.safety` reads them.

A project sees its own. Who may review sees all, and lists them under `/v1/organization`.

Source: `openai.types.safety`, openai 3.54.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.administration import answered, limit_of, listing, seconds
from gateway.api.gates import admit_key
from gateway.api.services import Services
from gateway.errors import NotFound
from gateway.misalignment import explanation
from gateway.store import notices
from gateway.store.notices import Alert
from gateway.types import Principal, Scope

router = APIRouter()

_ENDPOINT = "safety"


@router.get("/v1/safety/alerts/{id}")
async def retrieve_alert(request: Request, id: str) -> Response:
    """Return an alert of the caller's project."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.CALLER, Scope.REVIEWER)
        alert = await notices.alert_with_id(services.database, id)
        if alert is None or not _sees(principal, alert.project):
            raise NotFound("there is no such safety alert")
        return _alert(alert)

    return await answered(request, _ENDPOINT, work)


@router.get("/v1/safety/cases/{id}")
async def retrieve_case(request: Request, id: str) -> Response:
    """Return a notice about an end user of the caller's project."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.CALLER, Scope.REVIEWER)
        case = await notices.case_with_id(services.database, id)
        if case is None or not _sees(principal, case.project):
            raise NotFound("there is no such safety case")
        return {
            "object": "safety.case",
            "id": case.id,
            "created_at": seconds(case.created_at),
            "entity_identifier": case.entity,
            "reason": case.reason,
            "notice": {"type": case.notice},
        }

    return await answered(request, _ENDPOINT, work)


@router.get("/v1/organization/alerts")
async def list_alerts(request: Request) -> Response:
    """List alerts of all projects or one, the newest first, with what the policy calls them."""

    async def work(services: Services) -> dict[str, Any]:
        await admit_key(request, services, Scope.REVIEWER, Scope.AUDITOR)
        limit, query = limit_of(request), request.query_params
        found = await notices.alerts(
            services.database, query.get("project_id"), limit + 1, query.get("after")
        )
        return listing([{**_alert(each), **_ours(each)} for each in found], limit)

    return await answered(request, _ENDPOINT, work)


def _sees(principal: Principal, project: str) -> bool:
    return principal.project == project or principal.may(Scope.REVIEWER)


def _alert(alert: Alert) -> dict[str, Any]:
    """Return an alert in the hosted API's shape; `detailed_explanation` is never there."""
    return {
        "object": "safety.alert",
        "id": alert.id,
        "created_at": seconds(alert.created_at),
        "error_type": alert.error_type,
        "model": alert.model,
        "reason": explanation(alert.error_type),
        "request_id": alert.request_id,
        "response_id": alert.response_id,
        "request_paused": alert.request_paused,
    }


def _ours(alert: Alert) -> dict[str, Any]:
    return {
        "project": alert.project,
        "category": alert.category,
        "rule": alert.rule,
        "decision_id": alert.decision_id,
        "end_user": alert.subject,
    }
