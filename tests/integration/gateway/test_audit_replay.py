"""The log leads to what the tables hold; and whoever changes one of the two is found out."""

import asyncio
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils import uuid7

from gateway.audit import consequence_records, enforcement_records, erasure
from gateway.audit.entry import row_apart
from gateway.audit.export import Stretch, export
from gateway.audit.heads import FileHeads
from gateway.audit.ledger import Ledger
from gateway.audit.log_key import GivenLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.replay import replay, replay_bundles
from gateway.conversation import Kind, Mark
from gateway.enforcement import Enforcement
from gateway.identity import Identity, NewKey
from gateway.notes import new_key
from gateway.stopping import lift
from gateway.store import stops
from gateway.store.session import Database
from gateway.store.stops import Stop
from gateway.types import Outcome, Scope
from policies.circumstances import Circumstances
from policies.ladder import Ladder, Sanction, Step
from tests.integration.gateway.test_enforcement import BLOCKED, POLICY

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)
NOW = datetime(2026, 7, 1, tzinfo=UTC)
LADDERS = (
    Ladder(
        10 * DAY,
        (Step(1, Sanction.WARN), Step(2, Sanction.SUSPEND, 3 * DAY), Step(4, Sanction.DEACTIVATE)),
    ),
)
GOVERNED = replace(POLICY, ladders=LADDERS)
USERS = ("a" * 32, "b" * 32)


class World:
    """A gateway's log and its strikes, and a clock that only the test moves."""

    def __init__(self, database, home, new_exchange):
        self.database = database
        self.moment = NOW
        self.ledger = Ledger(database, home)
        self.enforcement = Enforcement(database, now=lambda: self.moment)
        self._new_exchange = new_exchange

    async def request(self, user, rules=(), outcome=Outcome.COMPLETED):
        exchange = self._new_exchange(
            id=f"req_{uuid7().hex}", policy=GOVERNED, circumstances=Circumstances(end_user=user)
        )
        async with self.ledger.exchange(exchange):
            recorded = self.ledger.record(exchange, BLOCKED)
            await recorded
            if rules:
                await self.enforcement.strike(exchange, rules, recorded.durable)
            exchange.outcome = outcome

    async def stop(self, user):
        exchange = self._new_exchange(circumstances=Circumstances(end_user=user), policy=GOVERNED)
        id = f"stop_{uuid7().hex}"
        until = self.moment + 30 * DAY
        stop = Stop(id, "shop", exchange.id, "dec_1", "no-guns", "safety", user, self.moment, until)
        entry = row_apart(consequence_records.stopped(exchange, stop, 1), "stopping")
        mark = Mark(next(iter(Kind)), uuid7().bytes)
        await stops.add(self.database, stop, [(mark, until)], entry)
        return id

    async def reinstate(self, user):
        await self.enforcement.reinstate("shop", user, reason="appeal", actor="cli")

    async def replayed(self):
        return await replay(self.database, lambda project: LADDERS, self.moment)


@pytest.fixture
async def world(database, tmp_path, new_exchange):
    world = World(database, tmp_path, new_exchange)
    await world.ledger.start()
    yield world
    await world.ledger.aclose()


async def lived(world):
    """Have something of everything happen."""
    await world.request(USERS[0], ("no-bombs", "no-poison"), Outcome.BLOCKED)
    await world.request(USERS[1], ("no-bombs",), Outcome.BLOCKED)
    await world.reinstate(USERS[1])
    await world.request(USERS[1])
    await world.stop(USERS[0])
    stopped = await world.stop(USERS[1])
    assert await lift(world.database, stopped, reason="appeal", actor="cli")
    held = await erasure.add_hold(world.database, "shop", USERS[0], reason="case", actor="cli")
    await erasure.add_hold(world.database, "shop", None, reason="case", actor="cli")
    await erasure.release_hold(world.database, held.id, reason="closed", actor="cli")
    await erasure.erase(world.database, "bank", USERS[0], reason="Art. 17", actor="cli")
    identity = Identity(world.database, b"p" * 32)
    for name in ("one", "two"):
        new = NewKey(project="shop", name=name, scopes=frozenset({Scope.CALLER}))
        key = await identity.create(new, actor="cli")
    await identity.revoke(key.split("_")[2], actor="cli")


async def test_the_log_leads_to_the_tables(world):
    await lived(world)
    found = await world.replayed()

    assert found.equal, found
    assert found.counts == {"strike": 3, "stop": 2, "hold": 1, "erasure": 0, "key": 2}
    assert (found.whole, found.compared, found.open) == (True, True, 0)
    assert [(each["subject"], each["to"]) for each in found.sanctions] == [(USERS[0], "suspend")]


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        ("DELETE FROM strikes WHERE rule = 'no-poison'", {"strike", "sanction"}),
        ("UPDATE strikes SET reversed_at = NULL", {"strike", "sanction"}),
        ("UPDATE strikes SET reversed_at = '2026-07-01T00:00:00.000000Z'", {"strike", "sanction"}),
        ("UPDATE strikes SET struck_at = '2020-01-01T00:00:00.000000Z'", {"strike", "sanction"}),
        ("UPDATE strikes SET policy = 'milder' WHERE rule = 'no-poison'", {"strike"}),
        ("DELETE FROM conversation_stops", {"stop"}),
        ("UPDATE conversation_stops SET lifted_at = '2026-07-01'", {"stop"}),
        ("UPDATE conversation_stops SET expires_at = '2099'", {"stop"}),
        ("DELETE FROM content_holds", {"hold"}),
        ("UPDATE content_holds SET subject = 'nobody'", {"hold"}),
        ("UPDATE api_keys SET revoked_at = NULL", {"key"}),
        ("UPDATE api_keys SET scopes = 'admin' WHERE name = 'one'", {"key"}),
        ("DELETE FROM api_keys WHERE name = 'two'", {"key"}),
    ],
)
async def test_a_row_that_was_changed_in_the_database_disagrees(world, meddle, statement, kinds):
    await lived(world)
    await meddle(statement)
    found = await world.replayed()

    assert {each.kind for each in found.disagreements} == kinds
    assert not found.equal


async def test_a_strike_that_nobody_recorded_disagrees(world, meddle):
    await lived(world)
    await meddle(
        "INSERT INTO strikes (request_id, rule, decision_id, policy, project, subject, struck_at) "
        "VALUES ('req_made_up', 'no-bombs', 'dec_1', 'baseline', 'shop', 'c', :at)",
        at="2026-07-01T00:00:00.000000Z",
    )
    [strike, sanction] = (await world.replayed()).disagreements

    assert (strike.about, strike.log) == (("req_made_up", "no-bombs"), None)
    assert (sanction.about, sanction.log["sanction"]) == (("shop", "c"), "none")


@pytest.mark.parametrize("kind", ["decision.recorded", "request.blocked", "request.admitted"])
async def test_an_entry_that_was_taken_out_is_missing(world, meddle, kind):
    await lived(world)
    await meddle(
        "DELETE FROM audit_entries WHERE seq IN "
        "(SELECT min(seq) FROM audit_entries WHERE type = :kind)",
        kind=kind,
    )
    found = await world.replayed()

    assert "gap" in {lack.kind for lack in found.missing}
    assert not found.equal


async def test_a_request_of_a_replica_that_is_closed_must_have_ended(world, meddle):
    await lived(world)
    await world.ledger.aclose()
    await meddle(
        "DELETE FROM audit_entries WHERE seq IN (SELECT max(seq) FROM audit_entries WHERE terminal)"
    )
    found = await world.replayed()

    assert [lack.kind for lack in found.missing] == ["gap", "never_ended"]
    assert found.open == 0


async def test_strikes_that_were_recorded_before_their_moment_was_are_compared_without_it(
    world, monkeypatch
):
    recorded = enforcement_records.struck

    def as_before(exchange, strike):
        entry = recorded(exchange, strike)
        del entry.body["strike"]["at"]
        return entry

    monkeypatch.setattr(enforcement_records, "struck", as_before)
    await lived(world)

    assert (await world.replayed()).equal


async def test_a_bundle_is_folded_as_far_as_it_goes(world, database, tmp_path):
    tree = LogTree(database, GivenLogKeys(new_key("log")), FileHeads(tmp_path / "heads"))
    await lived(world)
    await tree.turn()
    whole, part = tmp_path / "whole.tar", tmp_path / "part.tar"
    await export(database, Stretch(), whole)
    first = replay_bundles([whole])
    async with database.read() as connection:
        middle = await connection.exec_driver_sql(
            "SELECT recorded_at FROM audit_entries ORDER BY seq LIMIT 1 OFFSET 6"
        )
        since = middle.scalar()
    await export(database, Stretch(since=since), part)
    second = replay_bundles([part])

    assert (first.equal, first.whole, first.compared) == (True, True, False)
    assert first.counts == (await world.replayed()).counts
    assert (second.equal, second.whole) == (True, False)
    assert second.entries == first.entries - 6
    with pytest.raises(ValueError, match="order of the log"):
        replay_bundles([whole, part])


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("request"),
            st.sampled_from([*USERS, None]),
            st.sets(st.sampled_from(["no-bombs", "no-poison", "no-guns"])).map(sorted).map(tuple),
        ),
        st.tuples(st.just("reinstate"), st.sampled_from(USERS)),
        st.tuples(st.just("wait"), st.integers(0, 6)),
        st.tuples(st.just("together"), st.sampled_from(USERS)),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("migrated") / "ostiary.db"

    async def make():
        database = Database(f"sqlite+aiosqlite:///{path}")
        await database.migrate()
        await database.aclose()

    asyncio.run(make())
    return path


async def live(world, steps):
    for kind, *details in steps:
        if kind == "request":
            await world.request(*details)
        elif kind == "reinstate":
            await world.reinstate(*details)
        elif kind == "wait":
            world.moment += details[0] * DAY
        else:
            await asyncio.gather(
                world.request(details[0], ("no-bombs",)),
                world.reinstate(details[0]),
                world.request(details[0], ("no-guns",)),
            )


@given(steps=STEPS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens_the_fold_of_the_log_is_what_the_tables_hold(
    migrated, new_exchange, steps
):
    async def run():
        with tempfile.TemporaryDirectory() as home:
            copy = shutil.copy(migrated, Path(home) / "ostiary.db")
            database = Database(f"sqlite+aiosqlite:///{copy}")
            world = World(database, Path(home), new_exchange)
            await world.ledger.start()
            try:
                await live(world, steps)
                return await world.replayed()
            finally:
                await world.ledger.aclose()
                await database.aclose()

    found = asyncio.run(run())
    assert found.equal, found


async def test_strikes_and_reversals_at_the_same_time_fold_to_what_the_tables_hold(world):
    numbers = count()
    await asyncio.gather(
        *(
            world.reinstate(USERS[0])
            if next(numbers) % 4 == 3
            else world.request(USERS[0], ("no-bombs",))
            for _ in range(40)
        )
    )

    found = await world.replayed()
    assert found.equal, found
    assert found.counts["strike"] == 30


async def test_a_stop_that_has_expired_may_be_gone_or_still_be_there(world, meddle):
    await world.stop(USERS[0])
    await world.stop(USERS[1])
    await meddle("DELETE FROM conversation_stops WHERE subject = :who", who=USERS[0])
    assert not (await world.replayed()).equal

    world.moment += 31 * DAY
    assert (await world.replayed()).equal
