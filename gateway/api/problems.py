"""Exceptions and refused prompts -> OpenAI error objects. Knows half-sent streams.

The SDK retries 408, 409, 429 and 5xx and obeys `x-should-retry`; whatever would come
out the same again says `x-should-retry: false`.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from gateway.api.refused import refusal_error
from gateway.errors import (
    BadRequest,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    GatewayError,
)
from gateway.pipeline import Refusal
from model_runner.types import (
    PromptRejected,
    RunnerError,
    RunnerTimeout,
    RunnerUnavailable,
)
from policies.effects import STOPPED

FORBIDDEN_CODES = frozenset({STOPPED, "identifier_blocked"})


def as_gateway_error(error: BaseException) -> GatewayError:
    """Return what the caller is told of `error`; details of our own stay in the log."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, PromptRejected):
        return BadRequest(str(error), code=error.code, param=error.param)
    if isinstance(error, RunnerTimeout):
        return EngineTimeout("the model did not answer in time")
    if isinstance(error, RunnerUnavailable):
        return EngineUnavailable("the model is not available", retry_after_s=1)
    if isinstance(error, RunnerError):
        return EngineFailed("the model's answer was not well-formed and was withheld")
    return GatewayError("something went wrong on our side")


def error_object(error: GatewayError) -> dict[str, Any]:
    """Return the `{"error": ...}` body."""
    return {
        "error": {
            "message": str(error),
            "type": error.type,
            "param": error.param,
            "code": error.code,
            **error.details,
        }
    }


def error_response(error: GatewayError, headers: dict[str, str]) -> Response:
    """Return the HTTP response for `error`."""
    headers = {**headers, **error.headers}
    if error.status == 408:
        headers["connection"] = "close"  # or the rest of the body would be waited for
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s + 0.5)))
    elif error.status in {408, 500, 502}:
        headers["x-should-retry"] = "true"
    elif error.status < 500:
        headers["x-should-retry"] = "false"
    return json_response(error_object(error), error.status, headers)


def refusal_response(refusal: Refusal, headers: dict[str, str]) -> Response:
    """Return the HTTP response for what was blocked before anything of a reply was sent."""
    decision = refusal.decision
    body = {
        "error": {
            **refusal_error(refusal),
            "param": "input",
            "developer_message": decision.developer_message or None,
            "decision_id": refusal.decision_id,
            "policy": decision.policy_id,
            "rule": next(iter(decision.determining_rules), None),
            "stage": decision.stage.value,
        }
    }
    status = 403 if decision.code in FORBIDDEN_CODES else 400
    own = {"x-should-retry": "false", "x-ostiary-decision-id": refusal.decision_id}
    return json_response(body, status, {**headers, **own})


def json_response(body: object, status: int, headers: dict[str, str]) -> Response:
    """Return `body` as a JSON response."""
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
