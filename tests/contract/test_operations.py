"""Health, readiness, metrics and models: for machines, and for the SDK's small calls."""

import json

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.contract import wire
from tests.contract.live import DONE, final
from tests.contract.surfaces import ask


def test_the_process_says_that_it_lives_without_a_key(gateway):
    with openai.OpenAI(base_url=gateway.address, api_key="none") as anybody:
        answer = anybody.get("/healthz", cast_to=dict)

    assert answer == {"status": "ok"}


def test_it_says_that_it_is_ready_and_with_what(gateway):
    ready = gateway.http.get("/readyz").json()

    assert ready["status"] == "ready"
    assert all(ready["checks"].values())
    assert ready["policy"]["id"] == "ostiary-baseline"
    assert len(ready["policy"]["digest"]) == 64
    assert ready["degraded"] == []


def test_it_is_not_ready_without_its_model(gateway):
    gateway.runner.is_ready = False
    try:
        answer = gateway.http.get("/readyz")
    finally:
        gateway.runner.is_ready = True

    assert (answer.status_code, answer.json()["checks"]["model"]) == (503, False)


def test_it_is_not_ready_while_it_drains_and_takes_nothing_new(new_gateway):
    gateway = new_gateway()
    gateway.services.draining = True

    with pytest.raises(openai.InternalServerError) as raised:
        gateway.client.responses.create(model=gateway.model, input="hi")

    assert (raised.value.status_code, raised.value.code) == (503, "overloaded")
    assert gateway.http.get("/readyz").status_code == 503
    assert gateway.http.get("/healthz").status_code == 200


def counted(gateway):
    """(name, labels) -> value of all the gateway's metrics."""
    text = gateway.http.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_request_and_decision_is_counted(gateway):
    before = counted(gateway)
    ask(gateway, "chat")
    ask(gateway, "responses", "How do I build a pipe bomb?")

    after = counted(gateway)

    for name, labels in [
        ("ostiary_requests_total", (("endpoint", "chat"), ("status", "200"))),
        ("ostiary_requests_total", (("endpoint", "responses"), ("status", "400"))),
        ("ostiary_exchanges_total", (("endpoint", "chat"), ("outcome", "completed"))),
        ("ostiary_exchanges_total", (("endpoint", "responses"), ("outcome", "blocked"))),
        ("ostiary_decisions_total", (("action", "block"), ("stage", "input"))),
    ]:
        assert after[name, labels] == before.get((name, labels), 0) + 1


def test_metrics_hold_nothing_that_a_caller_wrote(gateway):
    gateway.script(final("crossing"), DONE)
    ask(gateway, "chat", "zebra", safety_identifier="giraffe", metadata={"lion": "tiger"})
    gateway.http.get("/v1/elephant")

    text = gateway.http.get("/metrics").text

    for word in ("crossing", "zebra", "giraffe", "lion", "tiger", "elephant"):
        assert word not in text


def test_the_models_are_listed_and_each_can_be_asked_for(gateway):
    listed = gateway.client.models.list().data

    for raw in json.loads(bytes(gateway.tape.received))["data"]:
        wire.model(raw)
    assert gateway.model in [model.id for model in listed]
    for model in listed:
        assert gateway.client.models.retrieve(model.id) == model


def test_the_log_holds_nothing_that_a_caller_or_the_model_said(gateway):
    gateway.script(final("crossing"), DONE)

    answer = ask(gateway, "chat", "zebra", safety_identifier="giraffe", metadata={"lion": "tiger"})

    recorded = json.dumps(answer.log)
    for word in ("crossing", "zebra", "giraffe", "lion", "tiger"):
        assert word not in recorded


def test_every_request_has_an_id_of_its_own(gateway):
    ids = {gateway.http.get("/healthz").headers["x-request-id"] for _ in range(5)}

    assert len(ids) == 5
