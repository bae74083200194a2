import asyncio

import pytest
from redis.asyncio import Redis

from gateway.errors import IdentifierThrottled, RateLimited
from gateway.limits import Limits, LocalBuckets, RedisBuckets, open_limits
from gateway.types import Principal

pytestmark = pytest.mark.integration

WHO = Principal("key", "shop", frozenset(), requests_per_minute=3, tokens_per_minute=1000)


class Clock:
    def __init__(self):
        self.ms = 1_795_000_000_000

    def __call__(self):
        return self.ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["in process", "valkey"])
async def limits(request, clock):
    if request.param == "in process":
        yield Limits(local=LocalBuckets(clock))
        return
    client = Redis.from_url(request.getfixturevalue("valkey_url"))
    limits = Limits(RedisBuckets(client, clock))
    yield limits
    assert not limits.degraded
    await limits.aclose()


async def test_a_request_reports_what_is_left_and_when_it_is_whole_again(limits):
    quota = await limits.take(WHO, 250)

    assert (quota.remaining_requests, quota.remaining_tokens) == (2, 750)
    assert (quota.reset_requests_ms, quota.reset_tokens_ms) == (20_000, 15_000)
    assert quota.reserved_tokens == 250


async def test_one_request_too_many_is_told_when_to_come_back(limits, clock):
    for _ in range(3):
        await limits.take(WHO, 1)
    clock.ms += 500

    with pytest.raises(RateLimited, match=r"quota of 3 requests a minute.* in 19.5s") as refused:
        await limits.take(WHO, 1)

    assert refused.value.retry_after_s == 19.5


async def test_one_token_too_many_takes_nothing(limits):
    await limits.take(WHO, 900)

    with pytest.raises(RateLimited, match="quota of 1000 tokens a minute"):
        await limits.take(WHO, 101)

    quota = await limits.take(WHO, 100)
    assert (quota.remaining_requests, quota.remaining_tokens) == (1, 0)


async def test_a_request_larger_than_the_quota_is_not_told_to_come_back(limits):
    with pytest.raises(RateLimited, match="more than the API key's quota") as refused:
        await limits.take(WHO, 1001)

    assert refused.value.retry_after_s is None


async def test_a_bucket_fills_steadily_and_never_over_its_brim(limits, clock):
    await limits.take(WHO, 1000)
    clock.ms += 30_000
    half = await limits.take(WHO, 0)
    clock.ms += 3_600_000
    full = await limits.take(WHO, 0)

    assert half.remaining_tokens == 500
    assert (full.remaining_requests, full.remaining_tokens) == (2, 1000)


async def test_what_a_reply_did_not_use_is_given_back(limits):
    quota = await limits.take(WHO, 800)
    await limits.settle(WHO, quota.reserved_tokens, 100)

    assert (await limits.take(WHO, 0)).remaining_tokens == 900


async def test_what_a_reply_used_beyond_its_reserve_is_owed(limits, clock):
    quota = await limits.take(WHO, 900)
    await limits.settle(WHO, quota.reserved_tokens, 1900)

    with pytest.raises(RateLimited) as refused:
        await limits.take(WHO, 100)

    assert refused.value.retry_after_s == 60.0
    clock.ms += 60_000
    assert (await limits.take(WHO, 100)).remaining_tokens == 0


async def test_a_clock_that_goes_back_gives_nothing_away(limits, clock):
    await limits.take(WHO, 1000)
    clock.ms -= 60_000
    with pytest.raises(RateLimited):
        await limits.take(WHO, 1)
    clock.ms += 60_000

    with pytest.raises(RateLimited):
        await limits.take(WHO, 1)


async def test_keys_do_not_share_a_quota(limits):
    for _ in range(3):
        await limits.take(WHO, 1)
    other = Principal("other", "shop", frozenset(), 3, 1000)

    assert (await limits.take(other, 1)).remaining_requests == 2


async def test_replicas_share_a_quota_and_the_servers_clock(valkey_url):
    replicas = [open_limits(valkey_url) for _ in range(4)]

    answers = await asyncio.gather(
        *(replica.take(WHO, 1) for replica in replicas), return_exceptions=True
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["Quota"] * 3 + ["RateLimited"]
    for replica in replicas:
        await replica.aclose()


async def test_a_gateway_whose_valkey_is_away_limits_by_itself():
    limits = open_limits("redis://127.0.0.1:1/0")

    for _ in range(3):
        await limits.take(WHO, 1)
    with pytest.raises(RateLimited):
        await limits.take(WHO, 1)

    assert limits.degraded
    await limits.aclose()


async def test_the_largest_quota_is_counted_exactly(limits, clock):
    giant = Principal("giant", "shop", frozenset(), 1_000_000_000, 1_000_000_000)
    await limits.take(giant, 1_000_000_000)
    clock.ms += 59_999

    quota = await limits.take(giant, 0)

    assert quota.remaining_tokens == 999_983_333
    assert quota.reset_tokens_ms == 1


async def test_a_throttled_end_user_has_a_bucket_beside_the_keys(limits, clock):
    await limits.throttle(WHO, "ab" * 16)
    with pytest.raises(IdentifierThrottled) as throttled:
        await limits.throttle(WHO, "ab" * 16)
    assert throttled.value.retry_after_s == 60
    assert (await limits.take(WHO, 1)).remaining_requests == 2

    clock.ms += 60_000
    await limits.throttle(WHO, "ab" * 16)
