"""An end user walks the ladder, as the official client sees it; nobody else does."""

import json
import time

import openai
import pytest
from typer.testing import CliRunner

from gateway.audit.queries import tail
from gateway.cli import app
from tests.contract.live import DONE, final, thought, wait_until
from tests.contract.surfaces import SURFACES, ask

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: a@acme.example}
defaults: {on_unsupported_language: flag, deadline_ms: 5000}
categories:
  secrets.credential: {severity: high, rationale: "it is used within minutes", clause: "1"}
  pii.email: {severity: low, rationale: "often public", clause: "2"}
rules:
  - id: secrets
    category: secrets.credential
    stages: [input, output]
    bands: [{gte: 0.8, actions: [block, strike]}]
  - id: repeated
    category: pii.email
    stages: [input]
    when: 'user.strikes >= 2'
    bands: [{gte: 0.5, actions: [block]}]
enforcement:
  strikes:
    window: 30d
    ladder:
      - {at: 1, do: warn}
      - {at: 2, do: throttle}
      - {at: 4, do: suspend, for: 7d}
      - {at: 6, do: deactivate}
"""
KEY = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2
MAIL = "write to jane.roe@acme-mail.com please"
WARNING = "x-ostiary-safety-warning"
HELLO = [thought("A greeting."), final("Hello there."), DONE]


@pytest.fixture
def enforcing(new_gateway, tmp_path):
    file = tmp_path / "acme.yaml"
    file.write_text(POLICY)
    gateway = new_gateway(policy=str(file), classifiers=("patterns",))
    gateway.script(*HELLO)
    return gateway


@pytest.fixture
def user(enforcing, monkeypatch):
    """Runs `ostiary user` beside the gateway; returns its exit status and what it printed."""
    monkeypatch.setenv("OSTIARY_HOME", str(enforcing.settings.home))
    monkeypatch.setenv("OSTIARY_POLICY", enforcing.settings.policy)

    def run(*arguments):
        done = CliRunner().invoke(app, ["user", *arguments, "--json"], catch_exceptions=False)
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]

    return run


def struck(gateway, count, who="user-1"):
    """Have an end user struck this often, as soon as their share of the quota lets them ask."""

    def stopped():
        code = ask(gateway, "responses", KEY, safety_identifier=who).error["code"]
        assert code in {"content_filter", "safety_identifier_throttled"}
        return code == "content_filter"

    for _ in range(count):
        wait_until(stopped)


def test_an_end_user_walks_the_ladder_and_nobody_else_does(enforcing, user):
    slow = enforcing.client_with(enforcing.new_key(requests_per_minute=19))

    def hello(who):
        made = slow.responses.with_raw_response.create(
            model=enforcing.model, input="Hello!", safety_identifier=who
        )
        return made.headers.get(WARNING)

    assert hello("user-1") is None
    struck(enforcing, 1)
    assert hello("user-1") == "warn; strikes=1"

    struck(enforcing, 1)
    assert hello("user-1") == "throttle; strikes=2"
    with pytest.raises(openai.RateLimitError) as throttled:
        hello("user-1")
    assert throttled.value.code == "safety_identifier_throttled"
    assert 1 <= int(throttled.value.response.headers["retry-after"]) <= 61
    assert hello("user-2") is None

    struck(enforcing, 2)
    with pytest.raises(openai.PermissionDeniedError) as suspended:
        hello("user-1")
    assert suspended.value.code == "safety_identifier_blocked"
    assert suspended.value.type == "invalid_request_error"
    headers = suspended.value.response.headers
    assert headers["x-should-retry"] == "false"
    assert 6 * 86_400 < int(headers["retry-after"]) <= 7 * 86_400 + 1
    assert hello("user-2") is None

    status, [told] = user("reinstate", "--safety-identifier", "user-1", "--reason", "a mistake")
    assert (status, told["reversed"]) == (0, 4)
    time.sleep(1.0)
    assert hello("user-1") is None
    slow.close()


def test_every_surface_counts_the_same_whether_prompt_or_reply(enforcing):
    for who, turns, script in (("asker", KEY, HELLO), ("reader", "Hi!", [final(KEY), DONE])):
        enforcing.script(*script)
        for surface in SURFACES:
            ask(enforcing, surface, turns, safety_identifier=who)

        enforcing.script(*HELLO)
        for surface in SURFACES:
            answer = ask(enforcing, surface, safety_identifier=who)
            assert (answer.status, answer.error["code"]) == (403, "safety_identifier_blocked")


def test_the_older_user_field_names_the_same_end_user(enforcing):
    struck(enforcing, 4)

    assert ask(enforcing, "chat", user="user-1").status == 403


def test_without_an_identifier_nobody_is_sanctioned(enforcing):
    for _ in range(6):
        assert ask(enforcing, "chat", KEY).status == 400

    assert ask(enforcing, "chat").status == 200


def test_a_condition_sees_how_many_strikes_count(enforcing):
    struck(enforcing, 1)
    assert ask(enforcing, "responses", MAIL, safety_identifier="user-1").status == 200

    struck(enforcing, 1)
    answer = ask(enforcing, "responses", MAIL, safety_identifier="user-1")

    assert (answer.status, answer.error["rule"]) == (400, "repeated")


def test_the_client_does_not_send_a_refused_request_again(enforcing):
    struck(enforcing, 4)
    with enforcing.client_with(enforcing.key, max_retries=3) as client:
        before = len(denials(enforcing))
        with pytest.raises(openai.PermissionDeniedError):
            client.responses.create(model=enforcing.model, input="Hi", safety_identifier="user-1")

    assert len(denials(enforcing)) == before + 1


def test_a_refused_request_is_recorded_with_its_reason_and_its_pseudonym(enforcing):
    struck(enforcing, 4)

    answer = ask(enforcing, "responses", safety_identifier="user-1")

    [entry] = answer.log
    assert entry["denial"]["reason"] == "suspend"
    subject = enforcing.services.ledger.subject_of("default", "user-1")
    assert entry["actor"]["safety_identifier"] == subject
    assert "user-1" not in json.dumps(entry)


def test_a_strike_stands_in_the_log_between_its_decision_and_the_end(enforcing):
    answer = ask(enforcing, "chat-stream", KEY, safety_identifier="user-1")

    assert [entry["type"] for entry in answer.log] == [
        "request.admitted",
        "decision.recorded",
        "enforcement.struck",
        "enforcement.sanctioned",
        "request.blocked",
    ]


def test_the_command_line_shows_where_end_users_stand(enforcing, user):
    struck(enforcing, 4)
    struck(enforcing, 1, "user-2")

    status, [shown] = user("show", "--safety-identifier", "user-1")
    assert (status, shown["sanction"], shown["strikes"]) == (1, "suspend", 4)
    assert [strike["rule"] for strike in shown["history"]] == ["secrets"] * 4
    status, [other] = user("show", "--safety-identifier", "user-2")
    assert (status, other["sanction"], other["until"]) == (0, "warn", None)

    assert [row["sanction"] for row in user("list")[1]] == ["suspend", "warn"]
    _, [suspended] = user("list", "--sanction", "suspend")
    assert suspended["subject"] == shown["subject"]
    assert user("show", "--subject", shown["subject"])[0] == 1


def denials(gateway):
    entries = gateway.run(tail(gateway.services.database, 200))
    return [entry for entry in entries if entry["type"] == "request.denied"]
