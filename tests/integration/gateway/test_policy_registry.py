"""The registry on real databases: acts, their records, and what happens when two meet."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.audit.queries import tail
from gateway.errors import Conflict, Forbidden, NotFound, StoreUnavailable
from gateway.notes import Note, NoteError, SigningKey, sign
from gateway.policy_bundle import candidate_of, parse_candidate
from gateway.policy_files import read_files
from gateway.policy_lifecycle import Actor, Step, operator
from gateway.policy_registry import PolicyRegistry
from gateway.policy_signatures import Trust, statement
from gateway.policy_source import bound, decoded
from gateway.store import policies
from gateway.store.session import Database
from gateway.types import Scope
from policies.bundle import SourceFile
from policies.load import PolicyError

pytestmark = pytest.mark.integration

POLICY = """apiVersion: ostiary/v1
kind: Policy
metadata: {{id: {id}, version: {version}, owner: o@acme.example}}
categories:
  secrets.credential: {{severity: high, rationale: "a credential must not leave"}}
rules:
  - id: secret-out
    category: secrets.credential
    stages: [output]
    bands:
      - {{gte: {gte}, actions: [block]}}
    tests:
      - name: a key
        given: {{stage: output, scores: {{secrets.credential: 0.95}}}}
        expect: block
      - name: prose
        given: {{stage: output, scores: {{secrets.credential: 0.1}}}}
        expect: allow
"""
EDITOR = Actor("editorkey", frozenset({Scope.POLICY_EDITOR}))
APPROVER = Actor("approverkey", frozenset({Scope.POLICY_APPROVER}))
ADMIN = Actor("adminkey", frozenset({Scope.ADMIN}))
ALICE, BOB = SigningKey("alice", b"a" * 32), SigningKey("bob", b"b" * 32)
FOUR_EYES = Trust((ALICE.verifier, BOB.verifier), 2)


def source(version="1.0.0", id="acme", gte=0.9):
    return POLICY.format(id=id, version=version, gte=gte)


def candidate(version="1.0.0", id="acme", gte=0.9):
    file = SourceFile("acme.yaml", source(version, id, gte).encode())
    return candidate_of([file])


def note(of, *keys):
    made = Note(statement(of.id, of.version, of.digest))
    for key in keys:
        made = sign(made, key)
    return made.encode()


class Today:
    def __init__(self):
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        self.moment += timedelta(seconds=1)
        return self.moment


@pytest.fixture
def announced():
    return []


@pytest.fixture
def registry(database, announced):
    async def announce(revision):
        announced.append(revision)

    return PolicyRegistry(database, announce=announce, now=Today())


async def approved(registry, version="1.0.0", id="acme"):
    await registry.draft(candidate(version, id), EDITOR)
    await registry.move(Step.PROPOSE, id, version, EDITOR)
    return await registry.move(Step.APPROVE, id, version, APPROVER)


async def activated(registry, *versions, id="acme"):
    for version in versions:
        await approved(registry, version, id)
        await registry.activate(id, version, APPROVER)


async def states(registry, id="acme"):
    found = await policies.versions(registry.database, id, None, 100)
    return {version.version: version.state for version in found}


async def log(registry, step=None):
    entries = await tail(registry.database, 100)
    return [each for each in entries if step is None or each["type"] == f"policy.{step}"]


async def test_a_version_goes_from_draft_into_force_step_by_step(registry):
    await activated(registry, "1.0.0")

    stored = await registry.find("acme", "1.0.0")
    assert (stored.state, stored.author, stored.decided_by) == (
        "active",
        "editorkey",
        "approverkey",
    )
    assert [entry["type"] for entry in await log(registry)] == [
        "policy.drafted",
        "policy.proposed",
        "policy.approved",
        "policy.activated",
    ]


async def test_each_step_is_recorded_with_who_took_it_and_on_what(registry):
    await activated(registry, "1.0.0", "1.1.0")
    one = await registry.find("acme", "1.0.0")
    two = await registry.find("acme", "1.1.0")

    [_, second] = await log(registry, "activated")

    assert second["actor"] == {"key": "approverkey"}
    assert second["policy"] == {
        "kind": "Policy",
        "id": "acme",
        "version": "1.1.0",
        "digest": two.digest,
        "author": "editorkey",
        "previous_digest": one.digest,
        "rules": 1,
        "signers": [],
        "revision": 2,
    }


async def test_what_is_in_force_can_be_read_with_its_revision(registry):
    assert await registry.heads() == (0, {})

    await activated(registry, "1.0.0", "1.1.0")
    await activated(registry, "3.0.0", id="other")

    revision, bundles = await registry.heads()
    assert (revision, await registry.revision()) == (3, 3)
    assert {id: parse_candidate(content).version for id, content in bundles.items()} == {
        "acme": "1.1.0",
        "other": "3.0.0",
    }


async def test_only_changes_of_what_is_in_force_are_announced(registry, announced):
    await approved(registry)
    assert announced == []

    await registry.activate("acme", "1.0.0", APPROVER)
    await registry.retire("acme", APPROVER)

    assert announced == [1, 2]


async def test_a_new_version_supersedes_the_one_before(registry):
    await activated(registry, "1.0.0", "1.1.0")

    assert await states(registry) == {"1.0.0": "superseded", "1.1.0": "active"}


async def test_a_rollback_leads_to_the_version_before_and_then_further_back(registry):
    await activated(registry, "1.0.0", "1.1.0", "1.2.0")

    assert (await registry.roll_back("acme", APPROVER)).version == "1.1.0"
    assert await states(registry) == {
        "1.0.0": "superseded",
        "1.1.0": "active",
        "1.2.0": "rolled_back",
    }
    assert (await registry.roll_back("acme", APPROVER)).version == "1.0.0"
    with pytest.raises(Conflict, match="no version of `acme` was in force before"):
        await registry.roll_back("acme", APPROVER)

    rolled_back, _ = await log(registry, "rolled_back")
    new = await registry.find("acme", "1.2.0")
    assert rolled_back["policy"]["version"] == "1.1.0"
    assert rolled_back["policy"]["previous_digest"] == new.digest


async def test_a_rollback_never_leads_by_itself_to_what_was_rolled_back(registry):
    await activated(registry, "1.0.0", "1.1.0", "1.2.0")
    await registry.roll_back("acme", APPROVER)
    await registry.roll_back("acme", APPROVER)
    await activated(registry, "1.3.0")
    await registry.roll_back("acme", APPROVER, "1.2.0")

    assert (await states(registry))["1.1.0"] == "rolled_back"
    assert (await registry.roll_back("acme", APPROVER)).version == "1.0.0"


async def test_a_rollback_can_name_the_version_even_one_that_was_rolled_back(registry):
    await activated(registry, "1.0.0", "1.1.0", "1.2.0")

    await registry.roll_back("acme", APPROVER, "1.0.0")
    await registry.roll_back("acme", APPROVER, "1.2.0")

    assert await states(registry) == {
        "1.0.0": "rolled_back",
        "1.1.0": "superseded",
        "1.2.0": "active",
    }


@pytest.mark.parametrize("version", ["1.1.0", "2.0.0"])
async def test_a_rollback_leads_to_nothing_that_was_never_in_force(registry, version):
    await activated(registry, "1.0.0", "1.1.0")
    await approved(registry, "2.0.0")

    with pytest.raises(Conflict, match="it has to be `superseded` or `rolled_back`"):
        await registry.roll_back("acme", APPROVER, version)


async def test_a_retired_policy_is_out_of_force_and_can_come_back(registry):
    await activated(registry, "1.0.0", "1.1.0")

    await registry.retire("acme", APPROVER)
    assert (await policies.heads(registry.database)).bundles == {}
    with pytest.raises(NotFound, match="in force"):
        await registry.retire("acme", APPROVER)

    await registry.roll_back("acme", APPROVER, "1.1.0")
    assert await states(registry) == {"1.0.0": "superseded", "1.1.0": "active"}
    assert [entry["policy"]["version"] for entry in await log(registry, "retired")] == ["1.1.0"]


async def test_the_author_does_not_approve_even_as_an_admin(registry):
    await registry.draft(candidate(), ADMIN)
    await registry.move(Step.PROPOSE, "acme", "1.0.0", ADMIN)

    with pytest.raises(Forbidden, match="cannot approve"):
        await registry.move(Step.APPROVE, "acme", "1.0.0", ADMIN)
    assert await states(registry) == {"1.0.0": "proposed"}
    assert await log(registry, "approved") == []


@pytest.mark.parametrize("step", [Step.REJECT, Step.WITHDRAW])
async def test_what_was_turned_down_cannot_be_drafted_or_installed_again(registry, step):
    await approved(registry)
    await registry.move(step, "acme", "1.0.0", ADMIN, reason="too strict")

    for again in (registry.draft(candidate(), EDITOR), registry.install(candidate(), ADMIN)):
        with pytest.raises(Conflict, match="draft it anew under a new version"):
            await again
    [entry] = await log(registry, "rejected" if step is Step.REJECT else "withdrawn")
    assert entry["policy"].get("reason") == ("too strict" if step is Step.REJECT else None)


async def test_a_version_that_is_there_with_another_content_is_refused(registry):
    await registry.draft(candidate(), EDITOR)

    with pytest.raises(Conflict, match="is there with another content"):
        await registry.draft(candidate(gte=0.94), EDITOR)
    assert len(await log(registry, "drafted")) == 1


async def test_drafting_the_same_again_changes_nothing(registry):
    first = await registry.draft(candidate(), EDITOR)

    assert await registry.draft(candidate(), ADMIN) == first
    assert len(await log(registry)) == 1


async def test_an_operator_installs_a_file_at_once(registry):
    await registry.install(candidate(), operator("alice"))

    assert await states(registry) == {"1.0.0": "active"}
    assert [(entry["type"], entry["actor"]["key"]) for entry in await log(registry)] == [
        ("policy.drafted", "cli:alice"),
        ("policy.activated", "cli:alice"),
    ]
    await registry.install(candidate(), operator("alice"))
    assert len(await log(registry)) == 2


async def test_nothing_comes_into_force_with_fewer_signatures_than_wanted(database):
    registry = PolicyRegistry(database, FOUR_EYES, now=Today())
    new = candidate()
    await registry.draft(new, EDITOR, note(new, ALICE))
    await registry.move(Step.PROPOSE, "acme", "1.0.0", EDITOR)
    await registry.move(Step.APPROVE, "acme", "1.0.0", APPROVER)

    for attempt in (
        registry.activate("acme", "1.0.0", APPROVER),
        registry.install(new, ADMIN),
        registry.activate("acme", "1.0.0", APPROVER, note(new, ALICE)),
    ):
        with pytest.raises(Conflict) as refused:
            await attempt
        assert refused.value.code == "signatures_missing"
    assert (await policies.heads(database)).bundles == {}

    await registry.activate("acme", "1.0.0", APPROVER, note(new, BOB))
    [entry] = await log(registry, "activated")
    assert entry["policy"]["signers"] == ["alice", "bob"]


async def test_a_signature_that_comes_later_is_recorded(database):
    registry = PolicyRegistry(database, FOUR_EYES, now=Today())
    new = candidate()
    await registry.draft(new, EDITOR, note(new, ALICE))

    await registry.draft(new, EDITOR, note(new, BOB))

    assert len(await log(registry, "signed")) == 1
    stored = await registry.find("acme", "1.0.0")
    assert stored.note == note(new, ALICE, BOB)


async def test_a_note_that_does_not_fit_stores_nothing(database):
    registry = PolicyRegistry(database, FOUR_EYES, now=Today())

    with pytest.raises(NoteError):
        await registry.draft(candidate(), EDITOR, note(candidate("1.1.0"), ALICE))
    assert await states(registry) == {}


async def test_who_holds_the_database_but_no_keys_brings_nothing_into_force(database):
    signing = PolicyRegistry(database, FOUR_EYES, now=Today())
    good, bad = candidate(), candidate("1.1.0")
    await signing.install(good, ADMIN, note(good, ALICE, BOB))
    await signing.vouch(await decoded((await signing.heads())[1]))

    await PolicyRegistry(database, now=Today()).install(bad, ADMIN)  # as if keys were none

    with pytest.raises(PolicyError, match=r"`acme` 1\.1\.0 is active, and 2 signatures"):
        await signing.vouch(await decoded((await signing.heads())[1]))
    await signing.install(bad, ADMIN, note(bad, ALICE, BOB))
    await signing.vouch(await decoded((await signing.heads())[1]))
    await damaged(database, candidate("1.1.0", gte=0.94).bundle)
    with pytest.raises(PolicyError, match="2 signatures"):
        await signing.vouch(await decoded((await signing.heads())[1]))


async def test_a_rollback_needs_signatures_too(database):
    loose = PolicyRegistry(database, now=Today())
    await activated(loose, "1.0.0", "1.1.0")

    with pytest.raises(Conflict) as refused:
        await PolicyRegistry(database, FOUR_EYES).roll_back("acme", APPROVER)
    assert refused.value.code == "signatures_missing"


async def test_what_fails_its_own_tests_is_no_candidate():
    failing = source().replace("expect: allow", "expect: block")

    with pytest.raises(PolicyError, match=r"acme\.yaml:\d+:9: test `prose`"):
        candidate_of([SourceFile("acme.yaml", failing.encode())])


async def damaged(database, content):
    """Put other files into a stored version, as a broken disk or an enemy would."""
    async with database.write() as connection:
        on = "" if database.is_sqlite else " ON policy_versions"
        name = "update" if database.is_sqlite else "change"
        await connection.execute(text(f"DROP TRIGGER policy_versions_refuse_{name}{on}"))
        change = text("UPDATE policy_versions SET bundle = :bundle")
        await connection.execute(change, {"bundle": content})


async def test_a_stored_version_that_means_something_else_does_not_come_into_force(registry):
    await approved(registry)
    await damaged(registry.database, candidate(gte=0.94).bundle)

    with pytest.raises(Conflict, match="meant something else when it was drafted"):
        await registry.activate("acme", "1.0.0", APPROVER)


async def test_a_stored_version_that_does_not_load_does_not_come_into_force(registry):
    await approved(registry)
    await damaged(registry.database, b'{"files":[{"name":"a.yaml","text":"kind: Nothing"}]}')

    with pytest.raises(PolicyError):
        await registry.activate("acme", "1.0.0", APPROVER)
    assert await states(registry) == {"1.0.0": "approved"}


CHANGES = [
    "UPDATE policy_versions SET bundle = ''",
    "UPDATE policy_versions SET author = 'nobody'",
    "UPDATE policy_versions SET digest = 'other'",
    "DELETE FROM policy_versions",
]


async def test_what_a_version_says_cannot_be_changed(registry):
    await registry.draft(candidate(), EDITOR)
    more = [] if registry.database.is_sqlite else ["TRUNCATE policy_versions CASCADE"]

    for change in CHANGES + more:
        with pytest.raises((StoreUnavailable, DBAPIError)) as refused:
            async with registry.database.write() as connection:
                await connection.execute(text(change))
        assert "does not change" in str(refused.value.__cause__ or refused.value)


async def test_a_step_that_cannot_be_recorded_is_not_taken(registry, log_away):
    await approved(registry)

    async with log_away():
        for act in (
            registry.activate("acme", "1.0.0", APPROVER),
            registry.draft(candidate("1.1.0"), EDITOR),
            registry.install(candidate("1.2.0"), ADMIN),
        ):
            with pytest.raises(StoreUnavailable):
                await act

    assert await states(registry) == {"1.0.0": "approved"}
    assert await policies.heads(registry.database) == policies.Heads(0, {})


async def test_of_two_activations_at_once_the_second_supersedes_the_first(database_url, registry):
    versions = [f"1.{number}.0" for number in range(4)]
    for version in versions:
        await approved(registry, version)
    others = [Database(database_url) for _ in versions]

    await asyncio.gather(
        *(
            PolicyRegistry(other).activate("acme", version, APPROVER)
            for other, version in zip(others, versions, strict=True)
        )
    )

    chain = [entry["policy"] for entry in await log(registry, "activated")]
    assert [each["revision"] for each in chain] == [1, 2, 3, 4]
    for before, after in pairwise(chain):
        assert after["previous_digest"] == before["digest"]
    found = await states(registry)
    assert found[chain[-1]["version"]] == "active"
    assert sorted(found.values()) == ["active", "superseded", "superseded", "superseded"]
    for other in others:
        await other.aclose()


async def test_of_two_who_activate_the_same_one_is_told_that_it_is_active(database_url, registry):
    await approved(registry)
    others = [Database(database_url) for _ in range(2)]

    answers = await asyncio.gather(
        *(PolicyRegistry(other).activate("acme", "1.0.0", APPROVER) for other in others),
        return_exceptions=True,
    )

    [refused] = [answer for answer in answers if isinstance(answer, Exception)]
    assert isinstance(refused, Conflict)
    assert "this version is `active`" in str(refused)
    assert len(await log(registry, "activated")) == 1
    for other in others:
        await other.aclose()


async def test_of_two_who_draft_one_version_with_two_contents_one_is_refused(
    database_url, registry
):
    others = [Database(database_url) for _ in range(2)]

    answers = await asyncio.gather(
        *(
            PolicyRegistry(other).draft(candidate(gte=gte), EDITOR)
            for other, gte in zip(others, (0.9, 0.94), strict=True)
        ),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [Conflict]
    assert len(await log(registry, "drafted")) == 1
    for other in others:
        await other.aclose()


ATTACHMENTS = """apiVersion: ostiary/v1
kind: Attachments
metadata: {{id: {id}, version: {version}, owner: o@acme.example}}
everyone: {{policies: [{policy}]}}
"""


def attachments(policy, id="who", version="1.0.0"):
    text = ATTACHMENTS.format(policy=policy, id=id, version=version)
    return candidate_of([SourceFile("who.yaml", text.encode())])


@pytest.fixture
def tried(registry):
    """A registry whose policies must fit beside each other and a file's."""

    async def trial(bundles):
        bound(read_files("baseline"), await decoded(bundles))

    registry.trial = trial
    return registry


EXCEPTION = """exceptions:
  - {id: EX-9, rule: secret-out, action: flag, from: 2026-01-01T00:00:00Z,
     until: 2026-01-01T01:00:00Z, reason: exercise, approved_by: [alice, bob]}
"""


async def test_an_ended_exception_keeps_a_version_out_but_not_from_being_rolled_back_to(registry):
    excepting = SourceFile("acme.yaml", (source() + EXCEPTION).encode())
    await registry.install(candidate_of([excepting]), ADMIN)
    await registry.install(candidate("1.1.0"), ADMIN)
    late = SourceFile("acme.yaml", (source("1.2.0") + EXCEPTION).encode())
    await registry.draft(candidate_of([late]), EDITOR)
    await registry.move(Step.PROPOSE, "acme", "1.2.0", EDITOR)
    await registry.move(Step.APPROVE, "acme", "1.2.0", APPROVER)
    registry.now.moment += timedelta(hours=1)

    for act in (
        registry.activate("acme", "1.2.0", APPROVER),
        registry.install(candidate_of([late]), ADMIN),
    ):
        with pytest.raises(PolicyError, match="exception `EX-9` ended"):
            await act
    assert (await registry.roll_back("acme", APPROVER)).version == "1.0.0"


async def test_attachments_live_the_life_of_a_policy(tried):
    await activated(tried, "1.0.0")
    said = attachments("acme")
    await tried.draft(said, EDITOR)
    await tried.move(Step.PROPOSE, "who", "1.0.0", EDITOR)
    await tried.move(Step.APPROVE, "who", "1.0.0", APPROVER)

    await tried.activate("who", "1.0.0", APPROVER)

    assert (await tried.find("who", "1.0.0")).kind == "Attachments"
    assert sorted((await tried.heads())[1]) == ["acme", "who"]


async def test_attachments_of_what_is_not_in_force_are_refused(tried):
    with pytest.raises(Conflict, match="`acme` is attached and not in force") as refused:
        await tried.install(attachments("acme"), ADMIN)

    assert refused.value.code == "policies_do_not_fit"
    assert await tried.heads() == (0, {})


async def test_what_is_attached_is_not_retired(tried):
    await activated(tried, "1.0.0")
    await tried.install(attachments("acme"), ADMIN)

    with pytest.raises(Conflict, match="`acme` is attached and not in force"):
        await tried.retire("acme", APPROVER)
    await tried.retire("who", APPROVER)
    await tried.retire("acme", APPROVER)


async def test_there_is_one_file_of_attachments(tried):
    await tried.install(attachments("ostiary-baseline"), ADMIN)

    with pytest.raises(Conflict, match="one file of attachments"):
        await tried.install(attachments("ostiary-baseline", "others"), ADMIN)


async def test_what_is_broken_already_can_be_mended_bit_by_bit(tried):
    await activated(tried, "1.0.0")
    await activated(tried, "1.0.0", id="other")
    await damaged(tried.database, b"nothing")

    await tried.install(candidate("1.1.0"), ADMIN)
    await tried.install(candidate("1.1.0", "other"), ADMIN)

    assert (await states(tried))["1.1.0"] == "active"


async def test_what_was_tried_beside_others_is_tried_again_once_they_change(tried):
    await activated(tried, "1.0.0")
    plain, turns = tried.trial, []

    async def trial(bundles):
        turns.append(sorted(bundles))
        if len(turns) == 1:
            await PolicyRegistry(tried.database).install(candidate(id="other"), ADMIN)
        await plain(bundles)

    tried.trial = trial
    await tried.retire("acme", APPROVER)

    assert turns == [[], ["other"]]
    assert list((await tried.heads())[1]) == ["other"]


async def test_one_id_is_not_two_kinds_of_files(registry):
    await registry.draft(candidate(), EDITOR)

    with pytest.raises(Conflict, match="names a file of kind `Policy`, not `Attachments`"):
        await registry.draft(attachments("acme", "acme", "2.0.0"), EDITOR)


async def test_policies_and_versions_are_listed_in_pages(registry):
    await activated(registry, "1.0.0", "1.1.0")
    for id in ("zebra", "bear"):
        await registry.draft(candidate(id=id), EDITOR)

    first = await policies.listed(registry.database, None, 2)
    rest = await policies.listed(registry.database, "bear", 2)

    assert [(each.policy_id, each.versions) for each in first] == [("acme", 2), ("bear", 1)]
    assert first[0].active.version == first[0].latest.version == "1.1.0"
    assert first[1].active is None
    assert [each.policy_id for each in rest] == ["zebra"]
    assert (await policies.summary(registry.database, "bear")).latest.state == "draft"
    assert await policies.summary(registry.database, "wolf") is None
    newest = await policies.versions(registry.database, "acme", None, 1)
    older = await policies.versions(registry.database, "acme", "1.1.0", 5)
    assert [each.version for each in [*newest, *older]] == ["1.1.0", "1.0.0"]
    assert await policies.versions(registry.database, "acme", "9.9.9", 5) == []


async def test_what_is_not_there_is_not_found(registry):
    for act in (
        registry.move(Step.PROPOSE, "acme", "1.0.0", EDITOR),
        registry.activate("acme", "1.0.0", APPROVER),
        registry.roll_back("acme", APPROVER),
        registry.roll_back("acme", APPROVER, "1.0.0"),
        registry.retire("acme", APPROVER),
    ):
        with pytest.raises(NotFound):
            await act
