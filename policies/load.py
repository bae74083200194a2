"""A policy file becomes a `Policy`, or a list of everything that is wrong with it.

Strict on purpose: an unknown key, a category nobody declared, a band that could never act
and an inline test that fails are all errors, reported together as `file:line:column`. A
file that loads means what it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import rfc8785
from pydantic import ValidationError

from policies.compile import compile_policy, compile_tests
from policies.consistency import contradictions
from policies.document import Document, DocumentError, Problem, read_document
from policies.mistakes import MOST, schema_problems
from policies.schema import PolicyDocument
from policies.testing import InlineOutcome, run_score_tests
from policies.types import Policy, PolicyTest

BUILTIN = Path(__file__).with_name("builtin")


class PolicyError(Exception):
    """The policy cannot be used.

    Attributes:
        file: The file's name as it was given.
        problems: Every mistake found, in file order; of a flood only the first.
    """

    def __init__(self, file: str, problems: Iterable[Problem]):
        self.file = file
        found = sorted(set(problems))
        more = len(found) - MOST
        rest = [Problem(found[MOST].line, 1, f"and {more} more mistakes")] if more > 0 else []
        self.problems = (*found[:MOST], *rest)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Return one line per mistake: `policy.yaml:14:7: unknown category ...`."""
        return [f"{self.file}:{at.line}:{at.column}: {at.message}" for at in self.problems]


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy with what stands around it in its file.

    Attributes:
        name: The file's name as it was given.
        policy: What the file means.
        tests: Its inline tests, in file order.
        document: Its values and where they stand.
    """

    name: str
    policy: Policy
    tests: tuple[PolicyTest, ...]
    document: Document


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


def read_policy(source: str | Path) -> PolicyFile:
    """Load a policy without running its tests; otherwise as `load_policy`."""
    path = _locate(str(source))
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "it cannot be read").lower()
        raise PolicyError(
            str(source), [Problem(1, 1, f"cannot read the file: {reason}")]
        ) from error
    return parse_policy(content, path.name if path.parent == BUILTIN else str(source))


def parse_policy(content: bytes, name: str = "policy.yaml") -> PolicyFile:
    """Parse the bytes of a policy file.

    Args:
        content: UTF-8 YAML.
        name: What to call the file in error messages.

    Raises:
        PolicyError: With every mistake in it.
    """
    try:
        document = read_document(content)
    except DocumentError as error:
        raise PolicyError(name, [error.problem]) from error
    try:
        parsed = PolicyDocument.model_validate(document.value)
    except ValidationError as error:
        problems = schema_problems(error, document)
        raise PolicyError(name, [*document.problems, *problems]) from error
    if problems := [*document.problems, *contradictions(parsed, document)]:
        raise PolicyError(name, problems)
    policy = compile_policy(parsed, digest(parsed))
    return PolicyFile(name, policy, compile_tests(parsed, document), document)


def digest(parsed: PolicyDocument) -> str:
    """Return SHA-256 of the policy's RFC 8785 JSON, hex; defaults filled in, no comments."""
    return hashlib.sha256(rfc8785.dumps(parsed.model_dump(mode="json"))).hexdigest()


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
