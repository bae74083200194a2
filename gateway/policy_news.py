"""Tells replicas that a policy came into force elsewhere, through Redis or Valkey.

News only saves time. Whoever follows the registry looks at its revision every second
anyway, so a message that is lost, or no Redis at all, means a second later and not never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

CHANNEL = "ostiary:policies"
_TIMEOUT_S = 0.5  # of one command
_RETRY_S = 1.0
_log = structlog.get_logger("ostiary.policy")


class PolicyNews:
    """Sends and hears that what is in force has changed.

    Args:
        redis_url: Where replicas meet; empty where there is only this one.

    Raises:
        ValueError: If the URL is not one of Redis's.
    """

    def __init__(self, redis_url: str):
        self._wake: Callable[[], None] = lambda: None
        self._sender: Redis | None = None
        self._hearer: Redis | None = None
        if redis_url:
            self._sender = Redis.from_url(
                redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
            )
            self._hearer = Redis.from_url(
                redis_url,
                socket_timeout=None,  # it waits for messages, for days if need be
                socket_connect_timeout=_TIMEOUT_S,
                socket_keepalive=True,
            )

    async def publish(self, revision: int) -> None:
        """Tell everybody, this process first; never fails."""
        self._wake()
        if self._sender is None:
            return
        try:
            await self._sender.publish(CHANNEL, str(revision))
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("policy_news_not_sent", error=type(error).__name__)

    async def listen(self, wake: Callable[[], None]) -> None:
        """Hear news for ever; returns at once where there is no Redis.

        Args:
            wake: Called when something changed, here or elsewhere, and when something may
                have been missed.
        """
        self._wake = wake
        if self._hearer is None:
            return
        away = False
        while True:
            try:
                await self._hear(self._hearer)
            except (RedisError, OSError, TimeoutError) as error:
                if not away:
                    _log.warning("policy_news_not_heard", error=type(error).__name__)
                away = True
            else:
                away = False
            await asyncio.sleep(_RETRY_S)

    async def aclose(self) -> None:
        """Close the connections."""
        for client in (self._sender, self._hearer):
            if client is not None:
                await client.aclose()

    async def _hear(self, client: Redis) -> None:
        async with client.pubsub(ignore_subscribe_messages=False) as channel:
            await channel.subscribe(CHANNEL)
            # The first message says that we are listening; what came before it was missed.
            async for _ in channel.listen():
                self._wake()
