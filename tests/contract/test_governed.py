"""Policies, attachments and what a request says of itself, on every surface."""

import json

import openai
import pytest

from tests.contract.live import DONE, final, thought
from tests.contract.surfaces import SURFACES, ask

HEAD = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: ID, version: 1.0.0, owner: a@acme.example}
defaults: {on_unsupported_language: flag, deadline_ms: 5000}
"""

BASE = (
    HEAD.replace("ID", "base")
    + """
categories:
  secrets.credential: {severity: high, rationale: "it is used within minutes", clause: "1"}
  pii.email: {severity: low, rationale: "often public", clause: "2"}
  pii.phone: {severity: low, rationale: "often public", clause: "2"}
redactors: {addresses: {types: [email], with: "<{type}>"}}
disclaimers:
  legal: {default: "This is no legal advice.", de: "Das ist keine Rechtsberatung."}
rules:
  - id: secrets
    category: secrets.credential
    stages: [input, output]
    bands: [{gte: 0.8, actions: [block]}]
    message: {user: {default: "No secrets.", de: "Keine Geheimnisse."}}
  - id: address
    category: pii.email
    stages: [output]
    bands: [{gte: 0.5, actions: [{redact: addresses}, {disclaim: legal}]}]
exceptions:
  - {id: EX-1, rule: secrets, scope: {projects: [red-team]}, action: flag, from: 2026-01-01,
     until: 2099-01-01, reason: "an exercise", approved_by: [alice, bob]}
"""
)

KIDS = (
    HEAD.replace("ID", "kids")
    + """
categories: {pii.email: {severity: high, rationale: "children", clause: "1"}}
rules:
  - id: no-addresses
    category: pii.email
    stages: [input]
    scope: {age_groups: [minor]}
    when: 'request.tier == "free" && !("trusted" in request.access)'
    bands: [{gte: 0.5, actions: [block]}]
    message: {user: "No addresses here."}
"""
)

STRICT = (
    HEAD.replace("ID", "strict")
    + """
categories: {pii.phone: {severity: low, rationale: "as asked", clause: "1"}}
rules:
  - id: no-phones
    category: pii.phone
    stages: [input]
    bands: [{gte: 0.5, actions: [block]}]
"""
)

WHO = """
apiVersion: ostiary/v1
kind: Attachments
metadata: {id: who, version: 1.0.0, owner: a@acme.example}
everyone: {policies: [base, kids]}
projects:
  default: {tier: free, offers: [strict], access: [cyber]}
"""

KEY = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2
MAIL = "write to jane.roe@acme-mail.com please"
PHONE = "call +49 30 901820 today"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "policies"
    made.mkdir()
    for name, text in (("base", BASE), ("kids", KIDS), ("strict", STRICT), ("who", WHO)):
        (made / f"{name}.yaml").write_text(text)
    return made


@pytest.fixture
def governed(new_gateway, folder):
    gateway = new_gateway(policy=str(folder), classifiers=("patterns",))
    gateway.script(thought("A greeting."), final("Hello there."), DONE)
    return gateway


MINOR = {"extra_headers": {"x-ostiary-age-group": "minor"}}


@pytest.mark.parametrize("surface", SURFACES)
def test_a_rule_for_minors_is_for_whom_the_application_says_is_one(governed, surface):
    assert ask(governed, surface, MAIL).status == 200

    answer = ask(governed, surface, MAIL, **MINOR)

    assert (answer.status, answer.error["rule"]) == (400, "no-addresses")
    assert answer.error["message"] == "No addresses here."


@pytest.mark.parametrize("surface", SURFACES)
def test_a_condition_that_does_not_hold_keeps_its_rule_from_acting(governed, folder, surface):
    who = folder / "who.yaml"
    who.write_text(WHO.replace("tier: free", "tier: pro"))
    governed.run(governed.services.policies.check())

    assert ask(governed, surface, MAIL, **MINOR).status == 200


@pytest.mark.parametrize("surface", SURFACES)
def test_a_policy_that_is_offered_can_be_chosen_and_no_other(governed, surface):
    assert ask(governed, surface, PHONE).status == 200

    chosen = ask(governed, surface, PHONE, extra_headers={"x-ostiary-policy": "strict"})
    assert (chosen.status, chosen.error["rule"]) == (400, "no-phones")
    other = ask(governed, surface, PHONE, extra_headers={"x-ostiary-policy": "kids"})
    assert (other.status, other.error["code"]) == (403, "policy_not_offered")


@pytest.mark.parametrize("surface", SURFACES)
def test_an_exception_lets_off_whom_it_is_for_and_says_so(governed, surface):
    assert ask(governed, surface, KEY).status == 400

    key = governed.new_key(project="red-team")
    answer = ask(governed, surface, KEY, extra_headers={"authorization": f"Bearer {key}"})

    assert answer.status == 200
    assert answer.decisions == [("input", "flag", ("secrets",))]
    outcomes = [rule for entry in answer.log for rule in entry.get("rules", ())]
    assert [rule["exception"] for rule in outcomes if rule["id"] == "secrets"] == ["EX-1"]


@pytest.mark.parametrize("surface", SURFACES)
def test_a_refusal_speaks_the_end_users_language(governed, surface):
    answer = ask(governed, surface, KEY, extra_headers={"accept-language": "de-AT,de;q=0.9"})

    assert answer.error["message"] == "Keine Geheimnisse."


@pytest.mark.parametrize("surface", SURFACES)
def test_a_redactor_writes_its_own_sign_and_a_disclaimer_follows(governed, surface):
    governed.script(thought("An address."), final("Mail jane.roe@acme-mail.com for it."), DONE)

    answer = ask(governed, surface)

    assert answer.text == "Mail <email> for it.\n\nThis is no legal advice."


@pytest.mark.parametrize("surface", SURFACES)
def test_no_disclaimer_is_put_behind_an_answer_in_json(governed, surface):
    governed.script(thought("An address."), final('{"mail": "jane.roe@acme-mail.com"}'), DONE)

    schema = {"type": "object", "properties": {"mail": {"type": "string"}}}
    answer = ask(governed, surface, schema=schema)

    assert json.loads(answer.text) == {"mail": "<email>"}


@pytest.mark.parametrize("surface", SURFACES)
def test_a_warning_is_told_with_the_reply(governed, folder, surface):
    warns = STRICT.replace("[block]", "[warn]").replace(
        "    bands:", '    message: {user: "Mind your numbers."}\n    bands:'
    )
    (folder / "strict.yaml").write_text(warns)
    governed.run(governed.services.policies.check())

    answer = ask(governed, surface, PHONE, extra_headers={"x-ostiary-policy": "strict"})

    (decision,) = [
        entry["decision"] for entry in answer.log if entry.get("determining_rules") == ["no-phones"]
    ]
    last = answer.events[-1].get("response", {}) if surface == "responses-stream" else answer.reply
    chunks = [event for event in answer.events if "ostiary" in event]
    told = chunks[-1] if surface == "chat-stream" else last
    assert told["ostiary"]["warnings"] == [
        {
            "decision_id": decision["id"],
            "stage": "input",
            "rules": ["no-phones"],
            "message": "Mind your numbers.",
        }
    ]


def test_an_access_program_has_to_be_granted(governed):
    asked = {"model": governed.model, "input": "Hello!"}
    reply = governed.client.responses.create(**asked, access_programs={"cyber": "daybreak_blue"})
    assert reply.status == "completed"

    with pytest.raises(openai.PermissionDeniedError) as caught:
        governed.client.responses.create(**asked, extra_body={"access_programs": {"bio": "full"}})
    assert caught.value.code == "access_program_unavailable"


def test_an_exchange_keeps_the_policy_that_it_began_under(governed, folder):
    """A stream is open while another policy comes into force."""
    started = governed.client.responses.create(model=governed.model, input="Hello!", stream=True)
    events = iter(started)
    next(events)
    (folder / "base.yaml").write_text(BASE.replace("version: 1.0.0", "version: 2.0.0"))
    governed.run(governed.services.policies.check())
    rest = list(events)

    versions = {
        entry["policy"]["version"]
        for entry in governed.ended(governed.last_request("responses"))
        if "policy" in entry
    }
    assert rest[-1].type == "response.completed"
    assert len(versions) == 1
    assert "2.0.0" not in next(iter(versions))


def test_readiness_names_every_policy_in_force(governed):
    body = governed.http.get("/readyz").json()

    assert {each["id"] for each in body["policies"]} == {"base", "kids", "strict"}
