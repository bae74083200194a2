"""Entries of every kind that formats treat apart, as the log would hold them."""

import json
from dataclasses import replace

import pytest

from classifiers.types import Receipt
from gateway.audit import content_records, records
from gateway.audit.checkpoint import hash_text
from gateway.audit.entry import Entry, Replica
from gateway.audit.formats.types import Record
from gateway.audit.merkle import leaf_hash
from gateway.errors import RateLimited
from gateway.exchange import Exchange
from gateway.types import Outcome, Principal, Scope
from model_runner.types import Message, Prompt, Role, Sampling, Usage
from policies.types import Action, Decision, Policy, RuleOutcome, Stage

PRINCIPAL = Principal("keyprefix123", "shop", frozenset({Scope.CALLER}), 10, 1000)
SUBJECT = "ab" * 16


def exchange(**changes):
    defaults = {
        "id": "req_" + "1" * 32,
        "principal": PRINCIPAL,
        "prompt": Prompt(
            "gpt-oss-20b", (Message(Role.USER, "hello"),), sampling=Sampling(temperature=1, seed=7)
        ),
        "policy": Policy("baseline", "1.2.0", "ab" * 32, ()),
        "endpoint": "responses",
        "stream": True,
        "runner": "local",
    }
    return Exchange(**(defaults | changes))


def decision(action, *rules):
    outcomes = tuple(RuleOutcome(rule, f"harm.{rule}", 0.9, action) for rule in rules)
    receipts = (Receipt("encoder", "cd" * 32, 5, 0, 1.25, None),)
    return Decision(
        Stage.OUTPUT,
        action,
        rules,
        outcomes,
        "baseline",
        "1.2.0",
        "ab" * 32,
        receipts,
        code="policy_violation",
        scores={"spam": 0.5, "harm.nothing": None},
    )


def done(outcome=None, usage=None):
    of = exchange()
    of.outcome, of.usage = outcome, usage
    return records.closed(of, SUBJECT, 1.5)


ENTRIES = {
    "admitted": records.admitted(exchange(), SUBJECT),
    "denied": records.denied(
        RateLimited("slow down", retry_after_s=1.0),
        request_id="req_2",
        endpoint="chat",
        principal=PRINCIPAL,
    ),
    "anonymous": records.denied(
        RateLimited("slow down", retry_after_s=1.0), request_id="req_3", endpoint="chat"
    ),
    **{
        action.name.lower(): records.decided(exchange(), decision(action, "a-rule", "b"), SUBJECT)[
            1
        ]
        for action in Action
    },
    "unruled": records.decided(exchange(), decision(Action.BLOCK), None)[1],
    "completed": done(usage=Usage(7, 9, 4, 1)),
    "blocked": done(Outcome.BLOCKED),
    "lost": records.lost("req_4", None, "rep_dead"),
    "started": records.replica_started(),
    "key": records.key_created(
        "prefix", project="bank", scopes=[Scope.CALLER], expires_at=None, actor="cli:ada"
    ),
    "opened": content_records.opened(
        [{"id": "1", "actor": {"safety_identifier": SUBJECT}}],
        id="req_1",
        project="shop",
        reason="appeal | 9 = \\ \n next",
        actor="cli",
    ),
    "alert": Entry(
        "alert.created",
        {
            "request": {"id": "req_5", "endpoint": "responses", "stream": False},
            "actor": {"project": "shop", "key": "keyprefix123", "safety_identifier": SUBJECT},
            "alert": {"id": "alert_1", "decision": "dec_1", "error_type": "x"},
            "rules": ["a-rule"],
        },
    ),
    "overseen": replace(
        records.decided(exchange(), decision(Action.FLAG, "a-rule"), SUBJECT)[1],
        type="oversight.decided",
    ),
    "expired": content_records.content_expired(5, 2, before={"content": "2026"}),
}


def recorded(entry: Entry, index=0) -> Record:
    body = entry.canonical(Replica("rep_test", "1.0"), index + 1)
    leaf = hash_text(leaf_hash(body))
    return Record("2026h2", index, index + 1, leaf, body, json.loads(body))


@pytest.fixture
def record():
    """Returns an entry with other strings in it than ours would have."""

    def make(kind="admitted", **body):
        entry = ENTRIES[kind]
        return recorded(Entry(entry.type, {**entry.body, **body}, project=entry.project))

    return make


@pytest.fixture
def all_records():
    return [recorded(entry, index) for index, entry in enumerate(ENTRIES.values())]
