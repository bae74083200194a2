import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gateway.alerting import Alerts
from gateway.audit import records
from gateway.audit.queries import show, tail
from gateway.consequences import Consequences
from gateway.conversation import History
from gateway.egress import Egress
from gateway.errors import AuditUnavailable, ConversationStopped, StoreUnavailable
from gateway.stopping import START_LASTS, TURNS_LAST, Stops
from gateway.store import stops as store
from gateway.types import Outcome
from gateway.webhooks import Webhooks
from model_runner.types import Channel, Delta, Message, Role
from policies.circumstances import Circumstances
from policies.types import Action, Decision, RuleOutcome, Stage

pytestmark = pytest.mark.integration

SECRET = b"s" * 32
STOPPING = Decision(
    Stage.REASONING,
    Action.BLOCK,
    ("stop",),
    (RuleOutcome("stop", "misalignment.exfiltration", 0.95, Action.BLOCK, stop=True),),
    "baseline",
    "1.0.0",
    "ab" * 32,
)
SAID = (
    Message(Role.USER, "Please tidy up the shared folder."),
    Message(Role.ASSISTANT, "It has 40 files.", Channel.FINAL),
    Message(Role.USER, "Whichever you like."),
)
EDITED = (SAID[0], replace(SAID[1], text="It has 39 files."), SAID[2])


def following(stops):
    alerts = Alerts(stops.database, Webhooks(stops.database, (), Egress()))
    return Consequences(stops, alerts)


class Today:
    def __init__(self):
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.moment


@pytest.fixture
def today():
    return Today()


@pytest.fixture
def stops(database, clock, today):
    return Stops(database, SECRET, timedelta(days=30), clock.monotonic, today)


@pytest.fixture
def elsewhere(database, clock, today):
    """Another replica."""
    return Stops(database, SECRET, timedelta(days=30), clock.monotonic, today)


@pytest.fixture
def stopped(ledger, stops, new_exchange):
    """Has a conversation stopped by a decision; returns the exchange."""

    async def do(messages=SAID, by=stops, **changes):
        exchange = new_exchange(history=History(messages), **changes)
        async with ledger.exchange(exchange):
            recorded = ledger.record(exchange, STOPPING)
            await following(by).follow(exchange, STOPPING, None, recorded)
        return exchange

    return do


async def goes_on(stops, exchange, messages, subject=None):
    """Whether a request with these messages is turned away; the stop's id if so."""
    try:
        await stops.check(exchange.principal, subject, History(messages))
    except ConversationStopped as error:
        return error.reason
    return None


async def test_a_stopped_conversation_is_refused_here_at_once_and_elsewhere_in_a_second(
    stops, elsewhere, stopped, new_exchange, clock
):
    asks = new_exchange()
    assert await goes_on(elsewhere, asks, SAID) is None

    exchange = await stopped()

    assert await goes_on(stops, exchange, SAID) == exchange.stopped.id
    assert exchange.stopped.error_type == "potentially_unintended_data_transfer"
    clock.now += 1.0
    assert await goes_on(elsewhere, exchange, SAID) == exchange.stopped.id


async def test_what_is_stored_holds_nothing_that_was_said(stopped, database):
    await stopped()

    async with database.read() as connection:
        rows = [
            *await connection.execute(text("SELECT * FROM conversation_stops")),
            *await connection.execute(text("SELECT * FROM conversation_marks")),
        ]
    assert len(rows) == 1 + 3  # its own id, every word, all turns
    assert "folder" not in repr(rows)
    assert "files" not in repr(rows)


async def test_the_log_says_what_was_stopped_by_which_decision(stopped, database):
    exchange = await stopped(circumstances=Circumstances(end_user="ab" * 16))

    entries = await show(database, exchange.id)

    [entry] = [each for each in entries if each["type"] == "conversation.stopped"]
    [decided] = [each for each in entries if each["type"] == "decision.recorded"]
    assert entry["stop"]["decision"] == decided["decision"]["id"]
    assert entry["stop"]["rule"] == "stop"
    assert entry["actor"]["safety_identifier"] == "ab" * 16
    assert entries.index(decided) < entries.index(entry)


async def test_without_its_decision_nothing_is_stopped(stops, ledger, new_exchange, log_away):
    exchange = new_exchange(history=History(SAID))
    with pytest.raises(AuditUnavailable):
        async with ledger.exchange(exchange), log_away():
            recorded = ledger.record(exchange, STOPPING)
            await following(stops).follow(exchange, STOPPING, None, recorded)

    assert exchange.stopped is None
    assert await goes_on(stops, exchange, SAID) is None


async def test_a_caller_that_leaves_avoids_no_stop(stops, ledger, new_exchange, log_held):
    exchange = new_exchange(history=History(SAID))
    consequences = following(stops)
    async with ledger.exchange(exchange):
        recorded = ledger.record(exchange, STOPPING)
        async with log_held():
            leaving = asyncio.create_task(consequences.follow(exchange, STOPPING, None, recorded))
            await asyncio.sleep(0.05)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        await consequences.aclose()

    assert await goes_on(stops, exchange, SAID) == exchange.stopped.id


async def test_edited_replies_are_known_for_an_hour_and_for_the_same_end_user(
    stops, stopped, today, clock
):
    end_user = "ab" * 16
    exchange = await stopped(circumstances=Circumstances(end_user=end_user))

    assert await goes_on(stops, exchange, EDITED, end_user) == exchange.stopped.id
    assert await goes_on(stops, exchange, EDITED, "cd" * 16) is None
    assert await goes_on(stops, exchange, EDITED) is None
    today.moment += TURNS_LAST
    clock.now += 3600
    assert await goes_on(stops, exchange, EDITED, end_user) is None
    assert await goes_on(stops, exchange, SAID, end_user) == exchange.stopped.id


async def test_a_stop_ends_by_itself_and_is_forgotten(stops, stopped, today, clock, database):
    exchange = await stopped()

    today.moment += timedelta(days=30)
    clock.now += 1.0
    assert await goes_on(stops, exchange, SAID) is None

    await stopped((Message(Role.USER, "Something else."),))
    async with database.read() as connection:
        left = await connection.scalars(text("SELECT request_id FROM conversation_stops"))
        assert exchange.id not in list(left)


async def test_a_person_lets_a_conversation_go_on_and_that_is_recorded(
    stops, elsewhere, stopped, clock, database
):
    exchange = await stopped()
    assert await goes_on(elsewhere, exchange, SAID) is not None

    lifted = await stops.lift(exchange.stopped.id, reason="a false alarm", actor="alice")

    assert (lifted.lifted_by, lifted.reason) == ("alice", "a false alarm")
    assert await goes_on(stops, exchange, SAID) is None
    clock.now += 1.0
    assert await goes_on(elsewhere, exchange, SAID) is None
    assert await stops.lift(exchange.stopped.id, reason="again", actor="alice") is None
    [*_, entry] = [e for e in await tail(database, 20) if e["type"] == "conversation.lifted"]
    assert entry["stop"] == {
        "id": exchange.stopped.id,
        "project": "shop",
        "reason": "a false alarm",
    }


async def test_where_nobody_can_tell_nothing_is_served(stops, new_exchange, database):
    async with database.write() as connection:
        await connection.execute(text("ALTER TABLE conversation_stops RENAME TO hidden"))

    with pytest.raises(StoreUnavailable):
        await goes_on(stops, new_exchange(), SAID)


async def test_a_conversation_of_a_thousand_turns_is_looked_up_in_one_question(stops, stopped):
    turns = SAID + (SAID[1], SAID[2]) * 999
    exchange = await stopped(turns)

    assert await goes_on(stops, exchange, turns) == exchange.stopped.id
    assert await goes_on(stops, exchange, turns[:-2]) is None


async def test_stops_are_listed_newest_first_and_by_project(stopped, database):
    one, two = await stopped(), await stopped(EDITED)

    found = await store.listed(database, "shop")
    assert {stop.request_id for stop in found} == {one.id, two.id}
    assert await store.listed(database, "other") == []
    assert len(await store.listed(database, None, 1)) == 1


async def test_a_moderation_stops_nothing(stopped, database):
    exchange = await stopped(endpoint="moderations")

    assert exchange.stopped is None
    assert await store.listed(database, None) == []


OPENING = (SAID[0],)
ANSWER = Delta(Channel.FINAL, "It has 40 files.", 1)


async def test_an_opening_is_known_behind_a_reply_but_for_one_that_it_got_since(
    stops, elsewhere, stopped, new_exchange, today, clock
):
    stop = await stopped(OPENING)
    assert await goes_on(stops, stop, SAID) == stop.stopped.id

    again = new_exchange(history=History(OPENING))
    again.reopens = await elsewhere.check(again.principal, None, again.history)
    again.release(ANSWER)
    await elsewhere.clear(again)
    await elsewhere.clear(again)

    assert await goes_on(stops, stop, SAID) is None
    assert await goes_on(stops, stop, EDITED) == stop.stopped.id
    assert await goes_on(stops, stop, EDITED, "ab" * 16) is None
    today.moment += START_LASTS
    clock.now += 1.0
    assert await goes_on(stops, stop, EDITED) is None


async def test_a_conversation_that_reopens_nothing_clears_nothing(stops, new_exchange, database):
    exchange = new_exchange(history=History(OPENING))

    assert await stops.check(exchange.principal, None, exchange.history) is None
    await stops.clear(exchange)

    async with database.read() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM conversation_marks")) == 0


async def admitted(ledger, new_exchange, **changes):
    """Have an exchange that was admitted and ended; return the digits of its id."""
    exchange = new_exchange(**changes)
    async with ledger.exchange(exchange):
        exchange.outcome = Outcome.COMPLETED
    return exchange.id.removeprefix("req_")


def with_ids(messages, *issued):
    """A history whose turns of the model have these ids, at places 1, 3, ..."""
    return History(messages, tuple((2 * turn + 1, each) for turn, each in enumerate(issued)))


async def turned_away(stops, exchange, history):
    try:
        await stops.check(exchange.principal, None, history)
    except ConversationStopped:
        return True
    return False


async def test_an_id_of_its_own_moved_to_another_turn_makes_it_no_other_conversation(
    stops, ledger, new_exchange
):
    first, second, foreign = [await admitted(ledger, new_exchange) for _ in range(3)]
    said = (*SAID, Message(Role.ASSISTANT, "Done.", Channel.FINAL), Message(Role.USER, "More."))
    exchange = new_exchange(history=with_ids(said, first, second))
    async with ledger.exchange(exchange):
        recorded = ledger.record(exchange, STOPPING)
        await following(stops).follow(exchange, STOPPING, None, recorded)

    assert await turned_away(stops, exchange, with_ids(said, first, first))
    assert await turned_away(stops, exchange, with_ids(said, first, second))
    assert not await turned_away(stops, exchange, with_ids(said, foreign, foreign))


async def test_an_id_of_what_had_no_reply_makes_it_no_other_conversation(
    stops, ledger, stopped, new_exchange
):
    stop = await stopped()
    denied = new_exchange()
    error = ConversationStopped("stopped", reason=stop.stopped.id, misalignment={})
    turned = {"request_id": denied.id, "endpoint": "responses", "principal": denied.principal}
    await ledger.append(records.denied(error, **turned))
    judged = await admitted(ledger, new_exchange, endpoint="moderations")
    answered = await admitted(ledger, new_exchange, endpoint="chat")

    assert await turned_away(stops, stop, with_ids(SAID, denied.id.removeprefix("req_")))
    assert await turned_away(stops, stop, with_ids(SAID, judged))
    assert not await turned_away(stops, stop, with_ids(SAID, answered))
