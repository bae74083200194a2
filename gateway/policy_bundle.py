"""A policy as it is handed in: its files, checked, and what they make.

This is the one place that knows how files become the bytes of a bundle, and these a
policy again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from policies.bundle import (
    LOCK_NAME,
    Bundle,
    BundleError,
    SourceFile,
    decode_bundle,
    read_lock,
)
from policies.document import DocumentError, Problem
from policies.load import PolicyError, PolicyFile, parse_bundle, read_policy, refuse_failures
from policies.testing import run_score_tests


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy that loads and passes its own tests.

    Attributes:
        kind: `Policy`, or what else a file may be.
        id: As its file says.
        version: Likewise.
        digest: SHA-256 of what it means, hex: its identity.
        rules: How many it has.
        bundle: The files it was made from, as canonical JSON.
    """

    kind: str
    id: str
    version: str
    digest: str
    rules: int
    bundle: bytes


def read_candidate(source: str) -> Candidate:
    """Read a policy file with what it includes, or a built-in policy by name.

    Raises:
        PolicyError: If it does not load, or a test of its own fails.
    """
    return _checked(read_policy(source))


def parse_candidate(bundle: bytes) -> Candidate:
    """Return the policy in the bytes of a bundle.

    Raises:
        PolicyError: If they are no bundle, do not load, or a test of its own fails.
    """
    try:
        return _checked(parse_bundle(bundle))
    except BundleError as error:
        raise PolicyError("bundle", [Problem(1, 1, str(error))]) from error


def bundle_of(files: Sequence[SourceFile]) -> bytes:
    """Return files as the bytes of a bundle.

    Args:
        files: The policy's own first, then what it includes; `policy.lock` may be anywhere.

    Raises:
        PolicyError: If there is no policy, or the lock is none.
    """
    locks = [file for file in files if file.name == LOCK_NAME]
    policies = [file for file in files if file.name != LOCK_NAME]
    if not policies:
        raise PolicyError("bundle", [Problem(1, 1, "there is no policy file in it")])
    try:
        lock = read_lock(locks[0].content) if locks else {}
    except DocumentError as error:
        raise PolicyError(LOCK_NAME, [error.problem]) from error
    return Bundle(policies[0], tuple(policies[1:]), lock).encoded()


def files_of(bundle: bytes) -> list[SourceFile]:
    """Return the files in a bundle that was stored, the policy's own first."""
    decoded = decode_bundle(bundle)
    return [decoded.main, *decoded.others]


def _checked(file: PolicyFile) -> Candidate:
    refuse_failures(file, run_score_tests(file.policy, file.tests))
    policy = file.policy
    return Candidate(
        "Policy",
        policy.id,
        policy.version,
        policy.digest,
        len(policy.rules),
        _portable(file.bundle).encoded(),
    )


def _portable(bundle: Bundle) -> Bundle:
    """Return a bundle without the folders that its files lay in."""
    main, *others = (
        replace(file, name=Path(file.name).name) for file in (bundle.main, *bundle.others)
    )
    return replace(bundle, main=main, others=tuple(others))
