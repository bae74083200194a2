"""From the bytes of a policy file, and of those it includes, to a `Policy`. Pure.

An include is looked for in a `Library` and has to be the one that the lock names, to the
digest: what is in force does not change because a file that it includes did.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from policies.bundle import LOCK_NAME, Bundle, Lock, Pin, SourceFile, too_large
from policies.compile import compile_policy, compile_tests, digest
from policies.consistency import contradictions
from policies.document import Document, DocumentError, Problem, read_document, read_section
from policies.includes import clashes, in_range, join
from policies.mistakes import MOST, schema_problems, suggestion
from policies.schema import IncludeEntry, PolicyDocument
from policies.testing import PolicyTest
from policies.types import Policy

Model = TypeVar("Model", bound=BaseModel)

MAX_DEPTH = 20  # policies that include one another in a chain

_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){2}")


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
        bundle: What it was made of; empty of files it does not need.
    """

    name: str
    policy: Policy
    tests: tuple[PolicyTest, ...]
    document: Document
    bundle: Bundle


@dataclass(frozen=True)
class Library:
    """Where included policies are looked for.

    Attributes:
        files: Whatever may be included.
        lock: Which digest each include was resolved to.
        pinned: Whether an include that the lock does not name is an error.
    """

    files: tuple[SourceFile, ...] = ()
    lock: Lock = field(default_factory=dict)
    pinned: bool = True

    @cached_property
    def by_id(self) -> Mapping[str, Sequence[tuple[str, SourceFile]]]:
        """The files by the id that they say they have, each with the version they say."""
        found: dict[str, list[tuple[str, SourceFile]]] = {}
        for file in self.files:
            name, version = identity(file)
            found.setdefault(name, []).append((version, file))
        return found


# What became of each file; one that is included twice is loaded once.
Seen = dict[SourceFile, "PolicyFile | PolicyError"]


def resolve(
    file: SourceFile, library: Library, above: tuple[str, ...] = (), seen: Seen | None = None
) -> PolicyFile:
    """Load a file and, first, what it includes.

    Args:
        file: The policy's own file.
        library: Where its includes are.
        above: The ids of those that include it.
        seen: What was loaded before from the same library.

    Raises:
        PolicyError: With every mistake in it.
    """
    seen = {} if seen is None else seen
    parsed, document = parsed_as(PolicyDocument, file)
    taken: list[PolicyFile] = []
    problems = list(document.problems)
    for number, entry in enumerate(parsed.includes):
        try:
            taken.append(_included(entry, (*above, parsed.metadata.id), library, seen))
        except _NotIncluded as error:
            problems.append(Problem(*document.place(("includes", number)), str(error)))
    included = [each.policy for each in taken]
    problems += contradictions(parsed, document, included)
    if problems:
        raise PolicyError(file.name, problems)
    pins = {each.id: Pin(each.version, each.digest) for each in included}
    own = compile_policy(parsed, digest(parsed, pins))
    if clashing := list(clashes(own, included, parsed, document)):
        raise PolicyError(file.name, clashing)
    bundle = _bundle(file, own.id, pins, taken)
    if taken and (size := too_large(bundle)):
        raise PolicyError(file.name, [Problem(*document.place(("includes",)), size)])
    return PolicyFile(
        file.name,
        join(own, included) if included else own,
        compile_tests(parsed, document),
        document,
        bundle,
    )


def parsed_as(model: type[Model], file: SourceFile) -> tuple[Model, Document]:
    """Return a file as `model` reads it, and where its values stand.

    Raises:
        PolicyError: If it is not YAML, or not of this shape.
    """
    try:
        document = read_document(file.content)
    except DocumentError as error:
        raise PolicyError(file.name, [error.problem]) from error
    try:
        return model.model_validate(document.value), document
    except ValidationError as error:
        problems = schema_problems(error, document, model)
        raise PolicyError(file.name, [*document.problems, *problems]) from error


class _NotIncluded(Exception):
    """An include cannot be resolved; the message says why."""


def _included(
    entry: IncludeEntry, above: tuple[str, ...], library: Library, seen: Seen
) -> PolicyFile:
    includer = above[-1]
    if entry.id in above:
        raise _NotIncluded(f"`{entry.id}` includes itself, by way of `{includer}`")
    if len(above) > MAX_DEPTH:
        raise _NotIncluded(f"includes go deeper than {MAX_DEPTH} levels")
    pin = library.lock.get(includer, {}).get(entry.id)
    if pin is None and library.pinned:
        raise _NotIncluded(
            f"{LOCK_NAME} does not say which `{entry.id}`; run `ostiary policy lock`"
        )
    newest = _newest(entry, library, pin)
    try:
        loaded = _loaded(newest, library, above, seen)
    except PolicyError as error:
        raise _NotIncluded(f"`{entry.id}` cannot be used: {error.lines()[0]}") from error
    if loaded.policy.id != entry.id:
        raise _NotIncluded(f"`{newest.name}` holds `{loaded.policy.id}`, not `{entry.id}`")
    if library.pinned and pin is not None and loaded.policy.digest != pin.digest:
        raise _NotIncluded(
            f"`{entry.id}` {pin.version} is not the one that {LOCK_NAME} names: its digest is "
            f"{loaded.policy.digest[:12]}, not {pin.digest[:12]}"
        )
    return loaded


def _loaded(file: SourceFile, library: Library, above: tuple[str, ...], seen: Seen) -> PolicyFile:
    """Load a file once, or policies that include each other's includes would take for ever.

    A failure is kept too, even if it came of the way here: the policy on top fails with it.
    """
    if file not in seen:
        try:
            seen[file] = resolve(file, library, above, seen)
        except PolicyError as error:
            seen[file] = error
    found = seen[file]
    if isinstance(found, PolicyError):
        raise found
    return found


def _newest(entry: IncludeEntry, library: Library, pin: Pin | None) -> SourceFile:
    """Return the file that an include means, by what the files say of themselves."""
    have = library.by_id.get(entry.id, ())
    if not have:
        raise _NotIncluded(f"unknown policy `{entry.id}`{suggestion(entry.id, library.by_id)}")
    fitting = [
        (version, file)
        for version, file in have
        if in_range(version, entry.version)
        and (pin is None or not library.pinned or version == pin.version)
    ]
    if not fitting:
        there = ", ".join(sorted(version for version, _ in have))
        if pin is None or not library.pinned:
            raise _NotIncluded(f"no `{entry.id}` {entry.version}; there is {there}")
        raise _NotIncluded(
            f"{LOCK_NAME} names `{entry.id}` {pin.version} and there is {there}; "
            "run `ostiary policy lock` to take another"
        )
    return max(fitting, key=lambda pair: [int(part) for part in pair[0].split(".")])[1]


def _bundle(
    file: SourceFile, policy: str, pins: Mapping[str, Pin], taken: Sequence[PolicyFile]
) -> Bundle:
    others = dict.fromkeys(each.bundle.main for each in taken)
    lock = {policy: dict(pins)} if pins else {}
    for each in taken:
        others.update(dict.fromkeys(each.bundle.others))
        lock.update({name: dict(locked) for name, locked in each.bundle.lock.items()})
    return Bundle(file, tuple(others), lock)


def identity(file: SourceFile) -> tuple[str, str]:
    """Return the id and version that a file says it has; empty and 0.0.0 where it says none."""
    try:
        metadata = read_section(file.content, "metadata")
    except DocumentError:
        metadata = None
    said = metadata if isinstance(metadata, dict) else {}
    version = str(said.get("version", ""))
    return str(said.get("id", "")), version if _VERSION.fullmatch(version) else "0.0.0"
