"""`GET /v1/models` and `GET /v1/models/{model}`: what this gateway serves."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.gates import admit_key, deny
from gateway.api.moderation_result import MODERATION_MODEL
from gateway.api.problems import json_response
from gateway.api.services import services_of
from gateway.errors import GatewayError, NotFound
from gateway.types import Scope

router = APIRouter()


@router.get("/v1/models")
async def list_models(request: Request) -> Response:
    """List the models."""
    request.scope["endpoint_name"] = "models"
    try:
        await admit_key(request, services_of(request), Scope.CALLER)
    except GatewayError as error:
        return await deny(request, "models", error)
    return json_response({"object": "list", "data": _models(request)}, 200, {})


@router.get("/v1/models/{model:path}")
async def retrieve_model(request: Request, model: str) -> Response:
    """Return one model."""
    request.scope["endpoint_name"] = "models"
    try:
        await admit_key(request, services_of(request), Scope.CALLER)
        found = next((entry for entry in _models(request) if entry["id"] == model), None)
        if found is None:
            raise NotFound(
                f"the model `{model[:80]}` does not exist", param="model", code="model_not_found"
            )
    except GatewayError as error:
        return await deny(request, "models", error)
    return json_response(found, 200, {})


def _models(request: Request) -> list[dict[str, Any]]:
    served = services_of(request).pipeline.runner.model
    return [
        {"id": model, "object": "model", "created": 0, "owned_by": "ostiary"}
        for model in (served, MODERATION_MODEL)
    ]
