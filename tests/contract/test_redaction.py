"""Redaction on every surface: answers and calls are the documents they were, without the data."""

import json

import pytest

from tests.contract.live import CALLS, DONE, Gateway, call, final
from tests.contract.surfaces import SURFACES, WEATHER, Turn, ask

POLICY = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: hiding, version: 1.0.0, owner: test@ostiary.example}
defaults: {on_unavailable: block, deadline_ms: 4000}
categories:
  pii.card: {severity: high, clause: "1", rationale: "As in the baseline."}
  pii.email: {severity: low, clause: "2", rationale: "As in the baseline."}
  secrets.credential: {severity: high, clause: "3", rationale: "As in the baseline."}
rules:
"""
RULE = """\
  - id: hide-{number}
    category: {category}
    stages: [tool_result, tool_call, output]
    bands: [{{gte: 0.8, actions: [redact]}}]
    tests:
      - {{name: at, given: {{stage: output, scores: {{{category}: 0.8}}}}, expect: redact}}
      - {{name: below, given: {{stage: output, scores: {{{category}: 0.7}}}}, expect: allow}}
"""
CATEGORIES = ["pii.card", "pii.email", "secrets.credential"]
SAID = {
    "card": 4111111111111111,
    "to": "ada@example.org",
    "note": "caf\u00e9 \u2014 write to ada@example.org, then pay",
    "password": "Tr0ub4dor-3-horse",
}
SHOWN = {
    "card": "[card]",
    "to": "[email]",
    "note": "caf\u00e9 \u2014 write to [email], then pay",
    "password": "[password]",
}


@pytest.fixture(scope="module")
def hiding(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hiding")
    rules = (RULE.format(number=n, category=each) for n, each in enumerate(CATEGORIES))
    (folder / "policy.yaml").write_text(POLICY + "".join(rules))
    with Gateway(folder / "home", policy=str(folder / "policy.yaml")) as gateway:
        yield gateway


@pytest.fixture(params=SURFACES)
def surface(request):
    return request.param


def pieces(text, size):
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")], ids=["spaced", "dense"])
def test_a_structured_answer_is_the_same_document(hiding, surface, ascii_only, separators):
    rows = {"rows": [SAID] * 3}
    text = json.dumps(rows, ensure_ascii=ascii_only, separators=separators)
    hiding.script(*(final(part) for part in pieces(text, 7)), DONE)

    answer = ask(hiding, surface, schema={"type": "object"})

    assert json.loads(answer.text) == {"rows": [SHOWN] * 3}
    assert "4111" not in answer.text


def test_the_arguments_of_a_call_are_the_same_document(hiding, surface):
    arguments = json.dumps({"city": "Oslo", **SAID})
    hiding.script(*(call("get_weather", part) for part in pieces(arguments, 11)), CALLS)

    answer = ask(hiding, surface, tools=[WEATHER])

    [(_, name, shown)] = answer.calls
    assert (name, json.loads(shown)) == ("get_weather", {"city": "Oslo", **SHOWN})


def test_a_tool_result_reaches_the_model_as_the_same_document(hiding, surface):
    scripted = hiding.script(final("Done."), DONE)
    turns = [
        Turn("user", "Pay."),
        Turn("call", "{}", "c1", "get_weather"),
        Turn("output", json.dumps(SAID), "c1", "get_weather"),
    ]

    ask(hiding, surface, turns, tools=[WEATHER])

    [prompt] = scripted.prompts
    assert json.loads(prompt.messages[-1].text) == SHOWN
