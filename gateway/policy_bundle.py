"""A policy as it is handed in: its files, checked, and what they make.

This is the one place that knows how files become the bytes of a bundle, and these a
policy again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from gateway.policy_files import Loaded, decode, read_files, received
from policies.bundle import (
    LOCK_NAME,
    Bundle,
    BundleError,
    SourceFile,
    decode_bundle,
    read_lock,
    write_lock,
)
from policies.document import DocumentError, Problem
from policies.load import PolicyError, PolicyFile, refuse_ended, refuse_failures
from policies.testing import run_score_tests


@dataclass(frozen=True, slots=True)
class Candidate:
    """A policy that loads and passes its own tests, or attachments.

    Attributes:
        kind: `Policy` or `Attachments`.
        id: As its file says.
        version: Likewise.
        digest: SHA-256 of what it means, hex: its identity.
        rules: How many it has; attachments have none.
        bundle: The files it was made from, as canonical JSON.
        loaded: What it was read as.
    """

    kind: str
    id: str
    version: str
    digest: str
    rules: int
    bundle: bytes
    loaded: Loaded = field(compare=False, repr=False)


def read_candidate(source: str) -> Candidate:
    """Read a policy file with what it includes, attachments, or a built-in policy by name.

    Raises:
        PolicyError: If it does not load, or a test of its own fails.
    """
    if Path(source).is_dir():
        raise PolicyError(source, [Problem(1, 1, "this is a directory; name one file of it")])
    [loaded] = read_files(source)
    return _checked(loaded)


def parse_candidate(bundle: bytes) -> Candidate:
    """Return the policy in the bytes of a bundle.

    Raises:
        PolicyError: If they are no bundle, do not load, or a test of its own fails.
    """
    try:
        return _checked(decode(bundle))
    except BundleError as error:
        raise PolicyError("bundle", [Problem(1, 1, str(error))]) from error


def candidate_of(files: Sequence[SourceFile]) -> Candidate:
    """Return what files make that somebody sent.

    Args:
        files: The policy's own first, then what it includes; `policy.lock` may be anywhere.
            What is locked to a policy that we ship need not be among them.

    Raises:
        PolicyError: If there is no policy, it does not load, or a test of its own fails.
    """
    locks = [file for file in files if file.name == LOCK_NAME]
    policies = [file for file in files if file.name != LOCK_NAME]
    if not policies:
        raise PolicyError("bundle", [Problem(1, 1, "there is no policy file in it")])
    try:
        lock = read_lock(locks[0].content) if locks else {}
    except DocumentError as error:
        raise PolicyError(LOCK_NAME, [error.problem]) from error
    return _checked(received(policies[0], policies[1:], lock))


def files_of(bundle: bytes) -> list[SourceFile]:
    """Return the files in a bundle that was stored, as `candidate_of` takes them."""
    decoded = decode_bundle(bundle)
    files = [decoded.main, *decoded.others]
    if decoded.lock:
        files.append(SourceFile(LOCK_NAME, write_lock(decoded.lock).encode()))
    return files


def refuse_over(candidate: Candidate, now: datetime) -> None:
    """Raise `PolicyError` if an exception in it has ended already."""
    if isinstance(candidate.loaded, PolicyFile):
        refuse_ended(candidate.loaded, now)


def _checked(loaded: Loaded) -> Candidate:
    content = _portable(loaded.bundle).encoded()
    if not isinstance(loaded, PolicyFile):
        said = loaded.attachments
        return Candidate("Attachments", said.id, said.version, said.digest, 0, content, loaded)
    refuse_failures(loaded, run_score_tests(loaded.policy, loaded.tests))
    policy = loaded.policy
    rules = len(policy.rules)
    return Candidate("Policy", policy.id, policy.version, policy.digest, rules, content, loaded)


def _portable(bundle: Bundle) -> Bundle:
    """Return a bundle without the folders that its files lay in."""
    main, *others = (
        replace(file, name=Path(file.name).name) for file in (bundle.main, *bundle.others)
    )
    return replace(bundle, main=main, others=tuple(others))
