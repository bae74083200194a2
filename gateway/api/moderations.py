"""`POST /v1/moderations`: the panel's scores, recorded like every decision.

A score that nobody gave is not reported as a low one. OpenAI's format has no word for it,
so the request is refused, and the error names the text and the category.
"""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from classifiers.types import TOO_LONG, Passage, Source
from gateway.api.fields import Wire, checked, text_of
from gateway.api.gates import deny, enter, estimated_tokens
from gateway.api.governing import govern
from gateway.api.moderation_result import (
    MODERATION_MODEL,
    NOT_SCORED,
    UNREADABLE,
    Gap,
    gap,
    moderation_result,
)
from gateway.api.problems import as_gateway_error, error_response, json_response
from gateway.api.services import Services, services_of
from gateway.errors import AuditUnavailable, BadRequest, EngineUnavailable, GatewayError
from gateway.exchange import Exchange
from gateway.keeping import Keeping
from gateway.limits import Quota
from model_runner.types import Message, Prompt, Role
from policies.cascade import NOT_ASKED
from policies.circumstances import Circumstances
from policies.types import Decision

router = APIRouter()
_log = structlog.get_logger("ostiary.api")


class _Request(Wire):
    input: str | list[Any]
    model: str | None = None


@router.post("/v1/moderations")
async def create_moderation(request: Request) -> Response:
    """Score texts in the 13 moderation categories; each is judged as input, by itself."""
    services = services_of(request)
    request.scope["endpoint_name"] = "moderations"
    try:
        texts, exchange, quota = await _admit(request, services)
    except GatewayError as error:
        return await deny(request, "moderations", error)
    headers = quota.headers()
    services.in_flight += 1
    try:
        decisions = await _judge(services, texts, exchange)
    except Exception as error:  # noqa: BLE001 - the boundary: it becomes an OpenAI error here
        told = as_gateway_error(error)
        _log.warning("moderation_failed", error=type(error).__name__)
        if isinstance(error, GatewayError) and not isinstance(error, AuditUnavailable):
            headers["x-ostiary-decision-id"] = exchange.decision_ids[0]
        return error_response(told, headers)
    finally:
        services.in_flight -= 1
    headers["x-ostiary-decision-id"] = exchange.decision_ids[0]
    body = {
        "id": f"modr-{exchange.id.removeprefix('req_')}",
        "model": MODERATION_MODEL,
        "results": [moderation_result(decision.scores) for decision in decisions],
    }
    return json_response(body, 200, headers)


async def _admit(request: Request, services: Services) -> tuple[list[str], Exchange, Quota]:
    settings = services.settings
    principal, body = await enter(request, services)
    texts = _texts(checked(_Request, body).input)
    if len(texts) > settings.max_messages:
        raise BadRequest(f"`input` has more than {settings.max_messages} texts", param="input")
    quota = await services.limits.take(principal, estimated_tokens(sum(map(len, texts))))
    given = Circumstances(endpoint="moderations", model=MODERATION_MODEL)
    governed = govern(request.headers, services, principal, given)
    exchange = Exchange(
        id=request.scope["state"]["request_id"],
        principal=principal,
        prompt=Prompt(MODERATION_MODEL, tuple(Message(Role.USER, text) for text in texts)),
        policy=governed.policy,
        endpoint="moderations",
        stream=False,
        runner="none",
        circumstances=governed.circumstances,
        keeping=Keeping(wanted=governed.retain),
    )
    return texts, exchange, quota


async def _judge(services: Services, texts: list[str], exchange: Exchange) -> list[Decision]:
    passages = [Passage(Source.USER, text) for text in texts]
    decisions = await services.pipeline.moderate(exchange, passages)
    for index, decision in enumerate(decisions):
        if missing := gap(decision):
            raise _refusal(missing, f"input[{index}]" if len(texts) > 1 else "input")
    return decisions


def _refusal(missing: Gap, param: str) -> GatewayError:
    """Return what the caller is told; what would come out the same again is not a 503."""
    if missing.reason == TOO_LONG:
        return BadRequest(f"`{param}` is longer than the classifiers read", param=param)
    if missing.code == UNREADABLE:
        return BadRequest(f"`{param}`: {missing.message}", param=param, code=UNREADABLE)
    final = {"x-should-retry": "false"} if missing.reason == NOT_ASKED else {}
    return EngineUnavailable(missing.message, param=param, code=NOT_SCORED, headers=final)


def _texts(value: str | list[Any]) -> list[str]:
    """Return the texts to score; content parts are one text, strings are one each."""
    if isinstance(value, str):
        return [value]
    if not value:
        raise BadRequest("`input` must not be empty", param="input")
    if all(isinstance(text, str) for text in value):
        return list(value)
    return [text_of(value, "input", frozenset({"text"}))]
