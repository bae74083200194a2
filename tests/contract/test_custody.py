"""Erasing and holding over HTTP, with the records of the command line; and a vault of one's own."""

import sys
from pathlib import Path

import pytest

from gateway.audit.master_keys import open_master_keys
from gateway.audit.queries import tail
from gateway.audit.rotation import rotate
from gateway.types import Scope
from tests.contract.live import Gateway
from tests.contract.surfaces import ask

EXAMPLE = Path(__file__).parents[2] / "examples" / "vault" / "command.py"
KEY = "sk-proj-" + "aB3dE6gH9jK2mN5pQ8sT1uV4" * 2
ASKED = f"Please remember that my key is {KEY}"
ERASURES, HOLDS = "/v1/organization/erasures", "/v1/organization/holds"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """One whose master keys are a program's."""
    folder = tmp_path_factory.mktemp("custody")
    command = (sys.executable, str(EXAMPLE), str(folder / "keys"))
    with Gateway(folder / "home", vault_command=command) as gateway:
        yield gateway


@pytest.fixture
def post(gateway):
    def post(path, scope=Scope.ADMIN, **body):
        key = gateway.new_key(scope)
        post.key_id = key.split("_")[2]
        return gateway.http.post(path, json=body, headers={"authorization": f"Bearer {key}"})

    return post


def flagged(gateway, who):
    answer = ask(gateway, "responses", ASKED, safety_identifier=who)
    return next(entry for entry in answer.log if entry["type"] == "decision.recorded")


def kept(gateway, entry):
    opened = gateway.run(gateway.services.vault.open("default", entry["id"], entry["content"]))
    return [field.state.value for field in opened]


def last(gateway, kind):
    found = [e for e in gateway.run(tail(gateway.services.database, 200)) if e["type"] == kind]
    return found[-1] if found else None


def test_a_hold_keeps_content_from_erasure_until_it_is_released(gateway, post):
    entry = flagged(gateway, "user-1")
    assert kept(gateway, entry) == ["kept"]
    made = post(HOLDS, project_id="default", safety_identifier="user-1", reason="case 12")
    assert (made.status_code, made.json()["reason"]) == (200, "case 12")
    hold = made.json()
    assert hold["subject"] == entry["actor"]["safety_identifier"]
    assert last(gateway, "hold.added")["actor"] == {"key": post.key_id}

    refused = post(ERASURES, project_id="default", safety_identifier="user-1", reason="Art. 17")
    assert (refused.status_code, refused.headers["x-should-retry"]) == (409, "false")
    assert kept(gateway, entry) == ["kept"]

    ended = post(f"{HOLDS}/{hold['id']}/release", reason="closed")
    assert (ended.status_code, ended.json()["released"]) == (200, True)
    assert last(gateway, "hold.released")["hold"] == {"id": hold["id"], "reason": "closed"}
    assert post(f"{HOLDS}/{hold['id']}/release", reason="again").status_code == 404


def test_an_erasure_destroys_the_keys_and_is_recorded(gateway, post):
    entry = flagged(gateway, "user-2")
    subject = entry["actor"]["safety_identifier"]
    done = post(ERASURES, project_id="default", subject=subject, reason="request 4711")

    assert done.json() == {
        "object": "organization.erasure",
        "project_id": "default",
        "subject": subject,
        "keys_destroyed": 1,
    }
    assert kept(gateway, entry) == ["gone"]
    recorded = last(gateway, "erasure.completed")
    assert (recorded["actor"]["key"], recorded["end_user"]["safety_identifier"]) == (
        post.key_id,
        subject,
    )


def test_keys_of_a_program_are_rotated_while_the_gateway_runs(gateway):
    entry = flagged(gateway, "user-4")
    settings = gateway.services.settings
    master = open_master_keys(settings.vault_file, "", settings.vault_command)
    before = set(Path(settings.vault_command[-1]).iterdir())
    done = gateway.run(rotate(gateway.services.database, master, actor="test"))
    after = set(Path(settings.vault_command[-1]).iterdir())

    assert done.keys >= 1
    assert [path.name for path in after] == [done.master_key]
    assert before.isdisjoint(after)
    assert kept(gateway, entry) == ["kept"]


@pytest.mark.parametrize("scope", [s for s in Scope if s is not Scope.ADMIN])
def test_nobody_but_an_admin_erases_holds_or_releases(gateway, post, scope):
    named = {"project_id": "default", "safety_identifier": "user-3", "reason": "why"}

    for path in (ERASURES, HOLDS, f"{HOLDS}/x/release"):
        assert post(path, scope, **named).status_code == 403


def test_an_auditor_sees_what_is_held_page_by_page(gateway, post):
    ids = [post(HOLDS, project_id=f"p{n}", reason="case").json()["id"] for n in range(3)]
    auditor = {"authorization": f"Bearer {gateway.new_key(Scope.AUDITOR)}"}

    def page(**query):
        return gateway.http.get(HOLDS, params=query, headers=auditor).json()

    first = page(limit=2)
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (ids[:2], True)
    assert first["data"][0]["subject"] is None
    second = page(limit=2, after=first["last_id"])
    assert ([each["id"] for each in second["data"]], second["has_more"]) == (ids[2:], False)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ERASURES, {"project_id": "default", "reason": "who?"}),
        (ERASURES, {"project_id": "default", "subject": "no pseudonym", "reason": "r"}),
        (ERASURES, {"project_id": "default", "safety_identifier": "", "reason": "r"}),
        (ERASURES, {"project_id": "default", "safety_identifier": "user-1"}),
        (ERASURES, {"safety_identifier": "user-1", "reason": "r"}),
        (HOLDS, {"project_id": "p", "safety_identifier": "u", "subject": "a" * 32, "reason": "r"}),
        (HOLDS, {"project_id": "p"}),
    ],
)
def test_what_is_not_said_clearly_is_refused(post, path, body):
    assert post(path, **body).status_code == 400
