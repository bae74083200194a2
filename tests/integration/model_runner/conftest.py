"""An engine on loopback that sends exactly the bytes a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

Script = Callable[["Call"], Awaitable[None]]


class Call:
    """One request as the engine saw it, and the connection to answer on."""

    def __init__(self, head: bytes, body: bytes, writer: asyncio.StreamWriter):
        self.head = head.decode().lower()
        self.path = head.split(b" ")[1].decode()
        self.body = json.loads(body) if body else None
        self._writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Send each piece as a packet of its own."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0.005)

    async def start(self, status: str = "200 OK", more: str = "") -> None:
        """Send the head of a response that ends with its connection."""
        await self.send(f"HTTP/1.1 {status}\r\n{more}Connection: close\r\n\r\n".encode())


class RawEngine:
    """Plays one script per request to `/v1/...`; the last one again and again."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.calls: list[Call] = []
        self.connections = 0
        self.left = asyncio.Event()  # set when the other side has hung up
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            call = Call(head, await self._body(head, reader), writer)
            self.calls.append(call)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            playing = asyncio.create_task(script(call))
            watching = asyncio.create_task(reader.read())
            await asyncio.wait({playing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                self.left.set()
            playing.cancel()
            watching.cancel()
            await asyncio.gather(playing, watching, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _body(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return await reader.readexactly(int(line.partition(b":")[2]))
        return b""


@pytest.fixture
async def engine():
    raw = RawEngine()
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield raw
    server.close()
    await server.wait_closed()
