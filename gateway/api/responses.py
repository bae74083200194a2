"""`POST /v1/responses`."""

from __future__ import annotations

from starlette.routing import Route

from gateway.api.converse import Conversation, Endpoint
from gateway.api.responses_reply import ResponsesWriter
from gateway.api.responses_request import read_responses_request
from gateway.api.sse import named_event

_ENDPOINT = Endpoint(
    name="responses",
    read=read_responses_request,
    writer=ResponsesWriter,
    encode=named_event,
    ends_with_done=False,
)
route = Route("/v1/responses", Conversation(_ENDPOINT), methods=["POST"])
