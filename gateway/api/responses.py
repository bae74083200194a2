"""`POST /v1/responses`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.converse import Endpoint, converse
from gateway.api.responses_reply import ResponsesWriter
from gateway.api.responses_request import read_responses_request
from gateway.api.sse import named_event

router = APIRouter()
_ENDPOINT = Endpoint(
    name="responses",
    read=read_responses_request,
    writer=ResponsesWriter,
    encode=named_event,
    ends_with_done=False,
)


@router.post("/v1/responses")
async def create_response(request: Request) -> Response:
    """Create a model response."""
    return await converse(request, _ENDPOINT)
