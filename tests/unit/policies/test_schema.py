import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

import policies
from policies.document import read_document
from policies.load import BUILTIN
from policies.schema import PolicyDocument, json_schema

PUBLISHED = Path(policies.__file__).parent / "schema" / "ostiary-v1.json"

SMALL = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: 1.0.0, owner: ts@acme.example}
categories:
  weapons: {severity: high}
rules:
  - id: no-weapons
    category: weapons
    classifiers: [encoder, judge]
    escalate_at: {judge: 0.3}
    stages: [input]
    scope: {projects: [shop-*], age_groups: [minor], locales: [de-AT]}
    when: user.strikes > 2
    mode: {canary: 5}
    on_unavailable: {input: review}
    bands:
      - {gte: 0.9, actions: [block, strike, {escalate: oncall}]}
      - {gte: 0.5, actions: [{disclaim: careful}]}
    message: {user: {default: "no", de: "nein"}}
disclaimers: {careful: "mind"}
exceptions:
  - {id: EX-1, rule: no-weapons, action: flag, from: 2026-01-01, until: 2026-02-01,
     reason: why, approved_by: [a, b]}
enforcement: {strikes: {window: 30d, ladder: [{at: 1, do: warn}, {at: 3, do: suspend, for: 7d}]}}
"""


def accepted_by_the_model(text):
    try:
        PolicyDocument.model_validate(read_document(text.encode()).value)
    except ValidationError:
        return False
    return True


def accepted_by_the_schema(text):
    return Draft202012Validator(json_schema()).is_valid(read_document(text.encode()).value)


def test_the_published_schema_is_what_the_model_says():
    assert json.loads(PUBLISHED.read_text()) == json_schema(), (
        "write it anew: ostiary policy schema > policies/schema/ostiary-v1.json"
    )


def test_the_published_schema_is_a_schema():
    Draft202012Validator.check_schema(json.loads(PUBLISHED.read_text()))


def test_beside_the_module_of_that_name_there_is_no_package():
    assert not list(PUBLISHED.parent.glob("*.py"))


@pytest.mark.parametrize("path", sorted(BUILTIN.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_accepts_every_policy_we_ship(path):
    assert accepted_by_the_schema(path.read_text())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: Policy", "kind: Attachment"),
        ("version: 1.0.0", "version: 1.0"),
        ("owner:", "owned_by:"),
        ("severity: high", "severity: huge"),
        ("id: no-weapons", "id: No Weapons"),
        ("{judge: 0.3}", "{judge: 1.3}"),
        ("{judge: 0.3}", "{}"),
        ("{judge: 0.3}", "0.3"),
        ("stages: [input]", "stages: []"),
        ("stages: [input]", "stages: [thought]"),
        ("[minor]", "[child]"),
        ("[shop-*]", "[]"),
        ("[de-AT]", "[german please]"),
        ("canary: 5", "canary: 101"),
        ("mode: {canary: 5}", "mode: enforced"),
        ("mode: {canary: 5}", "mode: shadow"),
        ("{input: review}", "review"),
        ("{input: review}", "{input: stop}"),
        ("strike,", "strikes,"),
        ("{escalate: oncall}", "{tell: oncall}"),
        ("from: 2026-01-01", "from: yesterday"),
        ("approved_by: [a, b]", "approved_by: [a]"),
        ("action: flag", "action: ignore"),
        ("window: 30d", "window: 30 days"),
        ("do: warn", "do: scold"),
        ("for: 7d", "for: 0d"),
    ],
)
def test_the_schema_and_the_model_accept_and_refuse_the_same(old, new):
    assert old in SMALL
    assert accepted_by_the_schema(SMALL)
    changed = SMALL.replace(old, new, 1)

    assert accepted_by_the_schema(changed) == accepted_by_the_model(changed)
