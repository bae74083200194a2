"""What the routes for operators share: answers, lists, and a reason for what is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.body import read_object
from gateway.api.fields import Wire, checked
from gateway.api.gates import deny
from gateway.api.problems import json_response
from gateway.api.services import Services, services_of
from gateway.errors import BadRequest, GatewayError

_PAGE, _MAX_PAGE = 20, 100


class _Reasoned(Wire):
    reason: Annotated[str, Field(min_length=1, max_length=500)]


async def answered(
    request: Request, endpoint: str, work: Callable[[Services], Awaitable[dict[str, Any]]]
) -> Response:
    """Return what `work` answers, or the error that it raises, which is recorded."""
    request.scope["endpoint_name"] = endpoint
    try:
        body = await work(services_of(request))
    except GatewayError as error:
        return await deny(request, endpoint, error)
    return json_response(body, 200, {})


async def body_of(
    request: Request, services: Services, *, optional: bool = False
) -> dict[str, Any]:
    """Return the request's body. Raises `BadRequest` if it is no JSON object."""
    settings = services.settings
    return await read_object(
        request,
        max_bytes=settings.max_body_bytes,
        timeout_s=settings.body_timeout_s,
        optional=optional,
    )


async def reason_of(request: Request, services: Services) -> str:
    """Return why it is done, as the body says. Raises `BadRequest` if it does not."""
    return checked(_Reasoned, await body_of(request, services)).reason


def limit_of(request: Request) -> int:
    """Return how many are asked for. Raises `BadRequest` if that is no number from 1 to 100."""
    limit = request.query_params.get("limit", str(_PAGE))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MAX_PAGE):
        raise BadRequest(f"`limit` must be 1 to {_MAX_PAGE}", param="limit")
    return int(limit)


def listing(found: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Return OpenAI's list of the first `limit` of these; one more says that there are more."""
    return page_of(found[:limit], more=len(found) > limit)


def page_of(page: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """Return a page of OpenAI's list, and whether there are more."""
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": more,
    }


def seconds(moment: datetime | None) -> int | None:
    """Return a moment as Unix seconds, as OpenAI writes them."""
    return None if moment is None else int(moment.timestamp())


def without_nothing(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that say something."""
    return {name: value for name, value in fields.items() if value is not None}
