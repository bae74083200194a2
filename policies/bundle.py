"""A policy with everything it is made of: its file, what it includes, and the lock. Pure.

This is what is stored, signed and sent about: from a bundle alone, without a directory
around it, the same policy comes again. Its bytes are RFC 8785 JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from policies.document import DocumentError, Problem, read_document
from policies.words import RuleId, Version

LOCK_NAME = "policy.lock"
MAX_FILES = 100
MAX_BYTES = 4 * 1024 * 1024
MAX_NAME = 200  # code points of a file's name

_UNSHOWN = re.compile(r"[\x00-\x1f\x7f]")

_LOCK_HEAD = (
    "# Which digest each include was resolved to. Written by `ostiary policy lock`; commit it.\n"
)


@dataclass(frozen=True, slots=True)
class Pin:
    """What an include was resolved to: a version, and the digest of the resolved policy."""

    version: str
    digest: str


Lock = Mapping[str, Mapping[str, Pin]]  # id of the including policy -> id of the included


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file, as it was read."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files that make a policy.

    Attributes:
        main: The policy's own file.
        others: What it includes, in any order.
        lock: Which digests were meant.
    """

    main: SourceFile
    others: tuple[SourceFile, ...] = ()
    lock: Lock = field(default_factory=dict)

    def encoded(self) -> bytes:
        """Return its canonical bytes, by which it is stored; files without their folders."""
        others = sorted(self.others, key=lambda file: (_shown(file), file.content))
        return rfc8785.dumps(
            {
                "files": [
                    {"name": _shown(file), "text": file.content.decode()}
                    for file in (self.main, *others)
                ],
                "lock": {
                    policy: {
                        name: {"version": pin.version, "digest": pin.digest}
                        for name, pin in pins.items()
                    }
                    for policy, pins in self.lock.items()
                },
            }
        )


def _shown(file: SourceFile) -> str:
    name = _UNSHOWN.sub("?", PurePath(file.name).name.encode("utf-8", "replace").decode())
    return name[-MAX_NAME:] or "policy.yaml"


class BundleError(ValueError):
    """The bytes are no bundle; the message says why."""


def decode_bundle(content: bytes) -> Bundle:
    """Return the bundle whose canonical bytes these are, or which holds the same.

    Raises:
        BundleError: If it is too large, no JSON, or anything but a bundle.
    """
    if len(content) > MAX_BYTES:
        raise BundleError(f"a bundle has at most {MAX_BYTES} bytes")
    try:
        parsed = _Stored.model_validate_json(content)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in detail["loc"])
        message = f"not a bundle: `{place[:MAX_NAME]}`: {detail['msg'].lower()}"
        raise BundleError(message) from error
    main, *others = (SourceFile(file.name, file.text.encode()) for file in parsed.files)
    lock = {
        policy: {name: Pin(pin.version, pin.digest) for name, pin in pins.items()}
        for policy, pins in parsed.lock.items()
    }
    return Bundle(main, tuple(others), lock)


def too_large(bundle: Bundle) -> str | None:
    """Return why a bundle could not be read again, or None if it could."""
    if len(bundle.others) >= MAX_FILES:
        return f"a policy is made of at most {MAX_FILES} files"
    if len(bundle.encoded()) > MAX_BYTES:
        return f"a policy with what it includes has at most {MAX_BYTES} bytes"
    return None


def write_lock(lock: Lock) -> str:
    """Return the text of a lock file."""
    lines = [_LOCK_HEAD] if lock else [_LOCK_HEAD, "{}\n"]
    for policy in sorted(lock):
        lines.append(f"{policy}:\n")
        for name, pin in sorted(lock[policy].items()):
            lines.append(f"  {name}: {{version: {pin.version}, digest: {pin.digest}}}\n")
    return "".join(lines)


def read_lock(content: bytes) -> Lock:
    """Read a lock file; one without a pin holds nothing but comments.

    Raises:
        DocumentError: If it is not one, and where.
    """
    if all(not line or line.startswith(b"#") for line in content.splitlines()):
        return {}
    document = read_document(content)
    if document.problems:
        raise DocumentError(document.problems[0])
    try:
        stored = _LockFile.model_validate(document.value)
    except ValidationError as error:
        place = document.place(tuple(error.errors(include_url=False)[0]["loc"]))
        raise DocumentError(Problem(*place, "this is not a policy lock")) from error
    return {
        policy: {name: Pin(pin.version, pin.digest) for name, pin in pins.items()}
        for policy, pins in stored.root.items()
    }


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _StoredPin(_Part):
    version: Version
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _StoredFile(_Part):
    name: Annotated[str, Field(max_length=MAX_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")]
    text: str


class _Stored(_Part):
    files: Annotated[list[_StoredFile], Field(min_length=1, max_length=MAX_FILES)]
    lock: dict[RuleId, dict[RuleId, _StoredPin]] = {}


class _LockFile(RootModel[dict[RuleId, dict[RuleId, _StoredPin]]]):
    """A lock file as it is read."""
