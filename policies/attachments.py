"""Which policies govern whom: a file of its own, `kind: Attachments`.

Every policy in force governs everybody, unless this file mentions it; then it governs only
whom the file says. All that govern a request are united and the strictest wins, so to
attach one more can only tighten. `offers` are policies that a caller may choose on top.

A project's profile says what its requests may not say of themselves: its tier, and which
access programs the operator granted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import rfc8785
from pydantic import Field

from policies.bundle import Bundle, SourceFile
from policies.circumstances import AgeGroup
from policies.document import Document, Path, Problem
from policies.resolve import PolicyError, parsed_as
from policies.schema import Metadata
from policies.words import AgeGroupName, Part, Pattern, RuleId

PolicyIds = Annotated[list[RuleId], Field(max_length=50)]
Access = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}(:[a-z0-9_]{1,32})?$")]
ProjectName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


@dataclass(frozen=True, slots=True)
class Attachment:
    """Policies that govern somebody, and policies that they may choose on top."""

    policies: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """What an operator says of a project.

    Attributes:
        tier: Its plan.
        age_group: Of all its end users. A request may say it where this is UNKNOWN.
        access: Access programs that it was granted.
        retain: Whether what its requests say may be kept.
    """

    tier: str = "default"
    age_group: AgeGroup = AgeGroup.UNKNOWN
    access: frozenset[str] = frozenset()
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Attachments:
    """Who is governed by what.

    Attributes:
        id: `metadata.id` of the file.
        version: `metadata.version`, semantic.
        digest: SHA-256 of its RFC 8785 JSON, hex.
        everyone: For all requests.
        projects: By project.
        keys: By the public id of an API key.
        models: By model.
        profiles: By project.
    """

    id: str = "none"
    version: str = "0.0.0"
    digest: str = ""
    everyone: Attachment = Attachment()
    projects: Mapping[str, Attachment] = field(default_factory=dict)
    keys: Mapping[str, Attachment] = field(default_factory=dict)
    models: Mapping[str, Attachment] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)

    def of(self, project: str, key: str, model: str) -> tuple[Attachment, ...]:
        """Return what is attached to a request, the most general first."""
        own = (self.projects.get(project), self.keys.get(key), self.models.get(model))
        return (self.everyone, *(each for each in own if each is not None))

    def all(self) -> Iterator[Attachment]:
        """Yield everything that is attached to anybody."""
        yield self.everyone
        for group in (self.projects, self.keys, self.models):
            yield from group.values()


@dataclass(frozen=True, slots=True)
class AttachmentsFile:
    """Attachments, and the file that says so."""

    name: str
    attachments: Attachments
    document: Document
    bundle: Bundle


class AttachmentEntry(Part):
    """What governs, and what may be chosen on top."""

    policies: PolicyIds = []
    """Ids of policies that govern these requests."""
    offers: PolicyIds = []
    """Ids of policies that a caller may choose on top, in `x-ostiary-policy`."""


class ProjectEntry(AttachmentEntry):
    """A project: also what it is."""

    tier: Pattern = "default"
    """The project's plan, for scopes and conditions."""
    age_group: AgeGroupName = "unknown"
    """Of all its end users. Where it is `unknown`, a request may say it."""
    access: list[Access] = []
    """Access programs that it was granted: a domain (`cyber`), or one program of it
    (`cyber:daybreak_blue`)."""
    retain: Literal["default", "none"] = "default"
    """`none` for zero retention: decisions, scores and digests are recorded, and nothing of
    what was said is kept, whatever the gateway's setting."""


class AttachmentsDocument(Part):
    """A whole attachments file."""

    apiVersion: Literal["ostiary/v1"]  # the file format's own spelling
    """The format; always `ostiary/v1`."""
    kind: Literal["Attachments"]
    """Always `Attachments`."""
    metadata: Metadata
    """Whose it is, and which version."""
    everyone: AttachmentEntry = AttachmentEntry()
    """What is attached to every request."""
    projects: dict[ProjectName, ProjectEntry] = {}
    """What is attached to a project, and what it is."""
    keys: dict[Pattern, AttachmentEntry] = {}
    """What is attached to an API key, by its public id."""
    models: dict[Pattern, AttachmentEntry] = {}
    """What is attached to a model, by its name."""


def parse_attachments(content: bytes, name: str = "attachments.yaml") -> AttachmentsFile:
    """Parse the bytes of an attachments file.

    Raises:
        PolicyError: With every mistake in it.
    """
    file = SourceFile(name, content)
    parsed, document = parsed_as(AttachmentsDocument, file)
    if problems := [*document.problems, *_repeated(parsed, document)]:
        raise PolicyError(name, problems)
    said = parsed.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    attachments = Attachments(
        id=parsed.metadata.id,
        version=parsed.metadata.version,
        digest=hashlib.sha256(rfc8785.dumps(said)).hexdigest(),
        everyone=_attachment(parsed.everyone),
        projects={name: _attachment(entry) for name, entry in parsed.projects.items()},
        keys={name: _attachment(entry) for name, entry in parsed.keys.items()},
        models={name: _attachment(entry) for name, entry in parsed.models.items()},
        profiles={name: _profile(entry) for name, entry in parsed.projects.items()},
    )
    return AttachmentsFile(name, attachments, document, Bundle(file))


def _attachment(entry: AttachmentEntry) -> Attachment:
    return Attachment(tuple(entry.policies), tuple(entry.offers))


def _profile(entry: ProjectEntry) -> Profile:
    return Profile(
        entry.tier,
        AgeGroup(entry.age_group),
        frozenset(entry.access),
        retain=entry.retain != "none",
    )


def _repeated(parsed: AttachmentsDocument, document: Document) -> Iterator[Problem]:
    for path, entry in _entries(parsed):
        for key in ("policies", "offers"):
            ids = getattr(entry, key)
            for index, name in enumerate(ids):
                if name in ids[:index]:
                    place = document.place((*path, key, index))
                    yield Problem(*place, f"`{name}` is listed twice")


def _entries(parsed: AttachmentsDocument) -> Iterator[tuple[Path, AttachmentEntry]]:
    yield ("everyone",), parsed.everyone
    for section in ("projects", "keys", "models"):
        for name, entry in getattr(parsed, section).items():
            yield (section, name), entry
