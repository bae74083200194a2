"""Request ids, timing headers and the access log. Never decides anything."""

from __future__ import annotations

import time

import structlog
import uuid_utils
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import Metrics

_API_VERSION = b"2020-10-01"  # the wire version that OpenAI's API has always named
_log = structlog.get_logger("ostiary.access")


def new_request_id() -> str:
    """Return `req_` and the 32 hex digits of a UUIDv7, which sorts by time."""
    return f"req_{uuid_utils.uuid7().hex}"


class RequestIdentity:
    """Gives every HTTP request an id and every response its identity headers."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_identity(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                elapsed_ms = (time.perf_counter() - started) * 1000
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"openai-processing-ms", b"%d" % elapsed_ms),
                    (b"openai-version", _API_VERSION),
                ]
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_identity)
        finally:
            structlog.contextvars.unbind_contextvars("request_id")
            seconds = time.perf_counter() - started
            endpoint = scope.get("endpoint_name", "other")
            self._metrics.request(endpoint, status, seconds)
            _log.debug(
                "request_served",
                method=scope["method"],
                endpoint=endpoint,
                status=status,
                duration_ms=round(seconds * 1000, 1),
            )
