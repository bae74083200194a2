"""Server-sent events, and what happens when the reader goes away.

`EventStream` is a raw ASGI response: it pulls events, writes them, and closes its source
on every exit, so that a hang-up stops the model now rather than at the next write.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import orjson
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.api.call import Event

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
KEEP_ALIVE_S = 15.0


class HungUp(Exception):
    """The client went away."""


def named_event(event: Event) -> bytes:
    """Return a Responses API event: its type is the event's name."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))


def bare_event(event: Event) -> bytes:
    """Return a Chat Completions chunk."""
    return b"data: %b\n\n" % orjson.dumps(event)


@asynccontextmanager
async def until_hang_up(receive: Receive) -> AsyncIterator[None]:
    """Cancel the body when the client disconnects; raise `HungUp` in its place.

    The request body must have been read: from then on the only message that `receive`
    can deliver is the disconnect.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - always inside the server's request task
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
        if gone:
            await asyncio.sleep(0)  # the cancellation is on its way: take it here
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise HungUp from None
    finally:
        watcher.cancel()


class EventStream(Response):
    """Streams bytes until they end or the client hangs up.

    Args:
        source: Encoded events.
        headers: Response headers.
        cleanup: Run on every exit, also if not one event was pulled.
    """

    media_type = "text/event-stream"

    def __init__(
        self, source: AsyncGenerator[bytes], headers: dict[str, str], cleanup: AsyncExitStack
    ):
        super().__init__(None, 200, {**headers, "cache-control": "no-cache"})
        del self.headers["content-length"]
        self._source = source
        self._cleanup = cleanup
        self._quiet = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then every event as it comes."""
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with self._cleanup:
            keeper = asyncio.create_task(self._keep_alive(send))
            try:
                async with until_hang_up(receive), aclosing(self._source) as source:
                    await send(head)
                    async for event in source:
                        self._quiet = False
                        await send(_body(event, more=True))
                    await send(_body(b"", more=False))
            except HungUp:
                return
            finally:
                keeper.cancel()

    async def _keep_alive(self, send: Send) -> None:
        """Send a comment through long silences, so that proxies do not hang up."""
        while True:
            self._quiet = True
            await asyncio.sleep(KEEP_ALIVE_S)
            if self._quiet:
                await send(_body(KEEP_ALIVE, more=True))


def _body(part: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": part, "more_body": more}
