"""`/healthz`, `/readyz` and `/metrics`: for the machines that look after this one.

Health says that the process lives; readiness says that a request sent now would be
judged, answered and recorded, and names what would not. Neither needs a key, and
neither says anything a caller wrote.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from classifiers.standing import Standing, State
from gateway.api.problems import json_response
from gateway.api.services import Services, services_of
from gateway.audit.witnesses import Standing as WitnessStanding
from gateway.errors import StoreUnavailable
from gateway.metrics import CONTENT_TYPE
from gateway.store import outbox
from gateway.store.outbox import State as Delivering
from policies.footing import Footing, footings

router = APIRouter()


@router.get("/healthz")
async def healthz() -> Response:
    """Say that the process lives."""
    return json_response({"status": "ok"}, 200, {})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Say whether a request would be served, and by what.

    A judge that is down leaves the gateway ready, unless a rule has it asked about every
    text and holds them back for want of its answer. Being asked again after a while, it can
    come back by itself; if an outage took every replica away, nobody would ask it.
    """
    services = services_of(request)
    policy = services.policies
    standing = services.panel.standing()
    rungs = _footings(services, standing)
    checks = {
        "database": await services.database.ready(),
        "ledger": services.ledger.would_record(policy.current),
        "model": await services.pipeline.runner.ready(),
        "accepting": not services.draining,
        "classifiers": not any(footing.stops for footing in rungs),
        "log_intact": services.log_tree.alarm is None,
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
        "policies": [
            {"id": each.id, "version": each.version, "digest": each.digest}
            for each in policy.book.policies.values()
        ],
        "log": _log(services),
        "classifiers": [_standing(each) for each in standing],
        "rungs": [_footing(footing) for footing in rungs],
        "degraded": await _degraded(services, standing),
    }
    return json_response(body, 200 if all(checks.values()) else 503, {})


async def _degraded(services: Services, standing: tuple[Standing, ...]) -> list[str]:
    """Name what does not work as it should, although requests are served."""
    policy = services.policies
    return [
        *(["limits"] if services.limits.degraded else []),
        *([] if services.ledger.healthy else ["log"]),
        *await _webhooks(services),
        *(f"policy {name} has expired" for name in policy.expired),
        *(each.classifier for each in standing if each.state is State.DOWN),
        *(f"witness {each.name}" for each in services.witnesses.standing if each.amiss),
    ]


def _log(services: Services) -> dict[str, Any]:
    tree = services.log_tree
    head, spool = tree.head, services.ledger.spool
    return {
        "key": tree.verifier_key,
        "signs": tree.signs,
        "checkpoint": head and {"origin": head.origin, "size": head.size},
        "witnesses": [_witness(each) for each in services.witnesses.standing],
        "alarm": tree.alarm and {"wrong": tree.alarm.wrong.value, "detail": tree.alarm.detail},
        "spool": spool
        and {"entries": spool.entries, "bytes": spool.size, "max_bytes": spool.max_bytes},
    }


def _witness(each: WitnessStanding) -> dict[str, Any]:
    return {
        "name": each.name,
        "state": each.state.value,
        "since": datetime.fromtimestamp(each.since, UTC).isoformat(),
        "detail": each.detail or None,
        "checkpoint_size": each.size,
    }


def _footings(services: Services, standing: tuple[Standing, ...]) -> tuple[Footing, ...]:
    panel = services.panel
    down = {each.classifier for each in standing if each.state is State.DOWN}
    return footings(services.policies.current, panel.covered, panel.on_request, down)


def _standing(each: Standing) -> dict[str, Any]:
    since = None if each.since is None else datetime.fromtimestamp(each.since, UTC).isoformat()
    return {
        "id": each.classifier,
        "asked": "in doubt" if each.judge else "always",
        "state": each.state.value,
        "since": since,
        "error": each.error,
    }


def _footing(footing: Footing) -> dict[str, Any]:
    return {
        "rule": footing.rule,
        "active": list(footing.active),
        "degraded": footing.degraded,
        "missing": list(footing.missing),
        "fallback": footing.fallback.name.lower() if footing.fallback is not None else None,
    }


async def _webhooks(services: Services) -> list[str]:
    """Return what is wrong with telling endpoints; nobody's request waits for that."""
    if services.consequences.webhooks.stopped:
        return ["webhooks have stopped"]
    undelivered = await _undelivered(services)
    dead = sorted(name for (name, state), count in undelivered.items() if state == Delivering.DEAD)
    return [f"webhook {name} was given up" for name in dead]


async def _undelivered(services: Services) -> dict[tuple[str, str], int]:
    if not services.consequences.webhooks.endpoints:
        return {}
    try:
        return await outbox.counted(services.database)
    except StoreUnavailable:
        return {}  # `database` says so


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the Prometheus exposition."""
    services = services_of(request)
    services.metrics.in_flight.set(services.in_flight)
    services.metrics.policy_stale.set(1 if services.policies.refused else 0)
    services.metrics.log(services.log_tree, services.ledger.spool)
    services.metrics.reviews_waiting.set(services.reviews.waiting)
    services.metrics.undelivered(await _undelivered(services))
    services.metrics.witnesses(services.witnesses.standing)
    standing = services.panel.standing()
    services.metrics.panel(standing, _footings(services, standing))
    return Response(services.metrics.render(), 200, media_type=CONTENT_TYPE)
