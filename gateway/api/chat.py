"""`POST /v1/chat/completions`."""

from __future__ import annotations

from starlette.routing import Route

from gateway.api.chat_reply import ChatWriter
from gateway.api.chat_request import read_chat_request
from gateway.api.converse import Conversation, Endpoint
from gateway.api.sse import bare_event

_ENDPOINT = Endpoint(
    name="chat",
    read=read_chat_request,
    writer=ChatWriter,
    encode=bare_event,
    ends_with_done=True,
)
route = Route("/v1/chat/completions", Conversation(_ENDPOINT), methods=["POST"])
