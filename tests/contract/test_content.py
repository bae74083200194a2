"""What is kept of a conversation on every surface, and what never is."""

import pytest

from tests.contract.live import DONE, Gateway, final, thought
from tests.contract.surfaces import SURFACES, ask

KEY = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2
ASKED = f"Please remember that my key is {KEY}"
MAIL = "write to jane.roe@acme-mail.com please"
POLICY = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: keeping, version: 1.0.0, owner: test@ostiary.example}
defaults: {on_unsupported_language: allow, deadline_ms: 5000}
categories:
  secrets.credential: {severity: high, clause: "1", rationale: "As in the baseline."}
  pii.email: {severity: low, clause: "2", rationale: "As in the baseline."}
rules:
  - {id: keys, category: secrets.credential, stages: [input], bands: [{gte: 0.8, actions: [block]}]}
  - {id: mail, category: pii.email, stages: [output], bands: [{gte: 0.5, actions: [redact]}]}
"""
WHO = """\
apiVersion: ostiary/v1
kind: Attachments
metadata: {id: who, version: 1.0.0, owner: test@ostiary.example}
projects:
  silent: {retain: none}
"""


@pytest.fixture(scope="module", params=["hidden", "exposed"])
def keeping(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("keeping")
    policies = folder / "policies"
    policies.mkdir()
    (policies / "keeping.yaml").write_text(POLICY)
    (policies / "who.yaml").write_text(WHO)
    exposed = request.param == "exposed"
    settings = {"policy": str(policies), "classifiers": ("patterns",), "expose_reasoning": exposed}
    with Gateway(folder / "home", **settings) as gateway:
        yield gateway


@pytest.fixture(params=SURFACES)
def surface(request):
    return request.param


def kept(gateway, answer):
    """Return every text that is kept of an exchange, by stage."""
    found = {}
    for entry in answer.log:
        if "content" in entry:
            project = entry["actor"]["project"]
            vault = gateway.services.vault
            for each in gateway.run(vault.open(project, entry["id"], entry["content"])):
                found.setdefault(each.field, []).extend(one["text"] for one in each.said)
    return found


def on_disk(gateway):
    return b"".join(path.read_bytes() for path in gateway.settings.home.glob("ostiary.db*"))


def test_a_prompt_that_is_blocked_is_kept_and_only_sealed(keeping, surface):
    answer = ask(keeping, surface, ASKED)

    assert kept(keeping, answer) == {"input": [ASKED]}
    assert KEY.encode() not in on_disk(keeping)


def test_of_an_exchange_that_nothing_was_said_about_nothing_is_kept(keeping, surface):
    keeping.script(thought("A greeting."), final("Hello there."), DONE)

    assert kept(keeping, ask(keeping, surface, "Hello!")) == {}


def test_a_reply_is_kept_as_it_left_with_what_led_to_it(keeping, surface):
    keeping.script(thought(f"Let me say: {MAIL}."), final(f"Well, {MAIL}."), DONE)

    answer = ask(keeping, surface, "Hello!")

    shown = "jane.roe" if not keeping.settings.expose_reasoning else "[email]"
    found = kept(keeping, answer)
    assert found["input"] == ["Hello!"]
    assert shown in found["reasoning"][0]
    assert found["output"] == ["Well, write to [email] please."]


def test_a_project_without_retention_keeps_decisions_and_nothing_else(keeping, surface):
    key = keeping.new_key(project="silent")
    answer = ask(keeping, surface, ASKED, extra_headers={"authorization": f"Bearer {key}"})

    assert answer.decisions == [("input", "block", ("keys",))]
    assert kept(keeping, answer) == {}


@pytest.mark.parametrize(("content", "wanted"), [("none", {}), ("all", {"input": ["Hello!"]})])
def test_the_operator_decides_what_is_kept(new_gateway, content, wanted):
    gateway = new_gateway(content=content)
    gateway.client.moderations.create(input="Hello!")
    request_id = gateway.last_request("moderations")

    log = gateway.ended(request_id)

    found = kept(gateway, type("Answer", (), {"log": log}))
    assert found == wanted
