"""The index beside the log, in both databases: it is used, it lags without harm, it can go."""

import asyncio
import random

import pytest
from sqlalchemy import select, text

from gateway.audit.entry import Entry, row_apart
from gateway.audit.log_index import LogIndex, gather
from gateway.audit.search import Criteria, Page, find
from gateway.store import entries, log_index
from gateway.store.log_index import BLOCK, Look
from gateway.store.tables import log_blocks, log_terms
from gateway.store.trees import TreeRow, recorded_between

pytestmark = pytest.mark.integration


def decision(second, rule="r", action="allow"):
    body = {
        "decision": {"id": "d", "stage": "input", "action": action},
        "rules": [{"id": rule, "category": f"harm.{rule}"}],
        "scores": [{"category": "spam", "score": 0.5}],
    }
    at = f"2026-01-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.000000Z"
    return Entry("decision.recorded", body, f"req_{second}", "shop", recorded_at=at)


@pytest.fixture
def write(database):
    async def append(made):
        async with database.write() as connection:
            for entry in made:
                await entries.append(connection, row_apart(entry, "test"))

    return append


async def terms(database):
    async with database.read() as connection:
        rows = await connection.execute(select(log_terms.c.term, log_terms.c.block))
        return {(term, block) for term, block in rows}


async def found(database, page=None, **criteria):
    entries = (await find(database, Criteria(**criteria), page or Page(1000))).entries
    return [entry["seq"] for entry in entries]


async def test_a_term_is_kept_once_for_each_block_it_occurs_in(database, write):
    await write(decision(at, "rare" if at == 300 else "usual") for at in range(2 * BLOCK))
    assert await LogIndex(database).turn() == 2 * BLOCK

    assert await terms(database) == {
        *(("type:decision.recorded", block) for block in range(3)),
        *(("action:allow", block) for block in range(3)),
        *(("category:spam", block) for block in range(3)),
        *(("rule:usual", block) for block in range(3)),
        *(("category:harm.usual", block) for block in range(3)),
        ("rule:rare", 1),
        ("category:harm.rare", 1),
    }


async def test_a_search_reads_only_what_the_index_names(database, write, meddle):
    await write(decision(at, "rare" if at in {3, 700} else "usual") for at in range(3 * BLOCK))
    await LogIndex(database).turn()
    assert await found(database, rules=("rare",)) == [701, 4]
    await meddle("DELETE FROM log_terms WHERE term = 'rule:rare' AND block = 0")

    assert await found(database, rules=("rare",)) == [701]
    assert await found(database, categories=("harm.rare",)) == [701, 4]


async def test_an_index_that_was_emptied_changes_nothing_and_fills_again(database, write):
    await write(decision(at, "rare" if at == 3 else "usual") for at in range(BLOCK))
    index = LogIndex(database)
    await index.turn()
    before = await terms(database)
    async with database.write() as connection:
        for table in ("log_terms", "log_blocks"):
            await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - a constant
        await connection.execute(text("UPDATE log_indexed SET seq = 0"))

    assert await found(database, rules=("rare",)) == [4]
    await index.turn()
    assert await terms(database) == before


async def test_rules_and_times_and_pages_together_find_what_a_scan_does(database, write):
    chance = random.Random(7)  # noqa: S311 - no secret
    made = [
        decision(
            max(0, at * 9 + chance.randrange(-60, 60)),
            chance.choice(["a", "b", "c", *["usual"] * 30]),
            chance.choice(["allow", "block"]),
        )
        for at in range(5 * BLOCK)
    ]
    await write(made)
    queries = [
        {
            "rules": tuple(chance.sample(["a", "b", "c", "none"], chance.randrange(1, 3))),
            "actions": chance.choice([(), ("block",)]),
            "since": chance.choice([None, made[chance.randrange(1280)].recorded_at]),
            "before": chance.choice([None, made[chance.randrange(1280)].recorded_at]),
        }
        for _ in range(15)
    ]
    scanned = [await found(database, **query) for query in queries]
    middle = [await found(database, Page(5, after=made[640].id), **query) for query in queries]
    newer = [await found(database, Page(5, before=made[640].id), **query) for query in queries]
    index = LogIndex(database)

    for batches in ("some", "all"):
        if batches == "some":
            async with database.read() as connection:
                assert await log_index.reached(connection) == 0
            await _index_some(database, 700)
        else:
            await index.turn()
        assert [await found(database, **query) for query in queries] == scanned
        pages = [await found(database, Page(5, after=made[640].id), **query) for query in queries]
        assert pages == middle
        pages = [await found(database, Page(5, before=made[640].id), **query) for query in queries]
        assert pages == newer
    assert any(scanned)


async def _index_some(database, count):
    async with database.read() as connection:
        some = await log_index.unindexed(connection, 0, count)
    times, said = {}, set()
    gather(some, times, said)
    async with database.write() as connection:
        assert await log_index.advance(connection, 0, some[-1].seq, times, sorted(said))


@pytest.mark.parametrize("indexed", [0, 300, 1000])
async def test_the_edges_of_a_time_are_exact_though_times_are_out_of_order(
    database, write, indexed
):
    chance = random.Random(indexed)  # noqa: S311 - no secret
    made = [decision(max(0, at * 5 + chance.randrange(-400, 400))) for at in range(700)]
    await write(made)
    if indexed:
        await _index_some(database, indexed)
    times = [entry.recorded_at for entry in made]
    tree = TreeRow("2026h1", 20, 600, 650, 600, b"")

    for _ in range(30):
        since, until = (chance.choice([None, *times[::20], "2025", "2027"]) for _ in range(2))
        wanted = [
            at + 1
            for at, moment in enumerate(times)
            if 20 <= at + 1 <= 650
            and (since is None or moment >= since)
            and (until is None or moment < until)
        ]
        async with database.read() as connection:
            edges = await recorded_between(connection, tree, since, until)
        assert edges == ((wanted[0], wanted[-1]) if wanted else None)


async def test_two_replicas_index_each_entry_once(database, write):
    await write(decision(at) for at in range(50))
    first, second = LogIndex(database), LogIndex(database)
    done = await asyncio.gather(first.turn(), second.turn())

    assert sum(done) == 50
    async with database.read() as connection:
        assert await log_index.reached(connection) == 50
        times = (await connection.execute(select(log_blocks))).all()
    assert [tuple(row) for row in times] == [
        (0, "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:49.000000Z")
    ]


async def test_a_block_that_grows_keeps_its_earliest_and_its_latest_time(database, write):
    index = LogIndex(database)
    for seconds in ([30, 20], [40, 10]):
        await write(map(decision, seconds))
        await index.turn()
    async with database.read() as connection:
        [row] = (await connection.execute(select(log_blocks))).all()

    assert [each[-10:-8] for each in row[1:]] == ["10", "40"]


async def test_an_entry_that_somebody_spoilt_does_not_stop_the_index(database, write, meddle):
    await write(decision(at) for at in range(3))
    await meddle("UPDATE audit_entries SET body = :body WHERE seq = 2", body=b"no JSON")

    assert await LogIndex(database).turn() == 3


async def test_rules_are_found_in_whatever_names_them(database, write):
    alert = Entry("alert.created", {"alert": {"id": "a"}, "rules": ["rare", "other"]})
    made = decision(1, "rare", "flag")
    overseen = Entry("oversight.decided", made.body, "req_2", "shop")
    await write([decision(0), alert, overseen])

    for _ in range(2):
        assert await found(database, rules=("rare",)) == [3, 2]
        assert await found(database, categories=("harm.rare",)) == [3]
        assert await found(database, actions=("flag",)) == [3]
        await LogIndex(database).turn()


async def test_long_and_odd_names_are_found_by_what_they_are(database, write):
    long = "x" * 300
    await write([decision(0, long), decision(1, long + "y"), decision(2, "a\0b")])
    await LogIndex(database).turn()

    assert await found(database, rules=(long,)) == [1]
    assert await found(database, rules=(long + "y",)) == [2]
    assert await found(database, rules=("a\0b",)) == [3]
    assert await found(database, rules=("a b",)) == []


async def test_terms_and_times_are_looked_up_in_an_index(database, write):
    if not database.is_sqlite:
        return
    await write(decision(at) for at in range(3))
    await LogIndex(database).turn()
    look = Look((("rule:r",), ("action:allow",)), "2026-01-01T00:00:00.000000Z", None)
    asked = []
    async with database.read() as connection:
        raw = await connection.get_raw_connection()
        await raw.driver_connection.set_trace_callback(asked.append)
        await log_index.blocks(connection, look, 10, newer=False, limit=5)
        await raw.driver_connection.set_trace_callback(None)
        plan = (await connection.execute(text(f"EXPLAIN QUERY PLAN {asked[-1]}"))).all()

    assert "SCAN" not in str(plan)
    assert str(plan).count("SEARCH") == 3
