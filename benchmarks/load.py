"""A closed-loop HTTP/1.1 load generator that costs as little as Python can.

It shares two cores with what it measures, so it does no more than it must: one buffer
per connection, no header objects, chunked bodies scanned for their end only.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

_FIRST_WORD = re.compile(rb'"content":"[^"]')


@dataclass(slots=True)
class Load:
    """What one run saw.

    Attributes:
        requests: Complete replies.
        seconds: Wall time.
        first_byte_s: Time to the first body byte of each reply, seconds.
        total_s: Time to the last byte of each reply, seconds.
        failures: Replies whose status was not 200, by status.
        gateway_cpu_s: Processor time the gateway used meanwhile, seconds.
    """

    requests: int = 0
    seconds: float = 0.0
    first_byte_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    gateway_cpu_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Complete replies per second."""
        return self.requests / self.seconds


def request_bytes(path: str, body: bytes, key: str = "") -> bytes:
    """Return a whole request to be sent again and again."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run_load(port: int, request: bytes, *, clients: int, seconds: float) -> Load:
    """Send `request` from `clients` connections, each as soon as it has its reply."""
    load = Load()
    started = time.perf_counter()
    until = started + seconds
    await asyncio.gather(*(_client(port, request, until, load) for _ in range(clients)))
    load.seconds = time.perf_counter() - started
    return load


async def _client(port: int, request: bytes, until: float, load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while (sent := time.perf_counter()) < until:
            writer.write(request)
            status, first = await _reply(reader)
            done = time.perf_counter()
            load.requests += 1
            load.first_byte_s.append(first - sent)
            load.total_s.append(done - sent)
            if status != 200:
                load.failures[status] = load.failures.get(status, 0) + 1
    finally:
        writer.close()


async def _reply(reader: asyncio.StreamReader) -> tuple[int, float]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at >= 0:
        length = int(lower[at + 15 : lower.find(b"\r\n", at)])
        await reader.readexactly(length)
        return status, time.perf_counter()
    first, tail = 0.0, b""
    while not tail.endswith(b"0\r\n\r\n"):
        part = await reader.read(65536)
        if not part:
            raise ConnectionResetError("the reply was cut off")
        if not first and _FIRST_WORD.search(part):
            first = time.perf_counter()
        tail = (tail + part)[-8:]
    return status, first or time.perf_counter()
