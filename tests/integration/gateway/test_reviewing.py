import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gateway.errors import AuditUnavailable, Conflict, Forbidden, NotFound
from gateway.reviewing import GONE_S, Reviews, decide
from gateway.store import reviews as store
from gateway.store.reviews import State
from policies.types import Action, Decision, Stage

pytestmark = pytest.mark.integration

HELD = Decision(
    Stage.TOOL_CALL, Action.REVIEW, ("ask", "other"), (), "baseline", "1.0.0", "ab" * 32
)
WHY = {"by": "reviewerkey", "reason": "it is fine"}


@pytest.fixture
def reviews(database):
    return Reviews(database, timeout_s=20.0)


@pytest.fixture
async def holding(ledger, new_exchange, database):
    """Holds calls; returns the exchange, the task that waits, and the review once it is open."""
    tasks = []

    async def hold(reviews):
        exchange = new_exchange()

        async def wait():
            async with ledger.exchange(exchange):
                recorded = ledger.record(exchange, HELD)
                return await reviews.hold(exchange, HELD, "send_mail", recorded)

        task = asyncio.create_task(wait())
        tasks.append(task)
        async with asyncio.timeout(10):
            while not (found := await of(database, exchange)):
                if task.done():
                    await task
                await asyncio.sleep(0.01)
        return exchange, task, found[0]

    yield hold
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def of(database, exchange):
    found = await store.listed(database, None, None, 100)
    return [each for each in found if each.request_id == exchange.id]


async def later(database, review, **ago):
    moment = (datetime.now(UTC) - timedelta(**ago)).isoformat(timespec="microseconds")[:-6] + "Z"
    async with database.write() as connection:
        await connection.execute(
            text("UPDATE reviews SET seen_at = :at WHERE id = :id"), {"at": moment, "id": review.id}
        )


@pytest.mark.parametrize(("approve", "state"), [(True, "approved"), (False, "rejected")])
async def test_a_person_decides_through_any_replica(
    database, reviews, holding, types_of, approve, state
):
    exchange, task, review = await holding(reviews)
    assert (review.rule, review.tool, review.key_id) == ("ask", "send_mail", "keyprefix123")

    decided = await decide(database, review.id, approve=approve, **WHY)

    assert decided.state == state
    assert await task is approve
    [human] = exchange.reviewed
    assert (human.decision, human.reviewer, human.second) == (state, "reviewerkey", None)
    assert exchange.held_s > 0
    assert (await types_of(exchange))[-3:] == [
        "review.opened",
        "review.decided",
        "request.completed",
    ]


async def test_when_the_time_is_up_nobody_can_approve_any_more(database, holding, types_of):
    exchange, task, review = await holding(Reviews(database, timeout_s=0.2))

    assert await task is False

    assert exchange.reviewed[0].decision == "expired"
    assert "review.expired" in await types_of(exchange)
    with pytest.raises(Conflict, match="expired"):
        await decide(database, review.id, approve=True, **WHY)


async def test_whoever_asked_does_not_decide(database, reviews, holding):
    _, _, review = await holding(reviews)

    with pytest.raises(Forbidden):
        await decide(database, review.id, approve=True, by="keyprefix123", reason="mine")
    with pytest.raises(NotFound):
        await decide(database, "rev_none", approve=True, **WHY)


async def test_of_two_who_decide_at_once_one_does(database, reviews, holding):
    _, task, review = await holding(reviews)

    both = await asyncio.gather(
        decide(database, review.id, approve=True, by="one", reason="yes"),
        decide(database, review.id, approve=False, by="two", reason="no"),
        return_exceptions=True,
    )

    [done] = [each for each in both if not isinstance(each, Exception)]
    [late] = [each for each in both if isinstance(each, Exception)]
    assert isinstance(late, Conflict)
    assert await task is (done.state is State.APPROVED)


async def test_a_call_whose_replica_died_cannot_be_approved(database, reviews, holding):
    _, _, review = await holding(reviews)
    await later(database, review, seconds=GONE_S + 1)

    with pytest.raises(Conflict, match="nobody waits"):
        await decide(database, review.id, approve=True, **WHY)


async def test_a_caller_that_leaves_closes_the_review(database, reviews, holding, types_of):
    exchange, task, review = await holding(reviews)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await reviews.aclose()

    assert (await store.look(database, review.id)).state is State.CLOSED
    assert "review.closed" in await types_of(exchange)
    assert reviews.waiting == 0


async def test_with_four_eyes_the_first_leaves_it_open(database, holding):
    exchange, task, review = await holding(Reviews(database, 20.0, approvals=2))

    first = await decide(database, review.id, approve=True, by="one", reason="yes")
    with pytest.raises(Conflict, match="somebody else"):
        await decide(database, review.id, approve=True, by="one", reason="yes")
    await decide(database, review.id, approve=True, by="two", reason="yes")

    assert first.state is State.OPEN
    assert await task is True
    [human] = exchange.reviewed
    assert (human.reviewer, human.second) == ("two", "one")


async def test_with_four_eyes_one_rejection_is_enough(database, holding):
    _, task, review = await holding(Reviews(database, 20.0, approvals=2))

    await decide(database, review.id, approve=True, by="one", reason="yes")
    rejected = await decide(database, review.id, approve=False, by="two", reason="no")

    assert rejected.state is State.REJECTED
    assert await task is False


async def test_without_its_decision_no_review_is_opened(
    database, ledger, reviews, new_exchange, log_away
):
    exchange = new_exchange()
    with pytest.raises(AuditUnavailable):
        async with ledger.exchange(exchange), log_away():
            recorded = ledger.record(exchange, HELD)
            await reviews.hold(exchange, HELD, "send_mail", recorded)

    assert await of(database, exchange) == []


async def test_while_the_database_is_away_the_call_waits_and_then_is_decided(
    database, reviews, holding
):
    _, task, review = await holding(reviews)
    async with database.write() as connection:
        await connection.execute(text("ALTER TABLE reviews RENAME TO hidden"))
    await asyncio.sleep(0.7)
    assert not task.done()
    async with database.write() as connection:
        await connection.execute(text("ALTER TABLE hidden RENAME TO reviews"))

    await decide(database, review.id, approve=True, **WHY)

    assert await task is True
