"""`/healthz`, `/readyz` and `/metrics`: for the machines that look after this one.

Health says that the process lives; readiness says that a request sent now would be
judged, answered and recorded, and names what would not. Neither needs a key, and
neither says anything a caller wrote.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.problems import json_response
from gateway.api.services import services_of
from gateway.metrics import CONTENT_TYPE

router = APIRouter()


@router.get("/healthz")
async def healthz() -> Response:
    """Say that the process lives."""
    return json_response({"status": "ok"}, 200, {})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Say whether a request would be served, and by what."""
    services = services_of(request)
    policy = services.policies
    checks = {
        "database": await services.database.ready(),
        "ledger": services.ledger.healthy,
        "model": await services.pipeline.runner.ready(),
        "accepting": not services.draining,
    }
    body = {
        "status": "ready" if all(checks.values()) else "not ready",
        "checks": checks,
        "model": services.pipeline.runner.model,
        "runner": services.pipeline.runner.kind,
        "policy": {
            "id": policy.current.id,
            "version": policy.current.version,
            "digest": policy.current.digest,
            "refused_file": policy.refused,
        },
        "degraded": ["limits"] if services.limits.degraded else [],
    }
    return json_response(body, 200 if all(checks.values()) else 503, {})


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the Prometheus exposition."""
    services = services_of(request)
    services.metrics.in_flight.set(services.in_flight)
    services.metrics.policy_stale.set(1 if services.policies.refused else 0)
    return Response(services.metrics.render(), 200, media_type=CONTENT_TYPE)
