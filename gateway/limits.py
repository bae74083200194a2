"""Quotas: two token buckets per API key, requests and tokens a minute.

A bucket holds a minute's worth and fills steadily. A request takes 1 from the first and
its estimated tokens from the second, both or neither; when the true count is known the
difference is settled, which can leave a bucket in debt.

With Redis (or Valkey) all replicas share the buckets, in one script by the server's
clock. While it is away every replica counts by itself, in process, and `degraded` says
so: a limit then holds per replica. A limit protects against overload, not against harm,
so this fails open where the decision log fails closed.

An end user whom strikes have throttled has a bucket of their own besides, a tenth of the
key's requests, whichever keys they come through.

Levels are integers, in 1/60,000 of a unit, so that a quota of N a minute fills by
exactly N per millisecond: nothing drifts, and Lua's doubles count them exactly up to
`MAX_LIMIT`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import IdentifierThrottled, RateLimited
from gateway.types import Principal

MAX_LIMIT = 1_000_000_000  # units a minute
_UNIT = 60_000  # levels are in 1/60,000 of a unit; also milliseconds in a minute
_MAX_DEBT_MINUTES = 60
_THROTTLED_SHARE = 10  # one part in so many of the key's requests
_MAX_BUCKETS = 10_000
_RETRY_REDIS_S = 5.0
_REDIS_TIMEOUT_S = 0.5

log = structlog.get_logger(__name__)

Clock = Callable[[], int]
"""Milliseconds, never going back."""


@dataclass(frozen=True, slots=True)
class Levels:
    """What is left in a key's two buckets, in 1/60,000 of a unit.

    Attributes:
        requests: Of requests; never negative.
        tokens: Of tokens; negative in debt.
        taken: Whether the request was within quota.
    """

    requests: int
    tokens: int
    taken: bool


@dataclass(frozen=True, slots=True)
class Quota:
    """What a request left of its key's quota.

    Attributes:
        limit_requests: A minute.
        limit_tokens: A minute.
        remaining_requests: Now.
        remaining_tokens: Now.
        reset_requests_ms: Until the bucket is full, milliseconds.
        reset_tokens_ms: Until the bucket is full, milliseconds.
        reserved_tokens: What was taken for this request; settle it.
    """

    limit_requests: int
    limit_tokens: int
    remaining_requests: int
    remaining_tokens: int
    reset_requests_ms: int
    reset_tokens_ms: int
    reserved_tokens: int

    def headers(self) -> dict[str, str]:
        """Return OpenAI's six `x-ratelimit-*` headers."""
        return {
            "x-ratelimit-limit-requests": str(self.limit_requests),
            "x-ratelimit-limit-tokens": str(self.limit_tokens),
            "x-ratelimit-remaining-requests": str(self.remaining_requests),
            "x-ratelimit-remaining-tokens": str(self.remaining_tokens),
            "x-ratelimit-reset-requests": duration_text(self.reset_requests_ms),
            "x-ratelimit-reset-tokens": duration_text(self.reset_tokens_ms),
        }


class Buckets(Protocol):
    """Where the levels are kept."""

    async def change(self, principal: Principal, requests: int, tokens: int) -> Levels:
        """Take `requests` and `tokens`, both or neither; with 0 requests, always.

        Args:
            principal: Whose buckets, and how large they are.
            requests: 1 for a request, 0 to settle one.
            tokens: To take; negative gives back.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what it holds."""
        ...


class LocalBuckets:
    """Levels in this process."""

    def __init__(self, clock: Clock = lambda: time.monotonic_ns() // 1_000_000):
        self._clock = clock
        self._levels: dict[str, tuple[int, int, int]] = {}  # requests, tokens, at ms

    def __len__(self) -> int:
        return len(self._levels)

    async def change(self, principal: Principal, requests: int, tokens: int) -> Levels:
        """See `Buckets.change`; never waits."""
        now = self._clock()
        caps = _capacities(principal)
        old_requests, old_tokens, at = self._levels.get(principal.key_id, (*caps, now))
        passed = max(0, now - at)
        full_requests = min(caps[0], old_requests + passed * principal.requests_per_minute)
        full_tokens = min(caps[1], old_tokens + passed * principal.tokens_per_minute)
        left_requests = full_requests - requests * _UNIT
        left_tokens = min(caps[1], full_tokens - tokens * _UNIT)
        taken = requests == 0 or (left_requests >= 0 and left_tokens >= 0)
        if not taken:
            left_requests, left_tokens = full_requests, full_tokens
        left_tokens = max(left_tokens, -_MAX_DEBT_MINUTES * caps[1])
        self._remember(principal.key_id, (left_requests, left_tokens, max(now, at)))
        return Levels(left_requests, left_tokens, taken)

    async def aclose(self) -> None:
        """Forget everything."""
        self._levels.clear()

    def _remember(self, key_id: str, level: tuple[int, int, int]) -> None:
        self._levels.pop(key_id, None)  # so that the order is that of last use
        self._levels[key_id] = level
        while len(self._levels) > _MAX_BUCKETS:
            # The longest idle one; after a minute without use a bucket is as good as new.
            del self._levels[next(iter(self._levels))]


class RedisBuckets:
    """Levels in Redis or Valkey, shared by all replicas.

    Args:
        client: With a short timeout; closed by `aclose`.
        clock: None uses the server's, as replicas must.
    """

    # The same steps as `LocalBuckets.change`; a test holds the two to each other.
    _SCRIPT = """
        local requests, tokens = tonumber(ARGV[1]), tonumber(ARGV[2])
        local rate = {tonumber(ARGV[3]), tonumber(ARGV[4])}
        local unit, debt, now = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
        if now < 0 then
            local time = redis.call('TIME')
            now = time[1] * 1000 + math.floor(time[2] / 1000)
        end
        local cap = {rate[1] * unit, rate[2] * unit}
        local old = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'at')
        local at = tonumber(old[3]) or now
        local passed = math.max(0, now - at)
        local full_requests = math.min(cap[1], (tonumber(old[1]) or cap[1]) + passed * rate[1])
        local full_tokens = math.min(cap[2], (tonumber(old[2]) or cap[2]) + passed * rate[2])
        local left_requests = full_requests - requests * unit
        local left_tokens = math.min(cap[2], full_tokens - tokens * unit)
        local taken = requests == 0 or (left_requests >= 0 and left_tokens >= 0)
        if not taken then
            left_requests, left_tokens = full_requests, full_tokens
        end
        left_tokens = math.max(left_tokens, -debt * cap[2])
        local function exact(number) return string.format('%.0f', number) end
        redis.call('HSET', KEYS[1], 'requests', exact(left_requests),
            'tokens', exact(left_tokens), 'at', exact(math.max(now, at)))
        redis.call('PEXPIRE', KEYS[1], (debt + 2) * 60000)
        return {exact(left_requests), exact(left_tokens), taken and 1 or 0}
    """

    def __init__(self, client: Redis, clock: Clock | None = None):
        self._client = client
        self._clock = clock
        self._script = client.register_script(self._SCRIPT)

    async def change(self, principal: Principal, requests: int, tokens: int) -> Levels:
        """See `Buckets.change`. Raises `RedisError` or `OSError` when it is away."""
        arguments: list[Any] = [
            requests,
            tokens,
            principal.requests_per_minute,
            principal.tokens_per_minute,
            _UNIT,
            _MAX_DEBT_MINUTES,
            -1 if self._clock is None else self._clock(),
        ]
        key = f"ostiary:limits:{principal.key_id}"
        left_requests, left_tokens, taken = await self._script([key], arguments)
        return Levels(int(left_requests), int(left_tokens), bool(taken))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class Limits:
    """Holds every key to its quota.

    Args:
        shared: Buckets that all replicas share, or None.
        local: Buckets of this process; used without `shared`, and while it is away.
        monotonic: This process's clock, seconds.
    """

    def __init__(
        self,
        shared: Buckets | None = None,
        local: Buckets | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ):
        self._shared = shared
        self._local = LocalBuckets() if local is None else local
        self._monotonic = monotonic
        self._retry_at = float("-inf")
        self.degraded = False
        """Whether the shared buckets are away, so that each replica counts by itself."""

    async def take(self, principal: Principal, tokens: int) -> Quota:
        """Take one request and `tokens` tokens from the key's quota.

        Args:
            principal: Whose.
            tokens: An estimate of input and output together, 0 or more.

        Raises:
            RateLimited: If either bucket holds too little; nothing was taken.
        """
        if tokens > principal.tokens_per_minute:
            raise RateLimited(
                f"this request may use {tokens} tokens, more than the API key's quota of "
                f"{principal.tokens_per_minute} a minute; shorten it or lower its token limit"
            )
        levels = await self._change(principal, 1, tokens)
        if not levels.taken:
            raise _rate_limited(principal, levels, tokens)
        return _quota(principal, levels, tokens)

    async def throttle(self, principal: Principal, subject: str) -> None:
        """Take one request from what is left to a throttled end user.

        Args:
            principal: Whose key they come with.
            subject: The end user's pseudonym.

        Raises:
            IdentifierThrottled: If there is none left now; nothing was taken.
        """
        share = max(1, principal.requests_per_minute // _THROTTLED_SHARE)
        own = replace(principal, key_id=f"subject:{subject}", requests_per_minute=share)
        levels = await self._change(own, 1, 0)
        if not levels.taken:
            wait_ms = _wait_ms(_UNIT - levels.requests, share)
            raise IdentifierThrottled(
                f"this safety identifier may send {share} requests a minute; "
                f"try again in {duration_text(wait_ms)}",
                retry_after_s=wait_ms / 1000,
            )

    async def settle(self, principal: Principal, reserved: int, used: int) -> None:
        """Take what a reply used beyond what was reserved for it, or give the rest back."""
        if used != reserved:
            await self._change(principal, 0, used - reserved)

    async def aclose(self) -> None:
        """Close connections."""
        if self._shared is not None:
            await self._shared.aclose()
        await self._local.aclose()

    async def _change(self, principal: Principal, requests: int, tokens: int) -> Levels:
        if self._shared is None or (self.degraded and self._monotonic() < self._retry_at):
            return await self._local.change(principal, requests, tokens)
        try:
            levels = await self._shared.change(principal, requests, tokens)
        except (RedisError, OSError, TimeoutError) as error:
            self._retry_at = self._monotonic() + _RETRY_REDIS_S
            if not self.degraded:
                self.degraded = True
                log.warning("limits_degraded", error=type(error).__name__)
            return await self._local.change(principal, requests, tokens)
        if self.degraded:
            self.degraded = False
            log.info("limits_recovered")
        return levels


def open_limits(redis_url: str = "") -> Limits:
    """Return limits shared through Redis, or in process if there is no URL.

    Raises:
        ValueError: If the URL is not one of Redis's.
    """
    if not redis_url:
        return Limits()
    client: Redis = Redis.from_url(
        redis_url,
        socket_timeout=_REDIS_TIMEOUT_S,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
    )
    return Limits(RedisBuckets(client))


def duration_text(milliseconds: int) -> str:
    """Return a duration as OpenAI writes it: `0s`, `6ms`, `1s`, `8.64s`, `1m30s`, `2h0m0s`."""
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, _UNIT)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _capacities(principal: Principal) -> tuple[int, int]:
    return principal.requests_per_minute * _UNIT, principal.tokens_per_minute * _UNIT


def _wait_ms(missing: int, rate: int) -> int:
    """Return after how many milliseconds a bucket has `missing` more, rounded up."""
    return max(0, -(-missing // rate))


def _rate_limited(principal: Principal, levels: Levels, tokens: int) -> RateLimited:
    for_request = _wait_ms(_UNIT - levels.requests, principal.requests_per_minute)
    for_tokens = _wait_ms(tokens * _UNIT - levels.tokens, principal.tokens_per_minute)
    if for_request >= for_tokens:
        what = f"{principal.requests_per_minute} requests"
    else:
        what = f"{principal.tokens_per_minute} tokens"
    wait_ms = max(for_request, for_tokens)
    return RateLimited(
        f"the API key's quota of {what} a minute is used up; try again in {duration_text(wait_ms)}",
        retry_after_s=wait_ms / 1000,
        headers=_quota(principal, levels, 0).headers(),
    )


def _quota(principal: Principal, levels: Levels, reserved: int) -> Quota:
    full_requests, full_tokens = _capacities(principal)
    return Quota(
        limit_requests=principal.requests_per_minute,
        limit_tokens=principal.tokens_per_minute,
        remaining_requests=levels.requests // _UNIT,
        remaining_tokens=max(0, levels.tokens // _UNIT),
        reset_requests_ms=_wait_ms(full_requests - levels.requests, principal.requests_per_minute),
        reset_tokens_ms=_wait_ms(full_tokens - levels.tokens, principal.tokens_per_minute),
        reserved_tokens=reserved,
    )
