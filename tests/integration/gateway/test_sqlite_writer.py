"""How the SQLite writer commits: at once while that is quick, else beside the event loop."""

import asyncio
import sqlite3
import threading

import pytest

from gateway.audit import records
from gateway.store import entries


async def test_a_lock_held_elsewhere_is_waited_for_beside_the_event_loop(ledger):
    if not ledger.database.is_sqlite:
        pytest.skip("PostgreSQL has no such lock")
    other = sqlite3.connect(ledger.database.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, lambda: other.execute("COMMIT")).start()
    turns = 0

    appended = asyncio.create_task(_append(ledger))
    while not appended.done():
        turns += 1
        await asyncio.sleep(0.01)
    await appended
    other.close()

    assert turns > 5  # the loop went round while the writer waited


async def test_a_slow_disk_moves_commits_off_the_event_loop(ledger):
    if not ledger.database.is_sqlite:
        pytest.skip("PostgreSQL is never written to from the event loop")
    sink = ledger._writer._sink
    threads = []
    insert = sink._insert

    def watched(*arguments, **named):
        threads.append(threading.current_thread() is threading.main_thread())
        return insert(*arguments, **named)

    sink._insert = watched
    await _append(ledger)
    sink._commit_s = 10 * entries.QUICK_S

    await _append(ledger)

    assert threads == [True, False]


async def _append(ledger):
    await ledger.append(records.replica_stopped("test"))
