"""Finding entries in both databases."""

import pytest
from sqlalchemy import text

from gateway.audit import records
from gateway.audit.entry import Entry, row_apart
from gateway.audit.log_index import LogIndex
from gateway.audit.search import Criteria, Page, find
from gateway.errors import BadRequest
from gateway.store import entries
from gateway.store.tables import ADMINISTRATIVE

pytestmark = pytest.mark.integration


def decision(number, *, project="shop", stage="input", action="allow", rule="r", **body):
    return Entry(
        "decision.recorded",
        {
            "decision": {"id": f"dec_{number}", "stage": stage, "action": action},
            "rules": [{"id": rule, "category": f"harm.{rule}"}],
            "scores": [{"category": "spam", "score": 0.5}],
            **body,
        },
        f"req_{number}",
        project,
        recorded_at=f"2026-01-{number + 1:02d}T00:00:00.000000Z",
    )


LOG = [
    decision(0),
    decision(1, action="block", rule="no-bombs"),
    decision(2, project="bank", stage="output", actor={"key": "k", "safety_identifier": "ab" * 16}),
    decision(3, rule='say "no" to ünïcode'),
    decision(4, stage="output", action="block", note={"id": "no-bombs"}),  # in another place
    records.key_revoked("prefix", project="shop", actor="cli:alice"),
]


@pytest.fixture(params=["not indexed", "half indexed", "indexed"])
async def stored(request, database):
    """The log; what is found is the same, however far the index has got."""
    index, half = LogIndex(database), len(LOG) // 2
    for part in (LOG[:half], LOG[half:]):
        async with database.write() as connection:
            for entry in part:
                await entries.append(connection, row_apart(entry, "test"))
        if request.param == "indexed" or (request.param == "half indexed" and part == LOG[:half]):
            await index.turn()
    return database


async def numbers(database, page=None, **criteria):
    found = await find(database, Criteria(**criteria), page or Page(100))
    return [LOG.index(next(e for e in LOG if e.id == each["id"])) for each in found.entries]


@pytest.mark.parametrize(
    ("criteria", "wanted"),
    [
        ({}, [5, 4, 3, 2, 1, 0]),
        ({"administrative": True}, [5]),
        ({"types": ("key.revoked",)}, [5]),
        ({"projects": ("bank", "nobody")}, [2]),
        ({"requests": ("req_3",)}, [3]),
        ({"requests": ("req_3", "req_1")}, [3, 1]),
        ({"stages": ("output",)}, [4, 2]),
        ({"actions": ("block",)}, [4, 1]),
        ({"actions": ("block",), "stages": ("input",)}, [1]),
        ({"rules": ("no-bombs",)}, [1]),
        ({"rules": ("no-bombs", "r")}, [4, 2, 1, 0]),
        ({"rules": ('say "no" to ünïcode',)}, [3]),
        ({"categories": ("harm.no-bombs",)}, [1]),
        ({"categories": ("spam",)}, [4, 3, 2, 1, 0]),
        ({"end_users": ("ab" * 16,)}, [2]),
        ({"actors": ("cli:alice",)}, [5]),
        ({"resources": ("prefix",)}, [5]),
        ({"since": "2026-01-03T00:00:00.000000Z", "types": ("decision.recorded",)}, [4, 3, 2]),
        ({"before": "2026-01-03T00:00:00.000000Z"}, [1, 0]),
        ({"rules": ("'; DROP TABLE audit_entries; --",)}, []),
    ],
)
async def test_what_is_found_is_what_was_asked_for_newest_first(stored, criteria, wanted):
    assert await numbers(stored, **criteria) == wanted


async def test_pages_lead_both_ways(stored):
    assert await numbers(stored, Page(2)) == [5, 4]
    assert await numbers(stored, Page(2, after=LOG[4].id)) == [3, 2]
    assert await numbers(stored, Page(2, before=LOG[1].id)) == [3, 2]
    assert await numbers(stored, Page(10, before=LOG[3].id)) == [5, 4]
    assert await numbers(stored, Page(1, after=LOG[4].id), stages=("output",)) == [2]


@pytest.mark.parametrize(
    ("page", "more"),
    [
        (Page(6), False),
        (Page(5), True),
        (Page(2, after=LOG[2].id), False),
        (Page(1, after=LOG[2].id), True),
        (Page(2, before=LOG[3].id), False),
        (Page(1, before=LOG[3].id), True),
    ],
)
async def test_a_page_says_whether_there_are_more_the_way_it_goes(stored, page, more):
    assert (await find(stored, Criteria(), page)).more is more


async def test_more_than_is_read_at_once_is_searched_through(database):
    async with database.write() as connection:
        await entries.append(connection, row_apart(decision(0, action="block"), "test"))
        for number in range(1100):
            entry = decision(number % 28, note=["block"])  # looks like it, and is not
            await entries.append(connection, row_apart(entry, "test"))

    found = await find(database, Criteria(actions=("block",)), Page(5))

    assert [entry["decision"]["id"] for entry in found.entries] == ["dec_0"]
    assert not found.more


@pytest.mark.parametrize("page", [Page(1, "x"), Page(1, before="x"), Page(1, LOG[0].id, LOG[1].id)])
async def test_a_page_that_begins_nowhere_is_refused(stored, page):
    with pytest.raises(BadRequest):
        await find(stored, Criteria(), page)


async def test_what_people_did_is_found_by_an_index(stored):
    if not stored.is_sqlite:
        return
    async with stored.read() as connection:
        query = f"EXPLAIN QUERY PLAN SELECT seq FROM audit_entries WHERE {ADMINISTRATIVE}"  # noqa: S608 - a constant
        plan = (await connection.execute(text(query + " ORDER BY seq DESC LIMIT 20"))).all()

    assert "ix_audit_entries_administrative" in str(plan)
