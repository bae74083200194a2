import random

import pytest

from policies.format import format_policy
from policies.load import BUILTIN, parse_policy, read_policy
from policies.resolve import PolicyError

UNTIDY = """\
# Whose policy this is.

kind: Policy
apiVersion: ostiary/v1
metadata:
    version: 1.0.0   # semantic
    id: acme
    owner: "ts@acme.example"


categories: {weapons: {rationale: "because", severity: high}}
# What is watched.
rules:
    # Weapons first.
    - category: weapons   # the worst
      id: no-weapons
      message: {user: "no"}
      bands:
      - {actions: [block], gte: 0.9}
      # and below it
      - {actions: [flag],
         gte: 0.5}   # a mark
      when: >-
        user.strikes > 2
          || request.stream
      stages: [input]
      tests:
      - {name: "a test with a name that is long",
         given: {scores: {weapons: 0.9}, stage: input}, expect: block}
# The end.
"""

TIDY = """\
# Whose policy this is.

apiVersion: ostiary/v1
kind: Policy
metadata:
  id: acme
  version: 1.0.0  # semantic
  owner: "ts@acme.example"

categories: {weapons: {severity: high, rationale: "because"}}
# What is watched.
rules:
  # Weapons first.
  - id: no-weapons
    category: weapons  # the worst
    stages: [input]
    when: >-
      user.strikes > 2
        || request.stream
    bands:
      - {gte: 0.9, actions: [block]}
      # and below it
      - gte: 0.5  # a mark
        actions: [flag]
    message: {user: "no"}
    tests:
      - name: "a test with a name that is long"
        given: {stage: input, scores: {weapons: 0.9}}
        expect: block

# The end.
"""


def formatted(text):
    return format_policy(text.encode(), "policy.yaml")


def test_keys_get_their_order_and_comments_stay_where_they_belong():
    assert formatted(UNTIDY) == TIDY


def test_a_tidy_file_stays_as_it_is():
    assert formatted(TIDY) == TIDY


@pytest.mark.parametrize("path", sorted(BUILTIN.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_we_ship_means_the_same_and_is_formatted_once(path):
    file = read_policy(path.stem)

    once = format_policy(path.read_bytes(), path.name)

    assert parse_policy(once.encode()).policy.digest == file.policy.digest
    assert formatted(once) == once
    assert once.count("#") == path.read_text().count("#")


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_of_the_keys_and_the_comments_between_the_digest_stays(seed):
    chance = random.Random(seed)  # noqa: S311 - a test's dice
    blocks = [
        "apiVersion: ostiary/v1\n",
        "kind: Policy\n",
        "metadata: {version: 1.0.0, id: acme, owner: 'a # b'}\n",
        "categories:\n  spam:\n    rationale: |\n      # none\n\n      two\n    severity: low\n",
        'redactors: {pii: {with: "#", types: [email]}}\n',
    ]
    keys = [
        "id: spam", "category: spam", "stages: [input,   output]", "mode: {canary: 5}",
        "bands: [{actions: [flag], gte: 0.5}]", "message: {user: 'it''s # spam'}",
        "on_unavailable: {output: flag, input: flag}",
    ]  # fmt: skip
    chance.shuffle(keys)
    rule = "".join(f"{'  - ' if at == 0 else '    '}{key}\n" for at, key in enumerate(keys))
    blocks.append(f"rules:\n{rule}")
    chance.shuffle(blocks)
    noise = ["", "\n", "# a comment\n", "\n\n# two\n# lines\n\n"]
    text = "".join(chance.choice(noise) + block for block in blocks)
    before = parse_policy(text.encode())

    once = formatted(text)

    assert parse_policy(once.encode()).policy.digest == before.policy.digest
    assert formatted(once) == once
    assert once.count("# ") == text.count("# ")


def test_what_is_no_policy_is_refused_with_its_mistakes():
    with pytest.raises(PolicyError, match=r"policy\.yaml:1:1: unknown key `rule`"):
        formatted("rule: []\n")
