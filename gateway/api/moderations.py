"""`POST /v1/moderations`: the panel's scores, recorded like every decision."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from classifiers.types import Passage, Source
from gateway.api.fields import Wire, checked, text_of
from gateway.api.gates import deny, enter, estimated_tokens
from gateway.api.moderation_result import CATEGORIES, MODERATION_MODEL, moderation_result
from gateway.api.problems import as_gateway_error, error_response, json_response
from gateway.api.services import Services, services_of
from gateway.errors import BadRequest, EngineUnavailable, GatewayError
from gateway.exchange import Exchange
from gateway.limits import Quota
from model_runner.types import Message, Prompt, Role
from policies.types import Decision

router = APIRouter()
_log = structlog.get_logger("ostiary.api")


class _Request(Wire):
    input: str | list[Any]
    model: str | None = None


@router.post("/v1/moderations")
async def create_moderation(request: Request) -> Response:
    """Score texts in the 13 moderation categories."""
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
    exchange = Exchange(
        id=request.scope["state"]["request_id"],
        principal=principal,
        prompt=Prompt(MODERATION_MODEL, tuple(Message(Role.USER, text) for text in texts)),
        policy=services.policies.current,
        endpoint="moderations",
        stream=False,
        runner="none",
    )
    return texts, exchange, quota


async def _judge(services: Services, texts: list[str], exchange: Exchange) -> list[Decision]:
    passages = [Passage(Source.USER, text) for text in texts]
    decisions = await services.pipeline.moderate(exchange, passages)
    if any(decision.scores.get(name, 0.0) is None for decision in decisions for name in CATEGORIES):
        raise EngineUnavailable("a classifier gave no answer", code="classifier_unavailable")
    return decisions


def _texts(value: str | list[Any]) -> list[str]:
    """Return the texts to score; content parts are one text, strings are one each."""
    if isinstance(value, str):
        return [value]
    if not value:
        raise BadRequest("`input` must not be empty", param="input")
    if all(isinstance(text, str) for text in value):
        return list(value)
    return [text_of(value, "input", frozenset({"text"}))]
