"""`client.admin.organization.audit_logs` and what stands beside it, with the official client."""

import openai
import pytest

from gateway.audit.queries import tail
from gateway.types import Scope
from tests.contract.live import Gateway
from tests.contract.surfaces import ask

KEY = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2
ASKED = f"Please remember that my key is {KEY}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One with a history: five keys, two of them revoked."""
    with Gateway(tmp_path_factory.mktemp("audited")) as gateway:
        gateway.made = [gateway.new_key(project=f"project-{n}").split("_")[2] for n in range(5)]
        for prefix in gateway.made[:2]:
            gateway.run(gateway.services.identity.revoke(prefix, actor="cli:alice"))
        yield gateway


@pytest.fixture(scope="module")
def auditor(gateway):
    client = gateway.client_with(None, admin_api_key=gateway.new_key(Scope.AUDITOR))
    yield client
    client.close()


@pytest.fixture
def logs(auditor):
    return auditor.admin.organization.audit_logs


@pytest.fixture
def entries(gateway):
    def entries(kind):
        found = gateway.run(tail(gateway.services.database, 500))
        return [entry for entry in found if entry["type"] == kind]

    return entries


def test_a_key_that_was_made_is_listed_under_openais_name(gateway, logs):
    prefix = gateway.made[3]
    [log] = logs.list(event_types=["api_key.created"], resource_ids=[prefix]).data

    assert (log.type, log.api_key_created.id) == ("api_key.created", prefix)
    assert log.api_key_created.data.scopes == ["caller"]
    assert (log.project.id, log.actor.api_key.id) == ("project-3", "test")
    assert isinstance(log.effective_at, int)


def test_a_key_that_was_revoked_names_who_did_it(gateway, logs):
    [log] = logs.list(event_types=["api_key.deleted"], resource_ids=[gateway.made[0]]).data

    assert log.api_key_deleted.id == gateway.made[0]
    assert log.actor.type == "session"
    assert log.actor.session.user.id == "cli:alice"


def test_what_openai_has_no_name_for_keeps_ours(logs):
    logs.list(limit=1)
    [log] = logs.list(event_types=["access.searched"], limit=1).data

    assert log.to_dict()["access.searched"]["access"]["surface"] == "audit_logs"


def ids(page):
    return [log.id for log in page]


def test_the_client_pages_through_all_of_it(gateway, logs):
    kinds = {"event_types": ["api_key.created", "api_key.deleted"]}
    whole = logs.list(**kinds, limit=100)

    paged = ids(logs.list(**kinds, limit=2))  # the iterator asks for page after page

    assert paged == ids(whole)
    assert len(paged) >= 8
    assert paged == sorted(paged, reverse=True)  # newest first


def test_paging_back_gives_the_same_pages(logs):
    kinds = {"event_types": ["api_key.created", "api_key.deleted"], "limit": 3}
    first = logs.list(**kinds)
    second = logs.list(**kinds, after=first.last_id)
    third = logs.list(**kinds, after=second.last_id)

    back = logs.list(**kinds, before=third.data[0].id)
    assert ids(back.data) == ids(second.data)
    assert back.has_more
    start = logs.list(**kinds, before=second.data[0].id)
    assert ids(start.data) == ids(first.data)
    assert not start.has_more


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"project_ids": ["project-1", "project-4"]}, {1, 4}),
        ({"actor_ids": ["cli:alice"]}, {0, 1}),
        ({"actor_ids": ["nobody"]}, set()),
        ({"actor_emails": ["a@example.org"]}, set()),
        ({"tenant_only": True}, set()),
        ({"effective_at": {"gte": 4_000_000_000}}, set()),
        ({"effective_at": {"lte": 4_000_000_000}, "project_ids": ["project-2"]}, {2}),
        ({"effective_at": {"gt": 1_000_000_000}, "project_ids": ["project-2"]}, {2}),
        ({"effective_at": {"lt": 1_000_000_000}}, set()),
    ],
)
def test_a_filter_lets_through_what_it_says(gateway, logs, filters, wanted):
    kinds = ["api_key.created", "api_key.deleted"]
    found = logs.list(event_types=kinds, limit=100, **filters).data

    made = {gateway.made.index(resource(log)) for log in found if resource(log) in gateway.made}
    assert made == wanted


def resource(log):
    return (log.api_key_created or log.api_key_deleted).id


def test_a_second_is_in_its_own_bounds_and_in_no_others(logs, gateway):
    [log] = logs.list(event_types=["api_key.created"], resource_ids=[gateway.made[2]]).data
    at, same = log.effective_at, {"resource_ids": [gateway.made[2]]}

    assert ids(logs.list(effective_at={"gte": at, "lte": at}, **same).data) == [log.id]
    assert logs.list(effective_at={"gt": at}, **same).data == []
    assert logs.list(effective_at={"lt": at}, **same).data == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"after": "nothing"}, "after"),
        ({"before": "nothing"}, "before"),
        ({"effective_at": {"gte": "soon"}}, "effective_at"),
    ],
)
def test_a_wrong_page_is_refused_by_name(logs, query, param):
    with pytest.raises(openai.BadRequestError) as refused:
        logs.list(**query)

    assert refused.value.param == param


@pytest.mark.parametrize("scope", [Scope.CALLER, Scope.REVIEWER, Scope.POLICY_EDITOR])
def test_who_is_no_auditor_sees_nothing(gateway, scope):
    with gateway.client_with(None, admin_api_key=gateway.new_key(scope)) as client:
        with pytest.raises(openai.PermissionDeniedError):
            client.admin.organization.audit_logs.list()
        with pytest.raises(openai.PermissionDeniedError):
            client.get(
                "/organization/decisions",
                cast_to=dict,
                options={"security": {"admin_api_key_auth": True}},
            )


def test_each_listing_is_recorded_with_what_was_asked(logs, entries, auditor):
    logs.list(project_ids=["project-1"], limit=5)

    entry = entries("access.searched")[-1]
    assert entry["criteria"] == {"administrative": True, "projects": ["project-1"]}
    assert entry["access"]["surface"] == "audit_logs"
    assert entry["actor"]["key"] == auditor.admin_api_key.split("_")[2]


def test_any_search_fits_into_its_record(logs, entries):
    many = [f"{number} {chr(0) * 60}" for number in range(50)]
    found = logs.list(project_ids=many, actor_ids=many, resource_ids=many, event_types=many)

    assert found.data == []
    recorded = entries("access.searched")[-1]["criteria"]["projects"]
    assert (len(recorded), recorded[-1]) == (9, "and 42 more")


@pytest.fixture
def flagged(gateway):
    """A decision that flagged."""
    answer = ask(gateway, "responses", ASKED, safety_identifier="user-17")
    return next(entry for entry in answer.log if entry["type"] == "decision.recorded")


ADMIN = {"security": {"admin_api_key_auth": True}}


def decisions(auditor, **query):
    options = {**ADMIN, "params": query}
    return auditor.get("/organization/decisions", cast_to=dict, options=options)


def test_decisions_are_listed_by_what_was_decided(auditor, flagged):
    decision = flagged["decision"]
    rule = flagged["determining_rules"][0]
    subject = flagged["actor"]["safety_identifier"]

    for query in (
        {"actions": [decision["action"]]},
        {"stages": ["input", "output"]},
        {"rules": [rule]},
        {"categories": ["secrets.credential"]},
        {"end_users": [subject]},
        {"request_ids": [flagged["request"]["id"]]},
    ):
        found = decisions(auditor, **query)["data"]
        assert decision["id"] in [each["id"] for each in found], query
    newest = decisions(auditor, limit=1)["data"][0]
    assert (newest["object"], newest["id"]) == ("organization.decision", decision["id"])
    assert newest["determining_rules"] == flagged["determining_rules"]
    assert newest["content"] == flagged["content"]


@pytest.mark.parametrize(
    "query",
    [{"actions": ["review"]}, {"rules": ["none"]}, {"end_users": ["ab" * 16]}],
)
def test_decisions_that_do_not_fit_are_not_listed(auditor, flagged, query):
    assert decisions(auditor, **query) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_decisions_are_paged_both_ways(gateway, auditor):
    for _ in range(5):
        gateway.client.moderations.create(input="Hello!")
    whole = [each["id"] for each in decisions(auditor, limit=5)["data"]]

    first = decisions(auditor, limit=2)
    second = decisions(auditor, limit=2, after=first["last_id"])
    back = decisions(auditor, limit=2, before=second["first_id"])

    assert [each["id"] for each in [*first["data"], *second["data"]]] == whole[:4]
    assert back["data"] == first["data"]
    assert (second["has_more"], back["has_more"]) == (True, False)


def opened(auditor, id, body):
    return auditor.post(
        f"/organization/decisions/{id}/content", cast_to=dict, body=body, options=ADMIN
    )


@pytest.mark.parametrize("of", ["decision", "request"])
def test_content_is_opened_for_a_reason_and_that_is_recorded_first(auditor, flagged, entries, of):
    answer = opened(auditor, flagged[of]["id"], {"reason": "appeal 9"})

    [field] = answer["data"]
    assert field == {
        "decision": flagged["decision"]["id"],
        "field": "input",
        "state": "kept",
        "said": [{"source": "user", "text": ASKED}],
    }
    entry = entries("access.opened")[-1]
    assert entry["access"]["reason"] == "appeal 9"
    assert entry["records"] == [flagged["id"]]
    assert entry["end_users"] == [flagged["actor"]["safety_identifier"]]
    assert entry["actor"]["key"] == auditor.admin_api_key.split("_")[2]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x" * 501}])
def test_without_a_reason_nothing_is_opened(auditor, flagged, entries, body):
    before = len(entries("access.opened"))
    with pytest.raises(openai.BadRequestError) as refused:
        opened(auditor, flagged["decision"]["id"], body)

    assert refused.value.param == "reason"
    assert len(entries("access.opened")) == before


@pytest.mark.parametrize("id", ["dec_" + "0" * 32, "nothing", "req_1"])
def test_what_has_no_content_is_not_found(auditor, id):
    with pytest.raises(openai.NotFoundError):
        opened(auditor, id, {"reason": "appeal 9"})


def test_erasures_holds_and_accesses_are_listed(gateway, auditor, logs, flagged):
    from gateway.audit.erasure import add_hold, erase, release_hold

    database, subject = gateway.services.database, flagged["actor"]["safety_identifier"]
    hold = gateway.run(add_hold(database, "default", subject, reason="case", actor="cli"))
    gateway.run(release_hold(database, hold.id, reason="closed", actor="cli"))
    gateway.run(erase(database, "default", subject, reason="Art. 17", actor="cli"))

    opened(auditor, flagged["decision"]["id"], {"reason": "appeal 9"})
    listed = [log.type for log in logs.list(resource_ids=[subject], limit=5).data]
    assert listed == [
        "access.opened",
        "erasure.completed",
        "erasure.requested",
        "hold.released",
        "hold.added",
    ]
    [field] = opened(auditor, flagged["decision"]["id"], {"reason": "appeal 9"})["data"]
    assert (field["state"], field["said"]) == ("gone", [])
