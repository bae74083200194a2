"""A stand-in for an inference engine: answers at once, with the same 64 tokens.

It measures what is in front of it, so it does as little as Python can: a raw ASGI app
that sends bytes made beforehand. Run it with `python -m benchmarks.engine --port 9000`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import uvicorn

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MODEL = "stand-in"
ANSWER = (
    "A gateway stands in front of the model and reads every request before it arrives. It also "
    "reads each answer while it is written, so that nothing leaves the house unread. This text "
    "has sixty four words, one for each token, and it says the same thing every time so that "
    "only the road it takes can make any difference to you or me."
)
TOKENS = re.findall(r"\s*\S+", ANSWER)
USAGE = {"prompt_tokens": 16, "completion_tokens": len(TOKENS), "total_tokens": 80}


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _event({**_HEAD, "object": "chat.completion.chunk", "choices": [choice]})


_HEAD = {"id": "chatcmpl-0", "created": 1700000000, "model": MODEL}
_EVENTS = [
    _chunk({"role": "assistant", "content": ""}),
    *(_chunk({"content": token}) for token in TOKENS),
    _chunk({}, "stop"),
]
_USAGE_EVENT = _event({**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
_DONE = b"data: [DONE]\n\n"
_MESSAGE = {"role": "assistant", "content": ANSWER}
_UNARY = orjson.dumps(
    {
        **_HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
        "usage": USAGE,
    }
)
_MODELS = orjson.dumps(
    {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "benchmarks"}]}
)


class StandIn:
    """The ASGI app.

    Args:
        token_ms: Time between two tokens of a streamed answer, milliseconds.
    """

    def __init__(self, token_ms: float = 0.0) -> None:
        self._token_s = token_ms / 1000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"unsupported scope `{scope['type']}`")  # uvicorn: no lifespan
        if scope["path"] == "/v1/models":
            await _send_json(send, 200, _MODELS)
        elif scope["path"] != "/v1/chat/completions":
            await _send_json(send, 404, b'{"error":{"message":"no such path"}}')
        else:
            await self._answer(orjson.loads(await _body(receive)), send)

    async def _answer(self, request: dict[str, Any], send: Send) -> None:
        if not request.get("stream"):
            await _send_json(send, 200, _UNARY)
            return
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in _EVENTS:
            if self._token_s:
                await asyncio.sleep(self._token_s)
            await send({"type": "http.response.body", "body": event, "more_body": True})
        with_usage = (request.get("stream_options") or {}).get("include_usage")
        rest = _USAGE_EVENT + _DONE if with_usage else _DONE
        await send({"type": "http.response.body", "body": rest})


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def _send_json(send: Send, status: int, body: bytes) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-ms", type=float, default=0.0, help="time between two tokens")
    arguments = parser.parse_args()
    uvicorn.run(
        StandIn(arguments.token_ms),
        host=arguments.host,
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
