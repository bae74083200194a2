import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gateway.audit.queries import show, tail
from gateway.audit.records import pseudonym
from gateway.enforcement import Enforcement
from gateway.errors import AuditUnavailable, StoreUnavailable
from gateway.store import strikes
from gateway.store.times import as_text
from policies.circumstances import Circumstances
from policies.ladder import Ladder, Sanction, Standing, Step
from policies.types import Action, Decision, Policy, Stage

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)
LADDERS = (
    Ladder(
        30 * DAY,
        (
            Step(1, Sanction.WARN),
            Step(3, Sanction.THROTTLE),
            Step(5, Sanction.SUSPEND, 7 * DAY),
            Step(8, Sanction.DEACTIVATE),
        ),
    ),
)
POLICY = Policy("baseline", "1.0.0", "ab" * 32, (), ladders=LADDERS)
SECRET = b"s" * 32


class Today:
    def __init__(self):
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.moment


@pytest.fixture
def today():
    return Today()


@pytest.fixture
def enforcement(database, clock, today):
    return Enforcement(database, clock.monotonic, today)


@pytest.fixture
def elsewhere(database, clock, today):
    """Another replica."""
    return Enforcement(database, clock.monotonic, today)


def subject_of(user, project="shop"):
    return pseudonym(SECRET, project, user)


def of(user):
    return Circumstances(end_user=subject_of(user))


BLOCKED = Decision(
    Stage.INPUT, Action.BLOCK, ("no-bombs",), (), POLICY.id, POLICY.version, POLICY.digest
)
BOMBS = ("no-bombs",)


def durable():
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def take(exchange, decision):
    """Note the decision in the exchange, as the log does."""
    exchange.decisions.append(decision)
    exchange.decision_ids.append(f"dec_{len(exchange.decisions):032x}")


@pytest.fixture
def strike(enforcement, new_exchange):
    """Has an end user struck once, by an exchange of its own; returns the exchange."""

    async def make(user="user-1", rules=BOMBS, by=enforcement, **changes):
        exchange = new_exchange(circumstances=of(user), policy=POLICY, **changes)
        take(exchange, BLOCKED)
        await by.strike(exchange, rules, durable())
        return exchange

    return make


@pytest.fixture
def standing(enforcement):
    async def find(user="user-1", *, by=enforcement, project="shop"):
        return await by.standing(project, subject_of(user, project), LADDERS)

    return find


async def entries(database, kind):
    return [entry for entry in await tail(database, 100) if entry["type"] == kind]


async def test_an_end_user_walks_the_ladder(strike, standing):
    walked = [(await standing()).sanction]
    for _ in range(8):
        await strike()
        walked.append((await standing()).sanction)

    assert [sanction.name.lower() for sanction in walked] == [
        "none",
        "warn",
        "warn",
        "throttle",
        "throttle",
        "suspend",
        "suspend",
        "suspend",
        "deactivate",
    ]


async def test_nobody_else_is_affected(strike, standing):
    for _ in range(8):
        await strike("user-1")

    assert await standing("user-2") == Standing()
    assert await standing("user-1", project="bank") == Standing()


@pytest.mark.parametrize("nobody", [None, ""])
async def test_a_request_that_names_nobody_makes_no_strikes(database, strike, standing, nobody):
    await strike(nobody)

    assert await standing(nobody) == Standing()
    assert await tail(database, 10) == []


async def test_a_strike_and_its_entry_are_both_there_and_hold_no_name(
    database, strike, enforcement, today
):
    exchange = await strike("user-1")

    subject = subject_of("user-1")
    [stored] = await strikes.of_subject(database, "shop", subject)
    assert (stored.request_id, stored.rule, stored.policy) == (exchange.id, "no-bombs", "baseline")
    assert (stored.struck_at, stored.reversed_at) == (today.moment, None)
    entry, _ = await show(database, exchange.id)
    assert entry["type"] == "enforcement.struck"
    assert entry["strike"] == {
        "decision": stored.decision_id,
        "rule": "no-bombs",
        "policy": "baseline",
        "at": as_text(today.moment),
    }
    assert entry["actor"]["safety_identifier"] == subject
    assert "user-1" not in str(entry)


async def test_a_rule_counts_once_in_an_exchange(database, enforcement, new_exchange):
    exchange = new_exchange(circumstances=of("user-1"), policy=POLICY)
    for rules in (BOMBS, BOMBS, (*BOMBS, "no-poison")):
        take(exchange, BLOCKED)
        await enforcement.strike(exchange, rules, durable())

    subject = subject_of("user-1")
    found = await strikes.of_subject(database, "shop", subject)
    assert sorted(strike.rule for strike in found) == ["no-bombs", "no-poison"]
    assert len(await entries(database, "enforcement.struck")) == 2


async def test_each_change_of_sanction_is_recorded_once(database, strike):
    for _ in range(5):
        await strike()

    changes = [entry["sanction"] for entry in await entries(database, "enforcement.sanctioned")]
    assert [(change["from"], change["to"]) for change in changes] == [
        ("none", "warn"),
        ("warn", "throttle"),
        ("throttle", "suspend"),
    ]
    assert [change["until"] for change in changes] == [None, None, "2026-01-08T00:00:00.000000Z"]


async def test_strikes_at_the_same_time_are_counted_one_after_the_other(
    database, strike, elsewhere
):
    await asyncio.gather(*(strike() for _ in range(4)), *(strike(by=elsewhere) for _ in range(4)))

    changes = [entry["sanction"] for entry in await entries(database, "enforcement.sanctioned")]
    assert [change["to"] for change in changes] == ["warn", "throttle", "suspend", "deactivate"]
    assert [change["strikes"] for change in changes] == [1, 3, 5, 8]


async def test_two_rules_in_one_decision_are_two_strikes(strike, standing):
    await strike(rules=("no-bombs", "no-poison"))

    assert (await standing()).strikes == 2


async def test_a_strike_elsewhere_is_known_within_a_second(strike, standing, elsewhere, clock):
    await standing()
    await strike(by=elsewhere)
    assert await standing() == Standing()

    clock.now += 1.0
    assert (await standing()).sanction is Sanction.WARN


async def test_a_strike_by_a_clock_that_is_ahead_counts(strike, standing, today):
    today.moment += timedelta(seconds=5)
    await strike()
    today.moment -= timedelta(seconds=5)

    assert (await standing()).strikes == 1


async def test_a_suspension_ends_by_itself(strike, standing, today, clock):
    for _ in range(5):
        await strike()
    today.moment += 7 * DAY
    clock.now += 1.0

    assert (await standing()).sanction is Sanction.THROTTLE


async def test_reinstating_reverses_every_strike_and_says_why(
    database, strike, standing, enforcement
):
    for _ in range(8):
        await strike()
    subject = subject_of("user-1")

    assert await enforcement.reinstate("shop", subject, reason="a mistake", actor="cli") == 8
    assert await enforcement.reinstate("shop", subject, reason="again", actor="cli") == 0

    assert await standing() == Standing()
    [entry] = await entries(database, "enforcement.reversed")
    assert entry["end_user"] == {"project": "shop", "safety_identifier": subject}
    kept = await strikes.of_subject(database, "shop", subject)
    at = as_text(kept[0].reversed_at)
    assert entry["reversal"] == {"strikes": 8, "reason": "a mistake", "at": at}
    assert len(kept) == 8
    assert all(strike.reversed_at is not None for strike in kept)


async def test_after_reinstatement_counting_begins_anew(database, strike, standing, enforcement):
    for _ in range(8):
        await strike()
    subject = subject_of("user-1")
    await enforcement.reinstate("shop", subject, reason="a mistake", actor="cli")
    await strike()

    assert (await standing()).sanction is Sanction.WARN
    assert list(await strikes.by_subject(database, "shop")) == [subject]


async def test_a_reinstatement_elsewhere_is_in_force_within_a_second(
    strike, standing, elsewhere, clock
):
    await strike()
    await standing()
    subject = subject_of("user-1")
    await elsewhere.reinstate("shop", subject, reason="a mistake", actor="cli")
    clock.now += 1.0

    assert await standing() == Standing()


@pytest.fixture
def hide_strikes(database):
    async def hide():
        async with database.write() as connection:
            await connection.execute(text("ALTER TABLE strikes RENAME TO hidden"))

    return hide


async def test_without_the_database_nobody_is_known_to_be_in_good_standing(
    standing, hide_strikes, clock
):
    await standing()
    await hide_strikes()
    clock.now += 1.0

    with pytest.raises(StoreUnavailable):
        await standing()


async def test_a_policy_without_a_ladder_needs_no_database(enforcement, hide_strikes):
    await hide_strikes()

    assert await enforcement.standing("shop", "ab" * 16, ()) == Standing()


async def test_a_strike_that_cannot_be_recorded_is_not_made(database, strike, standing, log_away):
    async with log_away():
        with pytest.raises(StoreUnavailable):
            await strike()

    assert await standing() == Standing()


async def test_without_its_decision_in_the_log_there_is_no_strike(
    enforcement, new_exchange, standing
):
    lost = asyncio.get_running_loop().create_future()
    lost.set_exception(AuditUnavailable("the decision log cannot be written"))
    exchange = new_exchange(circumstances=of("user-1"), policy=POLICY)
    take(exchange, BLOCKED)
    with pytest.raises(AuditUnavailable):
        await enforcement.strike(exchange, BOMBS, lost)

    assert await standing() == Standing()


async def test_hanging_up_avoids_no_strike(enforcement, new_exchange, standing):
    exchange = new_exchange(circumstances=of("user-1"), policy=POLICY)
    take(exchange, BLOCKED)
    recorded = asyncio.get_running_loop().create_future()
    striking = asyncio.create_task(enforcement.strike(exchange, BOMBS, recorded))
    await asyncio.sleep(0)
    striking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await striking
    recorded.set_result(None)
    await enforcement.aclose()

    assert (await standing()).strikes == 1


async def test_the_harshest_of_several_ladders_is_recorded(database, strike, new_exchange):
    strict = replace(POLICY, ladders=(*LADDERS, Ladder(DAY, (Step(1, Sanction.SUSPEND, DAY),))))
    exchange = new_exchange(circumstances=of("user-1"), policy=strict)
    take(exchange, BLOCKED)
    enforcement = Enforcement(database)
    await enforcement.strike(exchange, BOMBS, durable())

    [entry] = await entries(database, "enforcement.sanctioned")
    assert entry["sanction"]["to"] == "suspend"


async def test_standing_is_looked_up_while_others_write(strike, standing, log_held, clock):
    await strike()
    clock.now += 1.0

    async with log_held():
        assert (await standing()).strikes == 1


async def test_the_database_refuses_all_changes_of_a_strike_but_its_reversal(database, strike):
    await strike()

    for change in (
        "DELETE FROM strikes",
        "UPDATE strikes SET struck_at = '2020-01-01T00:00:00.000000Z'",
        "UPDATE strikes SET subject = 'somebody else'",
    ):
        with pytest.raises(Exception, match=r"stays as it was made|cannot be used"):
            async with database.write() as connection:
                await connection.execute(text(change))
    assert len(await strikes.of_subject(database, "shop", subject_of("user-1"))) == 1
