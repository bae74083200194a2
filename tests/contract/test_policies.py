"""`/v1/organization/policies` through the official client's raw calls."""

import openai
import pytest
from typer.testing import CliRunner

from gateway.audit.queries import tail
from gateway.cli import app
from gateway.notes import Note, SigningKey, sign
from gateway.policy_signatures import statement
from gateway.types import Scope
from tests.contract.live import DONE, Gateway, final, wait_until

ROOT = "/organization/policies"
POLICY = """apiVersion: ostiary/v1
kind: Policy
metadata: {id: ID, version: VERSION, owner: o@acme.example}
categories:
  secrets.credential: {severity: high, rationale: "a credential must not leave"}
rules:
  - id: secret-out
    category: secrets.credential
    stages: [output]
    bands:
      - {gte: 0.9, actions: [block]}
    tests:
      - {name: a key, given: {stage: output, scores: {secrets.credential: 0.95}}, expect: block}
      - {name: prose, given: {stage: output, scores: {secrets.credential: 0.1}}, expect: allow}
"""


def files(id, version="1.0.0"):
    text = POLICY.replace("ID", id).replace("VERSION", version)
    return {"files": [{"name": f"{id}.yaml", "text": text}]}


class Member:
    """Somebody with an API key and the official client."""

    def __init__(self, gateway, *scopes):
        self.key = gateway.new_key(*scopes)
        self.client = gateway.client_with(self.key, max_retries=2)
        self.id = self.key.split("_")[2]

    def get(self, path="", **query):
        return self.client.get(ROOT + path, cast_to=dict, options={"params": query})

    def post(self, path="", body=None):
        return self.client.post(ROOT + path, cast_to=dict, body=body)

    def refused(self, kind, *call, **more):
        with pytest.raises(kind) as raised:
            self.post(*call, **more)
        return raised.value


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One of our own: what comes into force here must not govern other tests."""
    with Gateway(tmp_path_factory.mktemp("policies")) as gateway:
        yield gateway


@pytest.fixture
def member(gateway):
    """Makes people by their scopes."""
    made = []

    def make(*scopes):
        made.append(Member(gateway, *scopes))
        return made[-1]

    yield make
    for each in made:
        each.client.close()


@pytest.fixture
def editor(member):
    return member(Scope.POLICY_EDITOR)


@pytest.fixture
def approver(member):
    return member(Scope.POLICY_APPROVER)


@pytest.fixture
def approved(editor, approver):
    """Takes a version up to its approval."""

    def make(id, version="1.0.0"):
        editor.post(body=files(id, version))
        editor.post(f"/{id}/versions/{version}/propose")
        return approver.post(f"/{id}/versions/{version}/approve")

    return make


def test_a_policy_goes_from_a_draft_into_force(gateway, editor, approver):
    draft = editor.post(body=files("whole"))
    proposed = editor.post("/whole/versions/1.0.0/propose")
    approved = approver.post("/whole/versions/1.0.0/approve")
    active = approver.post("/whole/versions/1.0.0/activate")

    states = [step["state"] for step in (draft, proposed, approved, active)]
    assert states == ["draft", "proposed", "approved", "active"]
    assert (active["author"], active["decided_by"]) == (editor.id, approver.id)
    assert approver.get("/whole")["active"] == active
    entries = [
        entry
        for entry in gateway.run(tail(gateway.services.database, 100))
        if entry.get("policy", {}).get("digest") == draft["digest"]
        and entry["type"] != "policy.loaded"  # the replica's own, a moment later
    ]
    assert [(entry["type"], entry["actor"]["key"]) for entry in entries] == [
        ("policy.drafted", editor.id),
        ("policy.proposed", editor.id),
        ("policy.approved", approver.id),
        ("policy.activated", approver.id),
    ]


STRICT = """apiVersion: ostiary/v1
kind: Policy
metadata: {id: strict, version: VERSION, owner: o@acme.example}
categories:
  violence: {severity: high, rationale: "nothing at all"}
rules:
  - id: everything
    category: violence
    stages: [input]
    bands:
      - {gte: 0, actions: [block]}
    message: {user: "Closed, version VERSION."}
    tests:
      - {name: all, given: {stage: input, scores: {violence: 0}}, expect: block}
"""


def strict(version):
    return {"files": [{"name": "strict.yaml", "text": STRICT.replace("VERSION", version)}]}


def refusal(gateway):
    """Return what a harmless prompt is refused with, or None."""
    try:
        gateway.client.responses.create(model=gateway.model, input="Hello!")
    except openai.BadRequestError as error:
        return error.body["message"]
    return None


def test_what_is_active_governs_requests_and_what_is_not_does_not(new_gateway, monkeypatch):
    gateway = new_gateway()
    gateway.script(final("Hello there."), DONE)
    editor = Member(gateway, Scope.POLICY_EDITOR)
    approver = Member(gateway, Scope.POLICY_APPROVER)
    for version in ("1.0.0", "1.1.0"):
        editor.post(body=strict(version))
        editor.post(f"/strict/versions/{version}/propose")
        approver.post(f"/strict/versions/{version}/approve")
    assert refusal(gateway) is None

    approver.post("/strict/versions/1.0.0/activate")
    wait_until(lambda: refusal(gateway) == "Closed, version 1.0.0.")
    approver.post("/strict/versions/1.1.0/activate")
    wait_until(lambda: refusal(gateway) == "Closed, version 1.1.0.")
    approver.post("/strict/rollback")
    wait_until(lambda: refusal(gateway) == "Closed, version 1.0.0.")
    monkeypatch.setenv("OSTIARY_HOME", str(gateway.settings.home))
    done = CliRunner().invoke(app, ["policy", "retire", "strict"])
    assert done.exit_code == 0
    wait_until(lambda: refusal(gateway) is None)

    for each in (editor, approver):
        each.client.close()


def test_a_version_has_the_shape_that_the_docs_say(editor):
    stored = editor.post(body=files("shape"))

    assert stored == {
        "object": "organization.policy.version",
        "id": "1.0.0",
        "policy": "shape",
        "kind": "Policy",
        "digest": stored["digest"],
        "state": "draft",
        "author": editor.id,
        "created_at": stored["created_at"],
        "decided_by": None,
        "decided_at": None,
        "reason": None,
        "activated_at": None,
        "replaced": None,
        "signed_by": [],
    }
    assert isinstance(stored["created_at"], int)


def test_the_files_of_a_version_come_back_as_they_were_sent(editor):
    editor.post(body=files("back"))

    version = editor.get("/back/versions/1.0.0")

    assert version["files"] == files("back")["files"]
    assert version["note"] is None


def test_lists_are_paged_as_openai_pages_them(editor):
    for name in "abc":
        editor.post(body=files(f"page-{name}"))

    first = editor.get(limit=2, after="page-")
    rest = editor.get(limit=2, after=first["last_id"])

    assert [each["id"] for each in first["data"]] == ["page-a", "page-b"]
    assert (first["object"], first["first_id"], first["has_more"]) == ("list", "page-a", True)
    assert rest["data"][0]["id"] == "page-c"
    none = editor.get(after="zzz")
    assert none == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_versions_are_listed_newest_first(editor):
    for version in ("1.0.0", "1.1.0", "1.0.1"):
        editor.post(body=files("many", version))

    first = editor.get("/many/versions", limit=2)
    rest = editor.get("/many/versions", limit=2, after=first["last_id"])

    assert [each["id"] for each in first["data"]] == ["1.0.1", "1.1.0"]
    assert [each["id"] for each in rest["data"]] == ["1.0.0"]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert editor.get("/many")["versions"] == 3


@pytest.mark.parametrize("limit", ["0", "101", "-1", "ten", "1e1", "\u00b2"])
def test_a_page_has_1_to_100_objects(editor, limit):
    with pytest.raises(openai.BadRequestError) as raised:
        editor.get(limit=limit)

    assert raised.value.param == "limit"


def test_a_rollback_returns_the_version_that_is_in_force_now(approved, approver):
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        approved("back-and-forth", version)
        approver.post(f"/back-and-forth/versions/{version}/activate")

    assert approver.post("/back-and-forth/rollback")["id"] == "1.1.0"
    named = approver.post("/back-and-forth/rollback", body={"version": "1.2.0"})
    assert (named["id"], named["state"]) == ("1.2.0", "active")


def test_a_retired_policy_is_in_force_no_more(approved, approver):
    approved("retiring")
    approver.post("/retiring/versions/1.0.0/activate")

    assert approver.post("/retiring/retire")["state"] == "superseded"
    assert approver.get("/retiring")["active"] is None


def test_a_rejection_says_why(approved, approver):
    approved("rejected")

    rejected = approver.post("/rejected/versions/1.0.0/reject", body={"reason": "too strict"})

    assert (rejected["state"], rejected["reason"]) == ("rejected", "too strict")


def test_mistakes_come_with_their_places_and_are_not_retried(editor, gateway):
    body = files("wrong")
    body["files"][0]["text"] = body["files"][0]["text"].replace("category: s", "category: x")

    error = editor.refused(openai.BadRequestError, body=body)

    assert (error.code, error.param) == ("invalid_policy", "files")
    assert "wrong.yaml:8:15: unknown category `xecrets.credential`" in error.message
    assert error.response.headers["x-should-retry"] == "false"


def test_a_policy_that_fails_its_own_tests_is_not_even_a_draft(editor):
    body = files("failing")
    body["files"][0]["text"] = body["files"][0]["text"].replace("expect: allow", "expect: block")

    error = editor.refused(openai.BadRequestError, body=body)

    assert "failing.yaml:14:9: test `prose` of rule `secret-out` expects `block`" in error.message
    with pytest.raises(openai.NotFoundError):
        editor.get("/failing")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (None, "files"),
        ({"files": []}, "files"),
        ({"files": [{"name": "a.yaml"}]}, "files[0].text"),
        ({"files": [{"name": "", "text": ""}]}, "files[0].name"),
        ({"files": [{"name": "policy.lock", "text": "{}"}]}, "files"),
        ({"files": [{"name": "a", "text": "x"}, {"name": "policy.lock", "text": "["}]}, "files"),
        ({"files": [{"name": "a", "text": ""}] * 101}, "files"),
    ],
)
def test_what_is_no_policy_is_a_bad_request(editor, body, param):
    assert editor.refused(openai.BadRequestError, body=body).param == param


def test_a_note_that_does_not_fit_is_a_bad_request(editor):
    error = editor.refused(openai.BadRequestError, body={**files("noted"), "note": "hello"})

    assert (error.code, error.param) == ("invalid_signature", "note")


def test_the_author_does_not_approve_even_as_an_admin(member):
    admin = member(Scope.ADMIN)
    admin.post(body=files("own"))
    admin.post("/own/versions/1.0.0/propose")

    error = admin.refused(openai.PermissionDeniedError, "/own/versions/1.0.0/approve")

    assert error.code == "author_cannot_approve"
    assert member(Scope.ADMIN).post("/own/versions/1.0.0/approve")["state"] == "approved"


def test_a_step_that_the_state_does_not_allow_is_a_conflict_and_not_retried(editor, approver):
    editor.post(body=files("early"))

    error = approver.refused(openai.ConflictError, "/early/versions/1.0.0/activate")

    assert error.code == "conflict"
    assert "this version is `draft`; to activate it, it has to be `approved`" in error.message
    assert error.response.headers["x-should-retry"] == "false"


def test_a_version_cannot_change(editor):
    editor.post(body=files("fixed"))
    changed = files("fixed")
    changed["files"][0]["text"] = changed["files"][0]["text"].replace("gte: 0.9,", "gte: 0.94,")

    assert "another content" in editor.refused(openai.ConflictError, body=changed).message


ATTACHMENTS = """apiVersion: ostiary/v1
kind: Attachments
metadata: {id: who, version: 1.0.0, owner: o@acme.example}
everyone: {policies: [nobody]}
"""
CLAIM = """      - {name: claim, given: {stage: output, text: "Good morning!"}, expect: block}
"""


@pytest.mark.parametrize(
    ("id", "text", "reason"),
    [
        ("who", ATTACHMENTS, "`nobody` is attached and not in force"),
        (
            "claiming",
            POLICY.replace("ID", "claiming").replace("VERSION", "1.0.0") + CLAIM,
            "test `claim` of rule `secret-out` expects `block` and got `allow`",
        ),
    ],
)
def test_what_no_replica_would_take_does_not_come_into_force(editor, approver, id, text, reason):
    editor.post(body={"files": [{"name": "a.yaml", "text": text}]})
    editor.post(f"/{id}/versions/1.0.0/propose")
    approver.post(f"/{id}/versions/1.0.0/approve")

    error = approver.refused(openai.ConflictError, f"/{id}/versions/1.0.0/activate")

    assert error.code == "policies_do_not_fit"
    assert reason in error.message
    assert approver.get(f"/{id}")["active"] is None


READ = ["", "/acme", "/acme/versions", "/acme/versions/1.0.0"]
EDIT = ["", "/acme/versions/1.0.0/propose", "/acme/versions/1.0.0/withdraw"]
APPROVE = [
    *(f"/acme/versions/1.0.0/{step}" for step in ("approve", "reject", "activate")),
    "/acme/rollback",
    "/acme/retire",
]


@pytest.fixture
def acme(editor):
    editor.post(body=files("acme"))


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("path", READ)
def test_editors_approvers_and_auditors_may_read(member, path):
    for scope in (Scope.POLICY_EDITOR, Scope.POLICY_APPROVER, Scope.AUDITOR, Scope.ADMIN):
        member(scope).get(path)
    with pytest.raises(openai.PermissionDeniedError):
        member(Scope.CALLER, Scope.REVIEWER).get(path)


@pytest.mark.parametrize(
    ("path", "scope"),
    [(path, Scope.POLICY_APPROVER) for path in EDIT] + [(p, Scope.POLICY_EDITOR) for p in APPROVE],
)
def test_editors_do_not_approve_and_approvers_do_not_edit(member, acme, gateway, path, scope):
    others = member(scope, Scope.CALLER, Scope.AUDITOR, Scope.REVIEWER)

    error = others.refused(openai.PermissionDeniedError, path, body=files("acme"))

    assert "lacks the scope" in error.message
    [recorded] = gateway.show(error.response.headers["x-request-id"])
    assert (recorded["type"], recorded["actor"]["key"]) == ("request.denied", others.id)
    assert recorded["denial"]["status"] == 403


def test_what_is_not_there_is_not_found(editor, approver):
    for path in ("/nobody", "/nobody/versions", "/nobody/versions/1.0.0"):
        with pytest.raises(openai.NotFoundError):
            editor.get(path)
    for path in (
        "/nobody/versions/1.0.0/approve",
        "/nobody/versions/1.0.0/activate",
        "/nobody/rollback",
        "/nobody/retire",
        "/nobody/versions/1.0.0/restore",
    ):
        assert approver.refused(openai.NotFoundError, path).code == "not_found"


def test_without_a_key_nothing_is_told(gateway):
    answer = gateway.http.get(f"/v1{ROOT}", headers={"authorization": ""})

    assert answer.status_code == 401


def test_signatures_are_asked_for_where_keys_are_trusted(new_gateway, tmp_path):
    alice, bob = SigningKey("alice", b"a" * 32), SigningKey("bob", b"b" * 32)
    trusted = tmp_path / "trusted"
    trusted.write_text(f"{alice.verifier}\n{bob.verifier}\n")
    gateway = new_gateway(policy_keys=str(trusted), policy_signatures=2)
    editor = Member(gateway, Scope.POLICY_EDITOR)
    approver = Member(gateway, Scope.POLICY_APPROVER)
    draft = editor.post(body=files("signed"))
    note = Note(statement("signed", "1.0.0", draft["digest"]))

    def noted(key):
        return {"note": sign(note, key).encode().decode()}

    editor.post(body={**files("signed"), **noted(alice)})
    editor.post("/signed/versions/1.0.0/propose")
    approver.post("/signed/versions/1.0.0/approve")
    missing = approver.refused(openai.ConflictError, "/signed/versions/1.0.0/activate")
    active = approver.post("/signed/versions/1.0.0/activate", body=noted(bob))

    assert missing.code == "signatures_missing"
    assert (active["state"], active["signed_by"]) == ("active", ["alice", "bob"])
    assert editor.get("/signed/versions/1.0.0")["note"].startswith("ostiary-policy/v1\nsigned\n")
    for each in (editor, approver):
        each.client.close()
