import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from classifiers.types import Receipt, Span
from gateway.audit import records
from gateway.audit.entry import Replica
from gateway.errors import BadRequest, IdentifierBlocked, RateLimited
from gateway.exchange import Exchange
from gateway.types import Outcome, Principal, Scope
from model_runner.types import Effort, Message, Prompt, Role, Sampling, Tool, Usage
from policies.types import Action, Decision, Policy, Redaction, RuleOutcome, Stage

SECRET = b"s" * 32
PRINCIPAL = Principal("keyprefix123", "shop", frozenset({Scope.CALLER}), 10, 1000)
TEXT = st.text(max_size=30)
SCORE = st.none() | st.floats(0, 1)
COUNT = st.integers(0, 2**40)
DECISIONS = st.builds(
    Decision,
    stage=st.sampled_from(Stage),
    action=st.sampled_from(Action),
    determining_rules=st.tuples(TEXT),
    outcomes=st.lists(
        st.builds(RuleOutcome, TEXT, TEXT, SCORE, st.sampled_from(Action)), max_size=4
    ).map(tuple),
    policy_id=TEXT,
    policy_version=TEXT,
    policy_digest=TEXT,
    receipts=st.lists(
        st.builds(Receipt, TEXT, TEXT, COUNT, COUNT, st.floats(0, 1e9), st.none() | TEXT),
        max_size=3,
    ).map(tuple),
    redactions=st.just((Redaction(0, Span(0, 3, "email")),)),
    code=TEXT,
    scores=st.dictionaries(TEXT, SCORE, max_size=3),
)


def exchange(**changes):
    defaults = {
        "id": "req_" + "0" * 32,
        "principal": PRINCIPAL,
        "prompt": Prompt("gpt-oss-20b", (Message(Role.USER, "a very private question"),)),
        "policy": Policy("baseline", "1.2.0", "ab" * 32, ()),
        "endpoint": "responses",
        "stream": True,
        "runner": "local",
        "safety_identifier": "user-4711",
    }
    return Exchange(**(defaults | changes))


def decision(**changes):
    defaults = {
        "stage": Stage.OUTPUT,
        "action": Action.ALLOW,
        "determining_rules": (),
        "outcomes": (),
        "policy_id": "baseline",
        "policy_version": "1.2.0",
        "policy_digest": "ab" * 32,
    }
    return Decision(**(defaults | changes))


def document(entry):
    encoded = entry.canonical(Replica("rep_test", "1.0"), 1)
    assert encoded == rfc8785.dumps(json.loads(encoded))
    return json.loads(encoded)


@given(DECISIONS)
def test_every_decision_has_canonical_bytes(any_decision):
    decision_id, entry = records.decided(exchange(), any_decision, None)

    assert document(entry)["decision"]["id"] == decision_id


def test_a_decisions_id_leads_to_its_entry():
    decision_id, entry = records.decided(exchange(), decision(), None)

    assert decision_id == "dec_" + entry.id.replace("-", "")


def test_no_entry_of_an_exchange_holds_content_or_the_end_users_id():
    secret_words = ["private", "tool-name", "a {schema}", "sorry", "4711", "stopword"]
    asked = exchange(
        prompt=Prompt(
            "gpt-oss-20b",
            (Message(Role.USER, "a very private question", tool="tool-name"),),
            tools=(Tool("tool-name", "a {schema}"),),
            effort=Effort.LOW,
            sampling=Sampling(temperature=0.7, stop=("stopword",), seed=2**60),
        ),
        usage=Usage(10, 20, 5, 0),
    )
    subject = records.pseudonym(SECRET, "shop", asked.safety_identifier)
    said = decision(action=Action.BLOCK, user_message="sorry", developer_message="sorry")

    entries = [
        records.admitted(asked, subject),
        records.decided(asked, said, subject)[1],
        records.stream_started(asked, subject),
        records.closed(asked, subject, 1.5),
    ]

    for entry in entries:
        text = json.dumps(document(entry))
        assert [word for word in secret_words if word in text] == []
        assert subject in text


def test_a_pseudonym_is_the_same_within_a_project_and_not_across_projects_or_secrets():
    alike = [records.pseudonym(SECRET, "shop", "user-1") for _ in range(2)]
    others = [
        records.pseudonym(SECRET, "bank", "user-1"),
        records.pseudonym(SECRET, "shop", "user-2"),
        records.pseudonym(b"t" * 32, "shop", "user-1"),
    ]

    assert alike[0] == alike[1]
    assert len({*alike, *others}) == 4
    assert records.pseudonym(SECRET, "shop", None) is None


@pytest.mark.parametrize(
    ("receipts", "state"),
    [
        pytest.param([], "none", id="nobody was asked"),
        pytest.param([(10, 0, None)], "full", id="all was read"),
        pytest.param([(0, 0, None)], "full", id="there was nothing to read"),
        pytest.param([(10, 0, None), (0, 10, "timeout")], "partial", id="one timed out"),
        pytest.param([(4, 6, "length")], "partial", id="the end was cut off"),
        pytest.param([(0, 10, "timeout")], "none", id="the only one timed out"),
        pytest.param([(0, 10, "timeout"), (0, 10, "failed")], "none", id="all failed"),
        pytest.param([(0, 0, "failed")], "none", id="it failed on nothing"),
    ],
)
def test_what_was_not_read_never_looks_read(receipts, state):
    made = tuple(
        Receipt("c@1", "ab", scanned, unscanned, 1.0, error)
        for scanned, unscanned, error in receipts
    )

    _, entry = records.decided(exchange(), decision(receipts=made), None)

    assert document(entry)["coverage"]["state"] == state


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_has_its_own_terminal_record(outcome):
    entry = records.closed(exchange(outcome=outcome), None, 0.25)

    assert entry.type == f"request.{outcome.value}"
    assert entry.terminal
    assert document(entry)["outcome"]["duration_ms"] == 250


def test_an_end_that_came_late_is_not_terminal_and_names_what_it_was():
    end = records.closed(exchange(outcome=Outcome.COMPLETED), None, 1)

    late = records.closed_late(end)

    assert not late.terminal
    assert late.request_id == end.request_id
    assert document(late)["late"] == {"type": "request.completed", "id": end.id}


def test_a_denied_request_says_why_and_whose_key_it_was():
    entry = records.denied(
        RateLimited("over quota"), request_id="req_1", endpoint="chat", principal=PRINCIPAL
    )

    told = document(entry)
    assert told["denial"] == {
        "status": 429,
        "code": "rate_limit_exceeded",
        "reason": None,
        "param": None,
    }
    assert told["actor"]["key"] == "keyprefix123"
    assert not entry.terminal


def test_a_denial_for_an_end_user_names_the_sanction_and_the_pseudonym():
    error = IdentifierBlocked("not served", reason="suspend", retry_after_s=60)
    entry = records.denied(
        error, request_id="req_1", endpoint="chat", principal=PRINCIPAL, subject="ab" * 16
    )

    told = document(entry)
    assert told["denial"]["reason"] == "suspend"
    assert told["actor"]["safety_identifier"] == "ab" * 16


@pytest.mark.parametrize(
    ("param", "kept"),
    [("input[3].content", "input[3].content"), ("My Private Field!", None), ("x" * 65, None)],
)
def test_a_denial_keeps_only_field_names_of_ours(param, kept):
    entry = records.denied(BadRequest("no", param=param), request_id="req_1", endpoint="chat")

    assert document(entry)["denial"]["param"] == kept


def test_the_other_events_have_canonical_bytes():
    policy = Policy("baseline", "1.2.0", "ab" * 32, ())
    entries = [
        records.lost("req_1", "shop", "rep_dead"),
        records.key_created(
            "p" * 12, project="shop", scopes=[Scope.CALLER], expires_at=None, actor="cli"
        ),
        records.key_revoked("p" * 12, project="shop", actor="cli"),
        records.policy_activated(policy, previous_digest=None, actor="file"),
        records.policy_refused("policy.yaml", "policy.yaml:1:1: wrong" * 200, actor="file"),
        records.replica_started(),
        records.replica_stopped("shutdown"),
    ]

    assert [document(entry)["type"] for entry in entries] == [entry.type for entry in entries]
