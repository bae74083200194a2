import asyncio
import threading

import pytest

from gateway.store.log_keys import signing_turn
from gateway.store.session import Database
from gateway.store.turns import turn_at

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]


async def test_one_is_alone_until_the_turn_ends(tmp_path):
    seen = []

    async def take(name):
        async with turn_at(tmp_path / "keys" / "turn"):
            seen.append(f"{name} begins")
            await asyncio.sleep(0.02)
            seen.append(f"{name} ends")

    await asyncio.gather(*(take(name) for name in "abc"))

    assert [each.split()[0] for each in seen[::2]] == [each.split()[0] for each in seen[1::2]]


async def test_a_turn_that_comes_when_nobody_wants_it_any_more_is_given_back(tmp_path):
    path = tmp_path / "turn"
    async with turn_at(path):
        waiting = asyncio.create_task(_once(path))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    await asyncio.wait_for(_once(path), 10)


async def _once(path):
    async with turn_at(path):
        return True


async def test_whoever_signs_waits_for_whoever_changes_the_key(database, database_url):
    """On either database, also in another process's stead: another connection, another thread."""
    order, inside = [], threading.Event()

    def elsewhere():
        async def sign():
            other = Database(database_url)
            inside.set()
            async with signing_turn(other):
                order.append("signs")
            await other.aclose()

        asyncio.run(sign())

    async with signing_turn(database):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(inside.wait)
        await asyncio.sleep(0.2)
        order.append("changes")
    await asyncio.to_thread(thread.join)

    assert order == ["changes", "signs"]
