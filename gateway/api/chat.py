"""`POST /v1/chat/completions`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.chat_reply import ChatWriter
from gateway.api.chat_request import read_chat_request
from gateway.api.converse import Endpoint, converse
from gateway.api.sse import bare_event

router = APIRouter()
_ENDPOINT = Endpoint(
    name="chat",
    read=read_chat_request,
    writer=ChatWriter,
    encode=bare_event,
    ends_with_done=True,
)


@router.post("/v1/chat/completions")
async def create_chat_completion(request: Request) -> Response:
    """Create a chat completion."""
    return await converse(request, _ENDPOINT)
