"""Tool calls that wait for a person, as the official client sees it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from gateway.audit.queries import tail
from gateway.cli import app
from gateway.types import Scope
from tests.contract.live import DONE, Gateway, call, connection, final, send_head, wait_until
from tests.contract.surfaces import SURFACES, WEATHER, Turn, ask

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: a@acme.example}
defaults: {on_unsupported_language: flag, deadline_ms: 5000}
categories:
  pii.email: {severity: low, rationale: "often public", clause: "1"}
rules:
  - id: ask
    category: pii.email
    stages: [tool_call, output]
    bands: [{gte: 0.5, actions: [review]}]
"""
MAIL = "jane.roe@acme-mail.com"
ARGUMENTS = f'{{"city":"{MAIL}"}}'
ROOT = "/v1/organization/reviews"
WHY = {"reason": "it is what the end user asked for"}


def start(home, **settings):
    file = home / "acme.yaml"
    file.write_text(POLICY)
    return Gateway(home, policy=str(file), classifiers=("patterns",), **settings)


@pytest.fixture(scope="module")
def reviewing_gateway(tmp_path_factory):
    with start(tmp_path_factory.mktemp("reviewing")) as gateway:
        yield gateway


@pytest.fixture
def gateway(reviewing_gateway):
    reviewing_gateway.script(call("get_weather", ARGUMENTS), DONE)
    return reviewing_gateway


@pytest.fixture(params=SURFACES)
def surface(request):
    return request.param


class Reviewer:
    """Somebody with a key of their own for reviews."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.key = gateway.new_key(Scope.REVIEWER)
        self.headers = {"authorization": f"Bearer {self.key}"}

    def waiting(self):
        found = self.gateway.http.get(ROOT, headers=self.headers, params={"state": "open"})
        return found.json()["data"]

    def next(self):
        wait_until(self.waiting)
        [review] = self.waiting()
        return review

    def decide(self, review, decision):
        body = {"decision": decision, **WHY}
        return self.gateway.http.post(f"{ROOT}/{review['id']}", headers=self.headers, json=body)


def held(gateway, surface, meanwhile, tools=(WEATHER,)):
    """Ask for what is held; return the answer, and what somebody did while it was."""
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, gateway, surface, tools=list(tools))
        did = meanwhile()
        return asking.result(30), did


def test_an_approved_call_is_released_whole(gateway, surface):
    reviewer = Reviewer(gateway)

    answer, decided = held(gateway, surface, lambda: reviewer.decide(reviewer.next(), "approve"))

    [(_, name, arguments)] = answer.calls
    assert (name, arguments) == ("get_weather", ARGUMENTS)
    assert decided.json()["state"] == "approved"
    assert answer.outcome == ("completed", None)
    types = [entry["type"] for entry in answer.log]
    assert types.index("decision.recorded") < types.index("review.opened")
    assert types.index("review.opened") < types.index("review.decided")
    [last] = [entry for entry in answer.log if entry["type"] == "request.completed"]
    [human] = last["human"]
    assert (human["decision"], human["reviewer"]) == ("approved", decided.json()["decided_by"])


def test_nobody_is_asked_again_about_a_call_of_the_history(gateway, surface):
    reviewer = Reviewer(gateway)
    answer, _ = held(gateway, surface, lambda: reviewer.decide(reviewer.next(), "approve"))
    [(call_id, name, arguments)] = answer.calls
    gateway.script(final("Fine."), DONE)
    turns = [Turn("user", "Hello!"), Turn("call", arguments, call_id, name)]

    after = ask(gateway, surface, [*turns, Turn("output", "ok", call_id, name)], tools=[WEATHER])

    assert after.text == "Fine."
    assert after.decisions == [("tool_call", "review", ("ask",))]


def test_a_rejected_call_is_not_released(gateway, surface):
    reviewer = Reviewer(gateway)

    answer, _ = held(gateway, surface, lambda: reviewer.decide(reviewer.next(), "reject"))

    assert answer.calls == []
    assert answer.refusal
    assert MAIL.encode() not in answer.raw
    assert answer.outcome == ("blocked", "ask")
    [last] = [entry for entry in answer.log if entry["type"] == "request.blocked"]
    assert last["human"][0]["decision"] == "rejected"


def test_nothing_of_a_call_that_is_held_leaves_before_it_is_decided(gateway):
    reviewer = Reviewer(gateway)
    body = {"model": gateway.model, "input": "hi", "stream": True}
    body["tools"] = [{"type": "function", "strict": True, **WEATHER}]
    raw = json.dumps(body).encode()
    with connection(gateway) as sock:
        send_head(gateway, sock, "/v1/responses", f"content-length: {len(raw)}")
        sock.sendall(raw)
        review = reviewer.next()
        sock.settimeout(0.5)
        early = b""
        with pytest.raises(TimeoutError):
            while True:
                early += sock.recv(65536)
        assert b"response.created" in early
        assert b"get_weather" not in early.partition(b'"tools"')[0].partition(b"output_item")[2]
        assert b"function_call" not in early
        assert MAIL.encode() not in early
        reviewer.decide(review, "reject")


def test_a_stream_is_kept_alive_while_a_call_is_held(gateway, monkeypatch):
    monkeypatch.setattr("gateway.api.sse.KEEP_ALIVE_S", 0.1)
    reviewer = Reviewer(gateway)

    def wait():
        review = reviewer.next()
        time.sleep(0.5)
        return reviewer.decide(review, "approve")

    with ThreadPoolExecutor(1) as pool:
        deciding = pool.submit(wait)
        made = gateway.client.responses.with_raw_response.create(
            model=gateway.model,
            input="hi",
            stream=True,
            tools=[{"type": "function", "strict": True, **WEATHER}],
        )
        *_, last = made.parse()
        deciding.result(30)

    assert last.response.output[-1].arguments == ARGUMENTS
    assert bytes(gateway.tape.received).count(b": keep-alive") >= 2


def test_what_the_call_says_is_read_from_the_vault_and_that_is_recorded(gateway):
    reviewer = Reviewer(gateway)

    def read():
        review = reviewer.next()
        url = f"{ROOT}/{review['id']}/content"
        without = gateway.http.post(url, headers=reviewer.headers, json={})
        opened = gateway.http.post(url, headers=reviewer.headers, json=WHY)
        reviewer.decide(review, "reject")
        return review, without.status_code, opened.json()

    _, (review, without, opened) = held(gateway, "chat", read)

    assert without == 400
    assert opened["data"][-1] == {"source": "call", "text": ARGUMENTS, "tool": "get_weather"}
    assert opened["data"][0] == {"source": "user", "text": "Hello!"}
    entries = gateway.run(tail(gateway.services.database, 50))
    [entry] = [each for each in entries if each["type"] == "access.opened"]
    assert review["decision_id"] in json.dumps(entry)
    assert MAIL not in json.dumps([each for each in entries if "review" in each["type"]])


def test_who_asked_does_not_decide_and_who_may_not_review_sees_nothing(gateway):
    reviewer = Reviewer(gateway)
    asker = gateway.new_key(Scope.CALLER, Scope.REVIEWER)
    caller = {"authorization": f"Bearer {gateway.new_key()}"}

    def try_it():
        review = reviewer.next()
        assert gateway.http.get(ROOT, headers=caller).status_code == 403
        url = f"{ROOT}/{review['id']}"
        own = {"authorization": f"Bearer {asker}"}
        refused = gateway.http.post(url, headers=own, json={"decision": "approve", **WHY})
        reviewer.decide(review, "approve")
        late = reviewer.decide(review, "reject")
        return refused, late

    client = gateway.client_with(asker)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(
            client.responses.create,
            model=gateway.model,
            input="hi",
            tools=[{"type": "function", "strict": True, **WEATHER}],
        )
        refused, late = try_it()
        assert asking.result(30).output[-1].type == "function_call"
    client.close()
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "own_request")
    assert late.status_code == 409


def test_a_caller_that_leaves_closes_the_review(gateway):
    reviewer = Reviewer(gateway)
    body = {"model": gateway.model, "messages": [{"role": "user", "content": "hi"}]}
    body["tools"] = [{"type": "function", "function": WEATHER}]
    raw = json.dumps(body).encode()
    with connection(gateway) as sock:
        send_head(gateway, sock, "/v1/chat/completions", f"content-length: {len(raw)}")
        sock.sendall(raw)
        review = reviewer.next()

    wait_until(lambda: not reviewer.waiting())
    assert reviewer.decide(review, "approve").status_code == 409
    entries = gateway.ended(review["request_id"])
    types = [entry["type"] for entry in entries]
    assert "request.client_disconnected" in types
    wait_until(lambda: "review.closed" in [e["type"] for e in gateway.show(review["request_id"])])


def test_a_review_of_another_stage_is_not_held(gateway, surface):
    gateway.script(final(f"Write to {MAIL}."), DONE)

    answer = ask(gateway, surface)

    assert answer.refusal
    assert Reviewer(gateway).waiting() == []


def test_a_person_decides_from_the_command_line(gateway, monkeypatch):
    monkeypatch.setenv("OSTIARY_HOME", str(gateway.settings.home))
    reviewer = Reviewer(gateway)

    def run(*arguments):
        done = CliRunner().invoke(app, ["review", *arguments, "--json"])
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]

    def decide():
        review_id = reviewer.next()["id"]
        assert review_id in [row["id"] for row in run("list")[1]]
        status, [shown] = run("show", review_id, "--content", "--reason", "to decide")
        assert (status, shown["content"][-1]["text"]) == (1, ARGUMENTS)
        assert run("show", review_id, "--content")[0] == 2
        return run("approve", review_id, "--reason", "asked for", "--as", "alice")

    answer, (status, [approved]) = held(gateway, "responses", decide)

    assert (status, approved["state"], approved["decided_by"]) == (0, "approved", "cli:alice")
    assert len(answer.calls) == 1
    assert run("reject", approved["id"], "--reason", "late")[0] == 1


def test_when_the_time_is_up_the_call_is_not_released(tmp_path):
    with start(tmp_path, review_timeout_s=0.3) as gateway:
        gateway.script(call("get_weather", ARGUMENTS), DONE)
        since = time.monotonic()
        answer = ask(gateway, "chat-stream", tools=[WEATHER])

        assert time.monotonic() - since >= 0.3
        assert answer.calls == []
        types = [entry["type"] for entry in answer.log]
        assert "review.expired" in types
        [last] = [entry for entry in answer.log if entry["type"] == "request.blocked"]
        assert last["human"] == [
            {
                "id": last["human"][0]["id"],
                "decision": "expired",
                "reviewer": None,
                "second": None,
            }
        ]


def test_with_four_eyes_two_people_have_to_approve(tmp_path):
    with start(tmp_path, review_approvals=2) as gateway:
        gateway.script(call("get_weather", ARGUMENTS), DONE)
        one, two = Reviewer(gateway), Reviewer(gateway)

        def decide():
            review = one.next()
            first = one.decide(review, "approve")
            again = one.decide(review, "approve")
            return first.json(), again, two.decide(review, "approve").json()

        answer, (first, again, last) = held(gateway, "responses-stream", decide)

    assert first["state"] == "open"
    assert (again.status_code, again.json()["error"]["code"]) == (409, "second_approval_needed")
    assert last["state"] == "approved"
    assert len(answer.calls) == 1
    [ended] = [entry for entry in answer.log if entry["type"] == "request.completed"]
    [human] = ended["human"]
    assert {human["reviewer"], human["second"]} == {last["decided_by"], first["approved_first_by"]}


def test_a_reply_may_take_its_time_beside_what_a_review_took(tmp_path):
    with start(tmp_path, generation_timeout_s=1.0) as gateway:
        gateway.script(call("get_weather", ARGUMENTS), DONE)
        reviewer = Reviewer(gateway)

        def decide():
            review = reviewer.next()
            time.sleep(1.2)
            return reviewer.decide(review, "approve")

        answer, _ = held(gateway, "chat", decide)

    assert len(answer.calls) == 1


def test_a_person_decides_through_another_gateway_on_the_same_database(tmp_path):
    with start(tmp_path) as one, start(tmp_path) as other:
        one.script(call("get_weather", ARGUMENTS), DONE)
        reviewer = Reviewer(other)

        answer, decided = held(
            one, "responses-stream", lambda: reviewer.decide(reviewer.next(), "approve")
        )

    assert decided.json()["state"] == "approved"
    assert len(answer.calls) == 1
