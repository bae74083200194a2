"""A closed-loop load generator: each client sends again as soon as it has its reply.

It is an ordinary aiohttp client, which shares two cores with what it measures and costs
about as much as the engine behind it. A leaner generator would make the direct figures
higher and every gateway's share of them smaller; absolute figures are printed beside the
ratios for that reason.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

import aiohttp

_FIRST_WORD = re.compile(rb'"content":"[^"]')


@dataclass(slots=True)
class Load:
    """What one run saw.

    Attributes:
        requests: Complete replies.
        seconds: Wall time.
        first_word_s: Time to the first word of each reply, seconds.
        total_s: Time to the last byte of each reply, seconds.
        failures: Replies whose status was not 200, by status.
        gateway_cpu_s: Processor time the gateway used meanwhile, seconds.
    """

    requests: int = 0
    seconds: float = 0.0
    first_word_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    gateway_cpu_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Complete replies per second."""
        return self.requests / self.seconds


async def run_load(url: str, body: bytes, key: str, *, clients: int, seconds: float) -> Load:
    """Post `body` from `clients` connections until `seconds` are over."""
    load = Load()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        started = time.perf_counter()
        until = started + seconds
        await asyncio.gather(*(_client(session, url, body, until, load) for _ in range(clients)))
        load.seconds = time.perf_counter() - started
    return load


async def _client(
    session: aiohttp.ClientSession, url: str, body: bytes, until: float, load: Load
) -> None:
    while (sent := time.perf_counter()) < until:
        first = 0.0
        async with session.post(url, data=body) as response:
            async for part in response.content.iter_any():
                if not first and _FIRST_WORD.search(part):
                    first = time.perf_counter()
        done = time.perf_counter()
        load.requests += 1
        load.first_word_s.append((first or done) - sent)
        load.total_s.append(done - sent)
        if response.status != 200:
            load.failures[response.status] = load.failures.get(response.status, 0) + 1
