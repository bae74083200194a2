"""A policy as it is kept: what it is, what it says, and the files it came in.

This is the one place that knows how files become the bytes of a bundle, and these a
policy again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from policies.document import Problem
from policies.load import (
    BUILTIN,
    PolicyError,
    PolicyFile,
    builtin_names,
    parse_policy,
    read_policy,
    refuse_failures,
)
from policies.testing import run_score_tests


class SourceFile(NamedTuple):
    """One file of a bundle."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy that loads and passes its own tests.

    Attributes:
        kind: `Policy`, or what else a file may be.
        id: As its file says.
        version: Likewise.
        digest: SHA-256 of what it means, hex: its identity.
        rules: How many it has.
        content: The files it was made from, as canonical JSON.
    """

    kind: str
    id: str
    version: str
    digest: str
    rules: int
    content: bytes


def read_candidate(source: str) -> Candidate:
    """Read a policy file, or a built-in policy by name.

    Raises:
        PolicyError: If it does not load, or a test of its own fails.
    """
    file = read_policy(source)
    path = f"{BUILTIN / source}.yaml" if source in builtin_names() else source
    with open(path, encoding="utf-8") as opened:
        return _checked(file, bundle_of([SourceFile(file.name, opened.read())]))


def parse_candidate(content: bytes) -> Candidate:
    """Return the policy in the bytes of a bundle.

    Raises:
        PolicyError: If they are no bundle, do not load, or a test of its own fails.
    """
    [main, *_] = files_of(content)
    return _checked(parse_policy(main.text.encode(), main.name), content)


def bundle_of(files: Sequence[SourceFile]) -> bytes:
    """Return files as the bytes of a bundle; the first is the policy's own."""
    return rfc8785.dumps({"files": [file._asdict() for file in files]})


def files_of(content: bytes) -> list[SourceFile]:
    """Return the files in a bundle, the policy's own first. Raises `PolicyError`."""
    try:
        stored = _Stored.model_validate_json(content)
    except ValidationError as error:
        raise PolicyError("bundle", [Problem(1, 1, "not a bundle")]) from error
    return [SourceFile(file.name, file.text) for file in stored.files]


def _checked(file: PolicyFile, content: bytes) -> Candidate:
    refuse_failures(file, run_score_tests(file.policy, file.tests))
    policy = file.policy
    rules = len(policy.rules)
    return Candidate("Policy", policy.id, policy.version, policy.digest, rules, content)


class _StoredFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    text: str


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    files: list[_StoredFile] = Field(min_length=1)
