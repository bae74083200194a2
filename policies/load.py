"""A policy file becomes a `Policy`, or a list of everything that is wrong with it.

Strict on purpose: an unknown key, a category nobody declared, a band that could never act
and an inline test that fails are all errors, reported together as `file:line:column`. A
file that loads means what it says.

What it includes is looked for beside it and among the policies we ship, and has to be the
one that `policy.lock` names, to the digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from policies.bundle import LOCK_NAME, Lock, SourceFile, decode_bundle, read_lock
from policies.compile import instant
from policies.document import DocumentError, Problem
from policies.resolve import Library, resolve
from policies.resolve import (
    PolicyError as PolicyError,
)  # callers load, and catch what loading raises
from policies.resolve import PolicyFile as PolicyFile
from policies.testing import InlineOutcome, run_score_tests
from policies.types import Policy

BUILTIN = Path(__file__).with_name("builtin")


def load_policy(source: str | Path) -> Policy:
    """Load a policy whose own tests pass.

    Args:
        source: A path, or the name of a policy in `policies/builtin`. A bare word such
            as `baseline` is a name; anything with a suffix or a separator is a path.

    Returns:
        The policy. Tests that give a text need classifiers and are not run here; see
        `policies.testing.run_text_tests`.

    Raises:
        PolicyError: If the file cannot be read, says something that is not policy, or
            fails a test of its own.
    """
    file = read_policy(source)
    refuse_failures(file, run_score_tests(file.policy, file.tests))
    return file.policy


def refuse_failures(file: PolicyFile, outcomes: Iterable[InlineOutcome]) -> None:
    """Raise `PolicyError` if a test of `file` failed, with every test that did.

    What failed for want of a judge's answer is not held against the policy: a judge that is
    down must not keep a gateway from starting, or a policy from being replaced.
    """
    failed = [each for each in outcomes if not each.passed and not each.inconclusive]
    if problems := [failure(outcome) for outcome in failed]:
        raise PolicyError(file.name, problems)


def refuse_ended(file: PolicyFile, now: datetime) -> None:
    """Raise `PolicyError` if an exception of the file's own has ended already.

    It would be as if it were not there. Whoever brings such a file in has either not seen
    that or hopes that it still does something.
    """
    ended = [
        Problem(
            *file.document.place(("exceptions", number)),
            f"exception `{entry['id']}` ended on {entry['until']}; take it out",
        )
        for number, entry in enumerate(file.document.value.get("exceptions", ()))
        if instant(entry["until"]) <= now
    ]
    if ended:
        raise PolicyError(file.name, ended)


def read_policy(source: str | Path, *, pinned: bool = True) -> PolicyFile:
    """Load a policy without running its tests; otherwise as `load_policy`.

    Args:
        source: As there.
        pinned: Whether the lock has to name what is included. Without, the newest version
            in range is taken, which is for writing the lock.
    """
    path = _locate(str(source))
    name = path.name if path.parent == BUILTIN else str(source)
    content = _content(path, str(source))
    return resolve(SourceFile(name, content), _library(path, content, pinned=pinned))


def parse_policy(
    content: bytes, name: str = "policy.yaml", library: Library | None = None
) -> PolicyFile:
    """Parse the bytes of a policy file.

    Args:
        content: UTF-8 YAML.
        name: What to call the file in error messages.
        library: Where its includes are; None stands for the policies we ship.

    Raises:
        PolicyError: With every mistake in it.
    """
    if library is None:
        library = Library(_shipped(), _lock_in(BUILTIN))
    return resolve(SourceFile(name, content), library)


def parse_files(main: SourceFile, others: Iterable[SourceFile], lock: Lock) -> PolicyFile:
    """Load a policy that came with what it includes; what we ship need not have come.

    Args:
        main: Its own file.
        others: What it includes.
        lock: Which digests are meant.

    Raises:
        PolicyError: As `parse_policy`.
    """
    return resolve(main, Library((*others, *_shipped()), {**_lock_in(BUILTIN), **lock}))


def parse_bundle(content: bytes) -> PolicyFile:
    """Load a policy from the bytes of its bundle, and from nothing else.

    Raises:
        PolicyError: As `parse_policy`.
        BundleError: If it is no bundle.
    """
    bundle = decode_bundle(content)
    return resolve(bundle.main, Library(bundle.others, bundle.lock))


def failure(outcome: InlineOutcome) -> Problem:
    """Return a failed test as a mistake in the file."""
    test = outcome.test
    named = ", ".join(f"`{rule}`" for rule in outcome.decision.determining_rules) or "no rule"
    doubt = "; a judge gave no answer" if outcome.inconclusive else ""
    return Problem(
        test.line,
        test.column,
        f"test `{test.name}` of rule `{test.rule}` expects `{test.expect.name.lower()}` "
        f"and got `{outcome.action.name.lower()}` from {named}{doubt}",
    )


def builtin_names() -> Sequence[str]:
    """Return the names of the policies we ship."""
    return sorted(path.stem for path in BUILTIN.glob("*.yaml"))


def _locate(source: str) -> Path:
    if source in builtin_names():
        return BUILTIN / f"{source}.yaml"
    return Path(source)


def _content(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        problem = Problem(1, 1, f"cannot read the file: {reason}")
        raise PolicyError(name, [problem]) from error


def _library(path: Path, content: bytes, *, pinned: bool) -> Library:
    """Return what stands beside a file, if it asks for any of it."""
    if b"includes" not in content:
        return Library(pinned=pinned)
    beside = [] if path.parent == BUILTIN else sorted(path.parent.glob("*.y*ml"))
    files = [
        SourceFile(str(other), _content(other, str(other)))
        for other in beside
        if other != path and other.is_file()
    ]
    lock = {**_lock_in(BUILTIN), **_lock_in(path.parent)}
    return Library((*files, *_shipped()), lock, pinned)


def _shipped() -> tuple[SourceFile, ...]:
    return tuple(
        SourceFile(path.name, path.read_bytes()) for path in sorted(BUILTIN.glob("*.yaml"))
    )


def _lock_in(folder: Path) -> Lock:
    path = folder / LOCK_NAME
    if not path.is_file():
        return {}
    try:
        return read_lock(_content(path, str(path)))
    except DocumentError as error:
        raise PolicyError(str(path), [error.problem]) from error
