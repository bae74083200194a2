import pytest

from classifiers.types import Assessment, Verdict
from gateway.errors import AuditUnavailable
from gateway.policy_source import PolicySource
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
        self.path, self.activated, self.rejected, self.log_away = path, [], [], False
        self.write("1.0.0")
        self.source = PolicySource(str(path), judge, activated=self.note, rejected=self.refuse)

    def write(self, version, text="a bomb"):
        document = POLICY.replace("VERSION", version).replace("TEXT", text)
        self.path.write_text(document + "#" * len(self.activated + self.rejected))

    async def note(self, policy, previous):
        if self.log_away:
            raise AuditUnavailable("the decision log cannot be written")
        self.activated.append((policy.version, previous))

    async def refuse(self, name, reason):
        self.rejected.append(reason)


@pytest.fixture
async def house(tmp_path):
    opened = House(tmp_path / "acme.yaml")
    await opened.source.start()
    return opened


async def test_the_first_policy_is_recorded_before_it_is_in_force(house):
    assert house.activated == [("1.0.0", None)]


async def test_a_changed_file_comes_into_force_and_names_the_one_before(house):
    before = house.source.current.digest
    house.write("1.0.1")

    await house.source.check()

    assert house.source.current.version == "1.0.1"
    assert house.activated[-1] == ("1.0.1", before)


async def test_an_unchanged_file_is_left_alone(house):
    await house.source.check()

    assert len(house.activated) == 1


async def test_a_broken_file_leaves_the_last_good_policy_and_says_where(house):
    house.path.write_text("kind: [")

    await house.source.check()

    assert house.source.current.version == "1.0.0"
    assert "acme.yaml:1:" in house.source.refused
    assert house.rejected == [house.source.refused]


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

    assert opened.activated == []
