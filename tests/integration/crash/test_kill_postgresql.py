import asyncio

import pytest

from benchmarks.callers import Question
from benchmarks.completeness import contradictions, ends, unfinished
from benchmarks.crash import read_log, swept_log

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SPOOLING = """apiVersion: ostiary/v1
kind: Policy
metadata: {id: spooling, version: 1.0.0, owner: o@acme.example}
defaults: {durability: spool}
categories:
  violence: {severity: high, rationale: "is watched"}
rules:
  - {id: watched, category: violence, stages: [input, output], bands: [{gte: 1, actions: [flag]}]}
"""


async def test_a_gateway_refuses_while_postgresql_is_dead_and_goes_on_when_it_is_back(
    doomed_postgres, new_gateway, besieged, until, ask
):
    gateway = new_gateway(doomed_postgres.url("postgres"))
    await gateway.start()
    async with besieged(gateway) as crowd:
        await crowd.served()
        doomed_postgres.kill()
        await until(lambda: any(given.status == 503 for given in crowd.given))
        refused = await ask(gateway, Question())
        doomed_postgres.start()
        await crowd.served()

    log = await swept_log(doomed_postgres.url("postgres"))
    assert contradictions(log, crowd.given) == []
    assert refused.status == 503
    assert b'"code":"audit_unavailable"' in refused.raw
    assert [entry["type"] for entry in log].count("replica.started") == 1


async def test_postgresql_killed_again_and_again_loses_no_record_it_acknowledged(
    doomed_postgres, new_gateway, besieged
):
    gateway = new_gateway(doomed_postgres.url("postgres"))
    await gateway.start()
    async with besieged(gateway) as crowd:
        for _ in range(4):
            await crowd.served()
            doomed_postgres.kill()
            doomed_postgres.start()

    assert contradictions(await swept_log(doomed_postgres.url("postgres")), crowd.given) == []


async def test_a_reply_withheld_because_the_log_was_away_is_not_recorded_as_completed(
    doomed_postgres, new_gateway, slow_engine_url, ask
):
    gateway = new_gateway(doomed_postgres.url("postgres"), upstream_url=slow_engine_url)
    await gateway.start()
    reply = asyncio.create_task(ask(gateway, Question(stream=False)))
    while not unfinished(await read_log(doomed_postgres.url("postgres"))):  # noqa: ASYNC110 - has no event
        await asyncio.sleep(0.05)
    doomed_postgres.kill()
    given = await reply
    doomed_postgres.start()

    log = await swept_log(doomed_postgres.url("postgres"))
    assert given.status == 503
    assert contradictions(log, [given]) == []
    assert ends(log) == {"request.error": 1}


async def test_a_gateway_that_may_spool_serves_without_postgresql_and_a_crash_loses_nothing(
    doomed_postgres, new_gateway, tmp_path, ask
):
    (tmp_path / "policy.yaml").write_text(SPOOLING)
    url, policy = doomed_postgres.url("postgres"), str(tmp_path / "policy.yaml")
    gateway = new_gateway(url, policy=policy, stale_s="200", lease_s="15")
    await gateway.start()
    await ask(gateway, Question(stream=False))
    doomed_postgres.kill()
    for stream in (False, True, True):
        await ask(gateway, Question(stream=stream))
    _, ready = await gateway.readyz()
    gateway.kill()
    doomed_postgres.start()
    await gateway.start()
    await ask(gateway, Question(stream=False))

    log = await swept_log(url)
    assert [given.status for given in ask.given] == [200] * 5
    assert contradictions(log, ask.given) == []
    assert ends(log) == {"request.completed": 5}
    assert "log" in ready["degraded"]
    assert ready["log"]["spool"]["entries"] >= 3 * 3
    assert not list((tmp_path / "spool").iterdir())
