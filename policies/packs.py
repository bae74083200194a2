"""A judge's written policy, with labelled examples, as a policy file. Pure.

What comes out is a file that a person goes on writing: one category, one rule that asks the
judge, and tests: of the rule by scores, and of the judge by the first examples of each label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.labelled import Example

_HEAD = """\
# {title}
#
# Made of a judge pack by `ostiary policy import-pack`. The judge `{judge}` reads {written} and
# is asked about everything at the stages below; name a classifier before it, and
# `escalate_at`, to have it asked in doubt only. Measure it on your own texts before it blocks.

apiVersion: ostiary/v1
kind: Policy
metadata:
  id: {name}
  version: 1.0.0
  owner: {owner}

defaults:
  on_unavailable: block
  judge_deadline_ms: 10000

categories:
  {category}: {{severity: medium, rationale: {title_quoted}}}

rules:
  - id: {name}
    category: {category}
    classifiers: [{judge}]
    stages: [{stages}]
    bands:
      - {{gte: {threshold}, actions: [block]}}
    message: {{user: "I can't help with that.", developer: "{category} reached {threshold}"}}
    tests:
"""


@dataclass(frozen=True, slots=True)
class Pack:
    """What a policy file is to be made of.

    Attributes:
        name: Of the policy and of its rule: lower-case letters, digits and hyphens.
        title: What the written policy is called.
        category: What the judge decides.
        examples: The labelled set.
        judge: What rules call the judge.
        owner: Whose policy it is.
        threshold: From which score on the rule blocks.
        tried: How many examples of each label become tests.
    """

    name: str
    title: str
    category: str
    examples: Sequence[Example]
    judge: str = "safeguard"
    owner: str = "trust-and-safety@example.org"
    threshold: float = 0.5
    tried: int = 2


def pack_policy(pack: Pack) -> str:
    """Return the YAML of the policy."""
    stages = list(dict.fromkeys(example.stage.value for example in pack.examples))
    head = _HEAD.format(
        title=_one_line(pack.title),
        title_quoted=quoted(pack.title),
        name=pack.name,
        judge=pack.judge,
        written=f"{pack.name}.md",
        owner=quoted(pack.owner),
        category=pack.category,
        stages=", ".join(stages),
        threshold=f"{pack.threshold:g}",
    )
    return head + "".join(f"      - {line}\n" for line in _tests(pack, stages[0]))


def _tests(pack: Pack, stage: str) -> Iterator[str]:
    below = round(pack.threshold - 0.01, 4)
    for name, score, expect in (
        ("at the threshold", pack.threshold, "block"),
        ("just below it", below, "allow"),
    ):
        scores = f"scores: {{{pack.category}: {score:g}}}"
        yield f"{{name: {name}, given: {{stage: {stage}, {scores}}}, expect: {expect}}}"
    missing = f"{{stage: {stage}, missing: [{pack.category}]}}"
    yield f"{{name: the judge is down, given: {missing}, expect: block}}"
    for label, expect in ((True, "block"), (False, "allow")):
        tried = [example for example in pack.examples if example.label is label][: pack.tried]
        for example in tried:
            given = f"{{stage: {example.stage.value}, text: {quoted(example.text)}}}"
            name = quoted(f"example {example.id}"[:200])
            yield f"{{name: {name}, given: {given}, expect: {expect}}}"


def quoted(text: str) -> str:
    """Return a text as a YAML scalar in double quotes, whatever is in it."""
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08X}" for each in plain)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:100]
