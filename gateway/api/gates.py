"""The gates before the pipeline, and the record of who was turned away there."""

from __future__ import annotations

from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.body import read_object
from gateway.api.governing import Governed
from gateway.api.problems import error_response
from gateway.api.services import Services, services_of
from gateway.audit.records import denied
from gateway.enforcement import check_standing
from gateway.errors import AuditUnavailable, Forbidden, GatewayError, Overloaded
from gateway.types import Principal, Scope
from policies.ladder import Sanction, Standing

_CHARS_PER_TOKEN = 4
_log = structlog.get_logger("ostiary.api")


def check_room(services: Services) -> None:
    """Raise `Overloaded` if there is no room for one more, or we are shutting down."""
    if services.draining:
        raise Overloaded("the server is shutting down", retry_after_s=1)
    if services.in_flight >= services.settings.max_concurrent:
        raise Overloaded("too many requests are in flight", retry_after_s=1)


async def admit_key(request: Request, services: Services, *scopes: Scope) -> Principal:
    """Return whose key this is.

    Raises:
        Unauthenticated: If no key in force was sent.
        Forbidden: If the key has none of `scopes`.
        StoreUnavailable: If nobody can tell.
    """
    principal = await services.identity.authenticate(request.headers.get("authorization"))
    request.scope["state"]["principal"] = principal
    if not any(principal.may(scope) for scope in scopes):
        names = " or ".join(f"`{scope.value}`" for scope in scopes)
        raise Forbidden(f"this API key lacks the scope {names}")
    return principal


async def enter(request: Request, services: Services) -> tuple[Principal, dict[str, Any]]:
    """Pass the gates that every request to a model passes; return whose it is and its body.

    Raises:
        GatewayError: As each gate does; the body is read only of who may ask.
    """
    check_room(services)
    principal = await admit_key(request, services, Scope.CALLER)
    settings = services.settings
    body = await read_object(
        request, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s
    )
    return principal, body


async def admit_end_user(request: Request, services: Services, governed: Governed) -> Standing:
    """Return where the end user stands whom a request is for, if they are served.

    Before the key's quota is asked, so that who is not served uses up nothing of it.

    Raises:
        IdentifierBlocked: If they are suspended or deactivated.
        IdentifierThrottled: If they are throttled, and over what that leaves them.
        StoreUnavailable: If nobody can tell.
    """
    state = request.scope["state"]
    principal: Principal = state["principal"]
    subject = governed.circumstances.end_user
    state["subject"] = subject
    standing = await services.enforcement.standing(
        principal.project, subject, governed.policy.ladders
    )
    check_standing(standing)
    if subject is not None and standing.sanction is Sanction.THROTTLE:
        await services.limits.throttle(principal, subject)
    return standing


def estimated_tokens(chars: int) -> int:
    """Return what a text of so many code points is reserved as, before it is counted."""
    return chars // _CHARS_PER_TOKEN + 1


async def deny(request: Request, endpoint: str, error: GatewayError) -> Response:
    """Record that a request was turned away, and answer it.

    The record is durable before the answer; without a log there is no answer but 503.
    """
    services = services_of(request)
    state = request.scope["state"]
    entry = denied(
        error,
        request_id=state["request_id"],
        endpoint=endpoint,
        principal=state.get("principal"),
        subject=state.get("subject"),
    )
    try:
        await services.ledger.append(entry)
    except AuditUnavailable as unavailable:
        _log.warning("denial_not_recorded", reason=str(unavailable))
        return error_response(unavailable, {})
    return error_response(error, {"x-ostiary-decision-id": entry.id})
