"""Alerts, cases and webhooks, as the official client reads and verifies them."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.types import Scope
from tests.contract.live import DONE, Gateway, call, final, thought, wait_until
from tests.contract.surfaces import SURFACES, WEATHER, ask

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: a@acme.example}
defaults: {on_unsupported_language: flag, deadline_ms: 5000}
categories:
  secrets.credential: {severity: high, rationale: "it is used within minutes", clause: "1"}
  pii.email: {severity: low, rationale: "often public", clause: "2"}
rules:
  - id: tell
    category: secrets.credential
    stages: [input, reasoning, tool_call, output]
    bands: [{gte: 0.8, actions: [flag, alert]}]
  - id: count
    category: pii.email
    stages: [input]
    bands: [{gte: 0.5, actions: [block, strike]}]
enforcement:
  strikes:
    window: 30d
    ladder:
      - {at: 1, do: warn}
      - {at: 2, do: suspend, for: 7d}
      - {at: 3, do: deactivate}
"""
KEY = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2
MAIL = "write to jane.roe@acme-mail.com please"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
TYPES = [
    "safety.alert.created",
    "safety.warning_issued",
    "safety.deactivation_issued",
    "safety_identifier.blocked",
]


class Hook(ThreadingHTTPServer):
    """An endpoint that verifies what it is told with the official client."""

    def __init__(self):
        self.events, self.status = [], 200
        self.client = openai.OpenAI(api_key="none", webhook_secret=SECRET)
        super().__init__(("127.0.0.1", 0), Handler)

    def of(self, kind):
        return [event for event in list(self.events) if event.type == kind]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.status == 200:
            self.server.events.append(self.server.client.webhooks.unwrap(body, self.headers))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def hook():
    with Hook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def telling_gateway(tmp_path_factory, hook):
    home = tmp_path_factory.mktemp("telling")
    policy, webhooks = home / "acme.yaml", home / "webhooks.toml"
    policy.write_text(POLICY)
    webhooks.write_text(
        f'[[endpoint]]\nname = "pager"\nurl = "http://127.0.0.1:{hook.server_port}/hook"\n'
        f'secret = "{SECRET}"\nevents = {json.dumps(TYPES)}\n'
    )
    with Gateway(
        home,
        policy=str(policy),
        classifiers=("patterns",),
        webhooks_file=str(webhooks),
        egress_allow=("127.0.0.1",),
    ) as gateway:
        yield gateway


@pytest.fixture
def gateway(telling_gateway, hook):
    telling_gateway.script(thought("A greeting."), final("Hello there."), DONE)
    hook.events.clear()
    return telling_gateway


def heard(hook, kind, count=1):
    wait_until(lambda: len(hook.of(kind)) >= count)
    return hook.of(kind)


@pytest.mark.parametrize("surface", SURFACES)
def test_an_alert_is_told_and_read_with_the_official_client(gateway, hook, surface):
    gateway.script(thought(f"I see {KEY}."), final("Hello there."), DONE)

    answer = ask(gateway, surface)

    [event] = heard(hook, "safety.alert.created")
    alert = gateway.client.safety.alerts.retrieve(event.data.id)
    assert answer.text == "Hello there."
    assert alert.error_type == "other"
    assert alert.request_id == answer.headers["x-request-id"]
    assert alert.response_id.endswith(alert.request_id.removeprefix("req_"))
    assert alert.model == gateway.model
    assert not alert.request_paused
    assert "what is allowed" in alert.reason
    assert alert.detailed_explanation is None
    assert KEY not in alert.model_dump_json()


def test_a_rule_that_finds_it_again_and_again_alerts_once(gateway, hook):
    gateway.script(thought(f"I see {KEY}. "), *[final(f"It is {KEY}. ")] * 3, DONE)

    ask(gateway, "chat-stream")
    ask(gateway, "responses")

    assert len(heard(hook, "safety.alert.created", 2)) == 2


def test_what_stands_in_the_history_alerts_no_more(gateway, hook):
    history = [
        {"role": "user", "content": f"My key is {KEY}."},
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": "What was it about?"},
    ]
    made = gateway.client.chat.completions.create(model=gateway.model, messages=history)
    gateway.client.chat.completions.create(model=gateway.model, messages=history[:1])

    [event] = heard(hook, "safety.alert.created")
    alert = gateway.client.safety.alerts.retrieve(event.data.id)
    assert alert.request_id != made._request_id


def test_an_alert_of_another_project_is_not_there(gateway, hook):
    gateway.script(call("get_weather", f'{{"city":"{KEY}"}}'), DONE)
    ask(gateway, "chat", tools=[WEATHER])
    [event] = heard(hook, "safety.alert.created")
    elsewhere = gateway.client_with(gateway.new_key(project="other"))
    reviewer = gateway.client_with(gateway.new_key(Scope.REVIEWER, project="other"))

    with pytest.raises(openai.NotFoundError):
        elsewhere.safety.alerts.retrieve(event.data.id)
    with pytest.raises(openai.NotFoundError):
        gateway.client.safety.alerts.retrieve("alert_none")
    assert reviewer.safety.alerts.retrieve(event.data.id).id == event.data.id
    elsewhere.close()
    reviewer.close()


def test_alerts_are_listed_for_reviewers_and_on_the_command_line(gateway, hook, monkeypatch):
    gateway.script(thought(f"I see {KEY}."), final("Hello there."), DONE)
    ask(gateway, "responses")
    [event] = heard(hook, "safety.alert.created")
    reviewer = {"authorization": f"Bearer {gateway.new_key(Scope.REVIEWER)}"}

    found = gateway.http.get(
        "/v1/organization/alerts", headers=reviewer, params={"limit": 1}
    ).json()
    monkeypatch.setenv("OSTIARY_HOME", str(gateway.settings.home))
    listed = CliRunner().invoke(app, ["alert", "list", "--json", "-n", "1"])

    [alert] = found["data"]
    assert (alert["id"], alert["rule"], alert["category"]) == (
        event.data.id,
        "tell",
        "secrets.credential",
    )
    assert json.loads(listed.stdout)["id"] == event.data.id
    caller = {"authorization": f"Bearer {gateway.new_key()}"}
    assert gateway.http.get("/v1/organization/alerts", headers=caller).status_code == 403


def test_an_end_user_walks_the_ladder_and_the_application_is_told_each_step(gateway, hook):
    def break_it():
        try:
            gateway.client.responses.create(
                model=gateway.model, input=MAIL, safety_identifier="user-1"
            )
        except openai.APIStatusError as error:
            return error.code
        return None

    assert break_it() == "content_filter"
    [warned] = heard(hook, "safety.warning_issued")
    case = gateway.client.safety.cases.retrieve(warned.data.id)
    assert (case.entity_identifier, case.notice.type) == ("user-1", "warning")
    assert case.reason == "warn after 1 strike"

    assert break_it() == "content_filter"
    [blocked] = heard(hook, "safety_identifier.blocked")
    assert blocked.data.safety_identifier == "user-1"
    assert blocked.data.safety_category == "pii.email"
    assert blocked.data.project_id == "default"
    assert blocked.data.model == gateway.model
    assert break_it() == "safety_identifier_blocked"
    assert len(hook.of("safety_identifier.blocked")) == 1


def test_what_does_not_arrive_is_counted_and_waits(gateway, hook):
    hook.status = 500
    gateway.script(thought(f"I see {KEY}."), final("Hello there."), DONE)
    ask(gateway, "responses")

    def shown():
        text = gateway.http.get("/metrics").text
        return (
            'ostiary_webhook_tries_total{endpoint="pager",outcome="failed"}' in text
            and 'ostiary_webhook_undelivered{endpoint="pager",state="waiting"}' in text
        )

    wait_until(shown)
    hook.status = 200
    assert gateway.http.get("/readyz").is_success
