import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import IdentifierThrottled, RateLimited
from gateway.limits import Levels, Limits, LocalBuckets, Quota, duration_text
from gateway.types import Principal


def principal(requests=60, tokens=6000, key_id="key"):
    return Principal(key_id, "shop", frozenset(), requests, tokens)


class Clock:
    def __init__(self):
        self.ms = 1_000_000

    def __call__(self):
        return self.ms


class AwayBuckets:
    """Shared buckets that are away until told otherwise."""

    def __init__(self):
        self.away, self.asked = True, 0

    async def change(self, principal, requests, tokens):
        self.asked += 1
        if self.away:
            raise ConnectionError("away")
        return Levels(0, 0, taken=True)

    async def aclose(self):
        pass


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (6, "6ms"),
        (1000, "1s"),
        (8640, "8.64s"),
        (60_000, "1m0s"),
        (90_000, "1m30s"),
        (90_005, "1m30.005s"),
        (7_200_000, "2h0m0s"),
    ],
)
def test_a_duration_reads_as_openai_writes_it(milliseconds, text):
    assert duration_text(milliseconds) == text


def test_the_headers_are_openais_six():
    quota = Quota(60, 6000, 59, 5900, 1000, 90_000, 100)

    assert quota.headers() == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "5900",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "1m30s",
    }


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3)), min_size=1, max_size=60),
)
async def test_no_key_ever_gets_more_than_its_quota_and_one_minutes_reserve(limit, steps):
    clock = Clock()
    limits = Limits(local=LocalBuckets(clock))
    start, granted = clock.ms, 0

    for pause_ms, wanted in steps:
        clock.ms += pause_ms
        for _ in range(wanted):
            try:
                await limits.take(principal(requests=limit), 1)
            except RateLimited:
                continue
            granted += 1

    assert granted * 60_000 <= limit * 60_000 + (clock.ms - start) * limit


@given(st.integers(1, 50), st.integers(1, 3000), st.integers(0, 5000))
async def test_a_throttled_request_passes_when_it_is_told_to_come_back(requests, tokens, size):
    clock = Clock()
    limits = Limits(local=LocalBuckets(clock))
    who, size = principal(requests, tokens), min(size, tokens)
    with pytest.raises(RateLimited) as refused:
        for _ in range(requests + 1):
            await limits.take(who, size)

    clock.ms += round(refused.value.retry_after_s * 1000)

    await limits.take(who, size)


async def test_while_the_shared_buckets_are_away_each_replica_counts_by_itself():
    shared = AwayBuckets()
    limits = Limits(shared, LocalBuckets(Clock()), monotonic=lambda: 0.0)

    for _ in range(2):
        await limits.take(principal(requests=2), 1)
    with pytest.raises(RateLimited):
        await limits.take(principal(requests=2), 1)

    assert limits.degraded
    assert shared.asked == 1


async def test_the_shared_buckets_are_tried_again_later():
    now = [0.0]
    shared = AwayBuckets()
    limits = Limits(shared, monotonic=lambda: now[0])
    await limits.take(principal(), 1)

    shared.away, now[0] = False, 5.0
    await limits.take(principal(), 1)

    assert not limits.degraded
    assert shared.asked == 2


async def test_the_number_of_buckets_is_bounded():
    buckets = LocalBuckets(Clock())
    for number in range(10_050):
        await buckets.change(principal(key_id=f"key-{number}"), 1, 1)

    assert len(buckets) == 10_000


@pytest.mark.parametrize(("quota", "share"), [(600, 60), (25, 2), (5, 1)])
async def test_a_throttled_end_user_has_a_tenth_of_the_keys_requests(quota, share):
    limits = Limits(local=LocalBuckets(Clock()))

    for _ in range(share):
        await limits.throttle(principal(quota), "ab" * 16)
    with pytest.raises(IdentifierThrottled) as raised:
        await limits.throttle(principal(quota), "ab" * 16)

    assert raised.value.retry_after_s == pytest.approx(60 / share)


async def test_a_throttled_end_user_takes_nothing_from_anybody_else():
    limits = Limits(local=LocalBuckets(Clock()))
    await limits.throttle(principal(10), "ab" * 16)

    await limits.throttle(principal(10), "cd" * 16)
    assert (await limits.take(principal(10), 1)).remaining_requests == 9


async def test_a_throttled_end_user_is_one_whichever_key_they_come_with():
    limits = Limits(local=LocalBuckets(Clock()))
    await limits.throttle(principal(10, key_id="one"), "ab" * 16)

    with pytest.raises(IdentifierThrottled):
        await limits.throttle(principal(10, key_id="other"), "ab" * 16)
