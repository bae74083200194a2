from datetime import UTC, datetime

import pytest

from classifiers.types import Assessment, Verdict
from gateway.errors import AuditUnavailable, StoreUnavailable
from gateway.policy_files import LastGood
from gateway.policy_source import PolicySource
from policies.bundle import Bundle, SourceFile
from policies.document import Problem
from policies.load import PolicyError

POLICY = """
apiVersion: ostiary/v1
kind: Policy
metadata: {id: acme, version: VERSION, owner: a@acme.example}
categories:
  bomb: {severity: high, rationale: "no bombs", clause: "1"}
rules:
  - id: no-bombs
    category: bomb
    stages: [input]
    bands: [{gte: 0.5, actions: [block]}]
    tests:
      - {name: a bomb, given: {stage: input, text: "TEXT"}, expect: block}
      - {name: no bomb, given: {stage: input, scores: {bomb: 0.4}}, expect: allow}
"""


async def judge(policy, stage, passage):
    """Find the word; everybody was asked."""
    found = (Verdict("word@1", "bomb", float("bomb" in passage.text)),)
    return Assessment((passage,), (found,), (), {"bomb": frozenset({"word@1"})})


class House:
    """A policy file with its source and what the log was told."""

    def __init__(self, path):
        self.path, self.noted, self.refusals, self.log_away = path, [], [], False
        self.gone = []
        self.write("1.0.0")
        self.source = PolicySource(str(path), judge, self)

    def write(self, version, text="a bomb"):
        document = POLICY.replace("VERSION", version).replace("TEXT", text)
        self.path.write_text(document + "#" * len(self.noted + self.refusals))

    async def activated(self, policy, previous, source):
        if self.log_away:
            raise AuditUnavailable("the decision log cannot be written")
        self.noted.append((policy.version, previous))

    async def deactivated(self, policy):
        self.gone.append(policy.id)

    async def rejected(self, name, reason):
        self.refusals.append(reason)


@pytest.fixture
async def house(tmp_path):
    opened = House(tmp_path / "acme.yaml")
    await opened.source.start()
    return opened


async def test_the_first_policy_is_recorded_before_it_is_in_force(house):
    assert house.noted == [("1.0.0", None)]


async def test_a_changed_file_comes_into_force_and_names_the_one_before(house):
    before = house.source.current.digest
    house.write("1.0.1")

    await house.source.check()

    assert house.source.current.version == "1.0.1"
    assert house.noted[-1] == ("1.0.1", before)


async def test_an_unchanged_file_is_left_alone(house):
    await house.source.check()

    assert len(house.noted) == 1


async def test_a_broken_file_leaves_the_last_good_policy_and_says_where(house):
    house.path.write_text("kind: [")

    await house.source.check()

    assert house.source.current.version == "1.0.0"
    assert "acme.yaml:1:" in house.source.refused
    assert house.refusals == [house.source.refused]


async def test_a_policy_that_fails_its_own_text_test_is_never_in_force(house):
    house.write("1.0.1", text="a flower")

    await house.source.check()

    assert house.source.current.version == "1.0.0"
    assert "expects `block`" in house.source.refused


async def test_a_mended_file_clears_the_refusal(house):
    house.path.write_text("kind: [")
    await house.source.check()
    house.write("1.0.2")

    await house.source.check()

    assert (house.source.refused, house.source.current.version) == (None, "1.0.2")


async def test_a_policy_that_cannot_be_recorded_waits_until_it_can(house):
    house.log_away = True
    house.write("1.0.1")
    with pytest.raises(AuditUnavailable):
        await house.source.check()
    assert house.source.current.version == "1.0.0"

    house.log_away = False
    await house.source.check()

    assert house.source.current.version == "1.0.1"


async def test_there_is_no_start_without_a_good_policy(tmp_path):
    opened = House(tmp_path / "acme.yaml")
    opened.write("1.0.0", text="a flower")

    with pytest.raises(PolicyError):
        await opened.source.start()

    assert opened.noted == []


class Shelf:
    """A registry: bundles by id, and a revision."""

    def __init__(self):
        self.number, self.bundles, self.away, self.signed = 0, {}, False, True

    def put(self, text, name="acme"):
        self.number += 1
        self.bundles[name] = Bundle(SourceFile(f"{name}.yaml", text.encode())).encoded()

    async def revision(self):
        if self.away:
            raise StoreUnavailable("the database cannot be used")
        return self.number

    async def heads(self):
        return await self.revision(), dict(self.bundles)

    async def vouch(self, loaded):
        if not self.signed:
            raise PolicyError("acme.yaml", [Problem(1, 1, "not signed")])


def version(number, name="acme"):
    return (
        POLICY.replace("VERSION", number)
        .replace("TEXT", "a bomb")
        .replace("{id: acme,", f"{{id: {name},")
    )


@pytest.fixture
async def shelf():
    return Shelf()


@pytest.fixture
async def stocked(tmp_path, shelf):
    opened = House(tmp_path / "acme.yaml")
    opened.source = PolicySource(str(opened.path), judge, opened, shelf)
    return opened


async def test_an_active_version_stands_in_for_the_file_by_the_same_id(stocked, shelf):
    shelf.put(version("2.0.0"))

    await stocked.source.start()

    assert stocked.source.current.version == "2.0.0"
    assert stocked.noted == [("2.0.0", None)]


async def test_a_version_that_becomes_active_comes_into_force_beside_the_file(stocked, shelf):
    await stocked.source.start()
    shelf.put(version("1.0.0", "other"), "other")

    await stocked.source.check()

    assert set(stocked.source.book.policies) == {"acme", "other"}
    assert stocked.source.current.id == "acme+other"


async def test_a_version_that_cannot_be_used_leaves_what_is_in_force(stocked, shelf):
    await stocked.source.start()
    shelf.put(version("2.0.0").replace("gte: 0.5", "gte: 1.5"))

    await stocked.source.check()
    await stocked.source.check()

    assert stocked.source.current.version == "1.0.0"
    assert len(stocked.refusals) == 1
    assert "`gte`" in stocked.source.refused


async def test_what_is_active_and_not_signed_leaves_what_is_in_force(stocked, shelf):
    await stocked.source.start()
    shelf.signed = False
    shelf.put(version("2.0.0"))

    await stocked.source.check()

    assert stocked.source.current.version == "1.0.0"
    assert stocked.source.refused == "acme.yaml:1:1: not signed"


async def test_there_is_no_start_with_what_is_active_and_not_signed(stocked, shelf):
    shelf.signed = False
    shelf.put(version("2.0.0"))

    with pytest.raises(PolicyError, match="not signed"):
        await stocked.source.start()


async def test_there_is_no_start_without_what_is_active_in_the_registry(stocked, shelf):
    shelf.put(version("2.0.0").replace("gte: 0.5", "gte: 1.5"))

    with pytest.raises(PolicyError):
        await stocked.source.start()


async def test_a_version_that_is_withdrawn_gives_way_to_the_file(stocked, shelf):
    shelf.put(version("2.0.0"))
    await stocked.source.start()
    shelf.bundles.clear()
    shelf.number += 1

    await stocked.source.check()

    assert stocked.source.current.version == "1.0.0"


async def test_a_database_that_is_away_changes_nothing(stocked, shelf):
    await stocked.source.start()
    shelf.away = True

    with pytest.raises(StoreUnavailable):
        await stocked.source.check()

    assert stocked.source.current.version == "1.0.0"


async def test_a_gateway_that_starts_over_a_broken_file_serves_under_the_last_good_one(tmp_path):
    first = House(tmp_path / "acme.yaml")
    kept = LastGood(tmp_path / "home", str(first.path))
    first.source = PolicySource(str(first.path), judge, first, last_good=kept)
    await first.source.start()
    first.path.write_text("kind: [")
    again = PolicySource(str(first.path), judge, first, last_good=kept)

    await again.start()

    assert again.current.digest == first.source.current.digest
    assert "acme.yaml:1:" in again.refused


async def test_the_last_good_copy_of_another_file_is_not_used(tmp_path):
    first = House(tmp_path / "acme.yaml")
    first.source = PolicySource(
        str(first.path), judge, first, last_good=LastGood(tmp_path / "home", str(first.path))
    )
    await first.source.start()
    other = tmp_path / "other.yaml"
    other.write_text("kind: [")
    opened = PolicySource(
        str(other), judge, first, last_good=LastGood(tmp_path / "home", str(other))
    )

    with pytest.raises(PolicyError):
        await opened.start()


async def test_a_policy_waits_for_its_time_and_then_replaces_the_one_before(tmp_path):
    clock = [datetime(2026, 11, 30, tzinfo=UTC)]
    house = House(tmp_path / "acme.yaml")
    house.source = PolicySource(str(house.path), judge, house, now=lambda: clock[0])
    await house.source.start()
    house.path.write_text(
        version("1.1.0").replace("{id: acme,", "{id: acme, effective: {from: 2026-12-01},")
    )

    await house.source.check()
    assert house.source.current.version == "1.0.0"

    clock[0] = datetime(2026, 12, 1, tzinfo=UTC)
    await house.source.check()
    assert house.source.current.version == "1.1.0"


async def test_a_policy_that_should_have_been_replaced_stays_and_is_named(tmp_path):
    house = House(tmp_path / "acme.yaml")
    house.path.write_text(
        version("1.0.0").replace("{id: acme,", "{id: acme, effective: {until: 2026-01-01},")
    )
    house.source = PolicySource(str(house.path), judge, house)

    await house.source.start()

    assert house.source.expired == ("acme",)
    assert house.source.current.version == "1.0.0"


ATTACHMENTS = """
apiVersion: ostiary/v1
kind: Attachments
metadata: {id: who, version: 1.0.0, owner: a@acme.example}
projects: {school: {policies: [kids]}}
"""


@pytest.fixture
def folder(tmp_path):
    house = House(tmp_path / "folder.txt")
    house.folder = tmp_path / "policies"
    house.folder.mkdir()
    (house.folder / "acme.yaml").write_text(version("1.0.0"))
    (house.folder / "kids.yaml").write_text(version("1.0.0", "kids"))
    (house.folder / "who.yaml").write_text(ATTACHMENTS)
    house.source = PolicySource(str(house.folder), judge, house)
    return house


async def test_of_a_directory_every_file_is_in_force_as_its_attachments_say(folder):
    await folder.source.start()

    assert folder.source.current.id == "acme"
    assert folder.source.book.governing("school", "k", "m").id == "acme+kids"


async def test_a_file_that_is_taken_out_of_the_directory_is_out_of_force_and_noted(folder):
    await folder.source.start()
    (folder.folder / "who.yaml").unlink()
    (folder.folder / "kids.yaml").unlink()

    await folder.source.check()

    assert set(folder.source.book.policies) == {"acme"}
    assert folder.gone == ["kids"]


async def test_attachments_that_name_what_is_not_there_are_refused(folder):
    await folder.source.start()
    (folder.folder / "kids.yaml").unlink()

    await folder.source.check()

    assert set(folder.source.book.policies) == {"acme", "kids"}
    assert folder.source.refused == "`kids` is attached and not in force"


async def test_two_files_cannot_be_the_same_policy(folder):
    (folder.folder / "twin.yaml").write_text(version("1.0.1"))

    with pytest.raises(PolicyError, match="`acme` is also the id of"):
        await folder.source.start()


ENDED = """exceptions:
  - {id: EX-9, rule: no-bombs, action: flag, from: 2025-01-01, until: 2025-02-01,
     reason: "long over", approved_by: [alice, bob]}
"""


async def test_a_file_with_an_exception_that_has_ended_is_not_taken(house):
    house.path.write_text(version("1.1.0") + ENDED)

    await house.source.check()

    assert house.source.current.version == "1.0.0"
    assert "exception `EX-9` ended on 2025-02-01" in house.source.refused


async def test_a_version_from_the_registry_outlasts_its_exceptions_on_every_replica(stocked, shelf):
    await stocked.source.start()
    shelf.put(version("1.1.0") + ENDED)

    await stocked.source.check()

    assert (stocked.source.refused, stocked.source.current.version) == (None, "1.1.0")


async def test_a_gateway_starts_over_an_exception_that_has_ended_meanwhile(house, tmp_path):
    house.path.write_text(version("1.1.0") + ENDED)
    again = PolicySource(str(house.path), judge, house)

    await again.start()

    assert again.current.version == "1.1.0"
