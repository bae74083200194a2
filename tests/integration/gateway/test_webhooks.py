import asyncio
import base64
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from aiohttp import web
from sqlalchemy import text
from standardwebhooks import Webhook

from gateway.alerting import Alerts
from gateway.audit.queries import tail
from gateway.consequences import Consequences
from gateway.egress import Egress, networks
from gateway.errors import AuditUnavailable
from gateway.safety_events import ALERT_CREATED, event
from gateway.stopping import Stops
from gateway.store import notices, outbox
from gateway.webhook_endpoints import WebhookEndpoint
from gateway.webhooks import LEASE, MOST_TRIES, Webhooks, retry
from policies.types import Action, Decision, RuleOutcome, Stage

pytestmark = pytest.mark.integration

SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()
LOOPBACK = Egress(networks(["127.0.0.0/8"]), timeout_s=2.0)
ALERTING = Decision(
    Stage.TOOL_CALL,
    Action.FLAG,
    ("tell",),
    (RuleOutcome("tell", "agent.data_transfer", 0.95, Action.FLAG, alert=True),),
    "baseline",
    "1.0.0",
    "ab" * 32,
)


class Today:
    """A clock of the present: signatures are checked against it. It can be moved on."""

    def __init__(self):
        self.ahead = timedelta()

    def __call__(self):
        return datetime.now(UTC) + self.ahead


class Hooks:
    """A real server that is told of events, and answers as it is set to."""

    def __init__(self):
        self.status = 200
        self.heard = []
        self.pause_s = 0.0
        self.came = asyncio.Event()

    async def answer(self, request):
        self.heard.append((dict(request.headers), await request.read()))
        self.came.set()
        await asyncio.sleep(self.pause_s)
        return web.Response(status=self.status)


@pytest.fixture
async def hooks():
    told = Hooks()
    application = web.Application()
    application.router.add_post("/hook", told.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/hook"
    yield told
    await runner.cleanup()


@pytest.fixture
def today():
    return Today()


@pytest.fixture
def replica(database, hooks, today):
    """Makes replicas, each with counts of its own."""

    def make(
        events=(ALERT_CREATED,),
        url=None,
        egress=LOOPBACK,
        names=("pager",),
        counted=lambda *each: None,
    ):
        endpoints = [
            WebhookEndpoint(name, url or hooks.url, SECRET, frozenset(events), ("*",))
            for name in names
        ]
        return Webhooks(database, endpoints, egress, counted, today, lambda: 1.0)

    return make


async def written(database, webhooks, count=1):
    events = [event(ALERT_CREATED, "shop", {"id": "alert_1"}, webhooks.now()) for _ in range(count)]
    async with database.write() as connection:
        for each in events:
            await outbox.add(connection, webhooks.deliveries(each))
    return events


async def states(database):
    return [(row["state"], row["tries"]) for row in await outbox.listed(database, None, 100)]


async def test_an_event_is_delivered_with_a_signature_that_verifies(database, replica, hooks):
    counts = []
    webhooks = replica(counted=lambda *each: counts.append(each))
    [sent] = await written(database, webhooks)

    assert await webhooks.deliver_due() == 1

    [(headers, body)] = hooks.heard
    assert Webhook(SECRET).verify(body, headers) == orjson.loads(sent.body)
    assert {name.lower() for name in headers} >= {"webhook-id", "webhook-timestamp"}
    assert await states(database) == [("delivered", 1)]
    assert counts == [("pager", "delivered")]
    assert await webhooks.deliver_due() == 0


async def test_what_was_delivered_is_kept_no_longer(database, replica):
    webhooks = replica()
    await written(database, webhooks)
    await webhooks.deliver_due()

    async with database.read() as connection:
        [body] = await connection.scalars(text("SELECT body FROM webhook_deliveries"))
    assert bytes(body) == b""


async def test_each_endpoint_gets_what_it_wants_and_one_that_fails_holds_up_none(
    database, replica, hooks, today
):
    webhooks = replica(names=("pager", "mail"))
    hooks.status = 500
    await written(database, webhooks)

    await webhooks.deliver_due()
    hooks.status = 204
    today.ahead += timedelta(seconds=6)
    await webhooks.deliver_due()

    assert len({headers["webhook-id"] for headers, _ in hooks.heard}) == 1
    assert await states(database) == [("delivered", 2)] * 2


async def test_a_failed_try_is_made_again_later_and_later(database, replica, hooks, today):
    webhooks = replica()
    hooks.status = 503
    await written(database, webhooks)

    for wait_s in (5, 10, 20):
        assert await webhooks.deliver_due() == 1
        today.ahead += timedelta(seconds=wait_s - 1)
        assert await webhooks.deliver_due() == 0
        today.ahead += timedelta(seconds=1)
    hooks.status = 200
    assert await webhooks.deliver_due() == 1

    assert await states(database) == [("delivered", 4)]


@pytest.mark.parametrize("status", [302, 404, 410])
async def test_an_answer_that_is_no_yes_is_a_no(database, replica, hooks, status):
    webhooks = replica()
    hooks.status = status
    await written(database, webhooks)

    await webhooks.deliver_due()

    [row] = await outbox.listed(database, None, 1)
    assert (row["state"], row["error"]) == ("waiting", f"status_{status}")


async def test_after_the_last_try_it_is_given_up_recorded_and_can_be_tried_again(
    database, replica, hooks, today
):
    webhooks = replica()
    hooks.status = 500
    await written(database, webhooks)
    for _ in range(MOST_TRIES):
        assert await webhooks.deliver_due() == 1
        today.ahead += timedelta(hours=7)

    assert await webhooks.deliver_due() == 0
    assert await outbox.counted(database) == {("pager", "dead"): 1}
    [dead] = await outbox.listed(database, outbox.State.DEAD, 10)
    [entry] = [each for each in await tail(database, 50) if each["type"] == "webhook.abandoned"]
    assert (entry["webhook"]["id"], entry["webhook"]["error"]) == (dead["id"], "status_500")

    hooks.status = 200
    assert await retry(database, dead["id"], "alice")
    assert not await retry(database, dead["id"], "alice")
    assert await webhooks.deliver_due() == 1
    assert await outbox.counted(database) == {}


async def test_replicas_share_the_work_and_none_is_sent_twice(database, replica, hooks):
    one, other = replica(), replica()
    hooks.pause_s = 0.05
    sent = await written(database, one, count=12)

    while any(await asyncio.gather(one.deliver_due(), other.deliver_due())):
        pass

    assert sorted(headers["webhook-id"] for headers, _ in hooks.heard) == sorted(
        each.id for each in sent
    )


async def test_what_a_replica_died_over_is_sent_by_another(database, replica, hooks, today):
    dying, other = replica(), replica()
    await written(database, dying)
    hooks.pause_s = 30.0
    cut_off = asyncio.create_task(dying.deliver_due())
    await hooks.came.wait()
    cut_off.cancel()
    hooks.pause_s = 0.0

    assert await other.deliver_due() == 0
    today.ahead += LEASE
    assert await other.deliver_due() == 1

    assert await states(database) == [("delivered", 2)]
    assert len({headers["webhook-id"] for headers, _ in hooks.heard}) == 1


async def test_a_private_endpoint_that_is_not_listed_is_never_sent_anything(
    database, replica, hooks
):
    webhooks = replica(egress=Egress(timeout_s=1.0))
    await written(database, webhooks)

    await webhooks.deliver_due()

    [row] = await outbox.listed(database, None, 1)
    assert (row["error"], hooks.heard) == ("refused", [])


async def test_a_replica_leaves_what_is_for_endpoints_that_it_does_not_know(
    database, replica, hooks, today
):
    newer, older = replica(names=("pager", "mail")), replica()
    await written(database, newer)

    assert await older.deliver_due() == 1
    today.ahead += timedelta(hours=23)
    await older.prune()
    assert await outbox.counted(database) == {("mail", "waiting"): 1}
    assert await newer.deliver_due() == 1
    assert await states(database) == [("delivered", 1)] * 2


async def test_more_than_it_can_make_for_others_holds_up_none_of_its_own(database, replica):
    await written(database, replica(names=("mail",)), count=20)
    older = replica()
    await written(database, older)

    assert await older.deliver_due() == 1
    assert await outbox.counted(database) == {("mail", "waiting"): 20}


async def test_an_endpoint_that_is_in_no_file_any_more_is_given_up_after_a_day(
    database, replica, today
):
    await written(database, replica())
    counts = []
    gone = replica(names=("other",), counted=lambda *each: counts.append(each))
    beside = replica(names=("other",), counted=lambda *each: counts.append(each))

    today.ahead += timedelta(hours=25)
    await asyncio.gather(gone.prune(), beside.prune())

    assert await outbox.counted(database) == {("pager", "dead"): 1}
    [entry] = [each for each in await tail(database, 50) if each["type"] == "webhook.abandoned"]
    assert entry["webhook"]["error"] == "no_such_endpoint"
    assert counts == [("pager", "abandoned")]


async def test_what_its_own_replicas_still_try_is_no_orphan(database, replica, hooks, today):
    newer, older = replica(names=("mail",)), replica()
    hooks.status = 500
    await written(database, newer)
    for _ in range(5):
        today.ahead += timedelta(hours=7)
        await newer.deliver_due()
        await older.prune()

    assert await outbox.counted(database) == {("mail", "waiting"): 1}


async def test_in_the_background_it_is_delivered_at_once(database, replica, hooks):
    webhooks = replica()
    webhooks.start()
    await written(database, webhooks)
    webhooks.wake()

    async with asyncio.timeout(5):
        await hooks.came.wait()
    assert not webhooks.stopped
    await webhooks.aclose()


@pytest.fixture
def alerted(database, ledger, replica, new_exchange):
    """Has decisions of one exchange taken that raise an alert; returns the exchange."""
    webhooks = replica()
    stops = Stops(database, b"s" * 32, timedelta(days=30))
    consequences = Consequences(stops, Alerts(database, webhooks))

    async def do(*decisions, **changes):
        exchange = new_exchange(**changes)
        async with ledger.exchange(exchange):
            for decision in decisions or (ALERTING,):
                recorded = ledger.record(exchange, decision)
                await consequences.follow(exchange, decision, None, recorded)
        return exchange

    return do


async def test_an_alert_is_stored_recorded_and_told(database, alerted, replica, hooks):
    exchange = await alerted(endpoint="chat")

    [alert] = await notices.alerts(database, "shop", 10)
    assert (alert.error_type, alert.rule) == ("potentially_unintended_data_transfer", "tell")
    assert (alert.request_id, alert.decision_id) == (exchange.id, exchange.decision_ids[0])
    assert alert.response_id == "chatcmpl-" + exchange.id.removeprefix("req_")
    assert not alert.request_paused
    assert await notices.alert_with_id(database, alert.id) == alert
    [entry] = [each for each in await tail(database, 50) if each["type"] == "alert.created"]
    assert (entry["alert"]["id"], entry["rules"]) == (alert.id, ["tell"])
    await replica().deliver_due()
    assert orjson.loads(hooks.heard[0][1])["data"] == {"id": alert.id}


async def test_a_rule_alerts_once_in_an_exchange(database, alerted):
    await alerted(ALERTING, ALERTING)
    await alerted()

    assert len(await notices.alerts(database, None, 10)) == 2


async def test_without_its_decision_there_is_no_alert(database, ledger, alerted, log_away):
    with pytest.raises(AuditUnavailable):
        async with log_away():
            await alerted()

    assert await notices.alerts(database, None, 10) == []
    assert await outbox.listed(database, None, 10) == []


async def test_alerts_are_paged_newest_first(database, alerted):
    made = [await alerted() for _ in range(3)]

    first = await notices.alerts(database, "shop", 2)
    rest = await notices.alerts(database, "shop", 2, first[-1].id)

    assert [each.request_id for each in (*first, *rest)] == [each.id for each in reversed(made)]


async def test_what_was_settled_long_ago_is_listed_no_more(database, replica, hooks, today):
    webhooks = replica()
    await written(database, webhooks)
    await webhooks.deliver_due()
    hooks.status = 500
    await written(database, webhooks)
    today.ahead += timedelta(days=31)

    assert await outbox.prune(database, today() - timedelta(days=30)) == 1
    assert await outbox.prune(database, today() - timedelta(days=30)) == 0
    assert await states(database) == [("waiting", 0)]
