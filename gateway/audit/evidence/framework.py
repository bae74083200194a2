"""A framework's headings, and which records speak to each: read from `frameworks/*.toml`.

What stands there is ours to answer for: what a heading asks, in our words; the records that
say something about it; the checks of `gateway.audit.evidence.checks` that matter to it; and
what an operator must add, because no log of a gateway can say it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.audit.evidence.checks import CHECKS
from gateway.audit.formats.types import part

FRAMEWORKS = ("eu-ai-act", "nist-ai-rmf", "iso-42001", "soc2", "hipaa")
ANY_TYPE = "*"

_SEARCHED = {  # places in an entry that `ostiary audit search` has an option for
    "decision.action": "--action",
    "decision.stage": "--stage",
}


class Expect(StrEnum):
    """What it means that there are such records, or none."""

    SOME = "some"  # none is a gap
    NONE = "none"  # one is a gap
    ANY = "any"  # neither is


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Records(_Part):
    """Records that speak to a heading.

    Attributes:
        says: What they say.
        types: Of these types; `*` is any.
        where: Places in an entry, and what may stand there.
        filled: Places in an entry where something must stand.
        expect: What their presence or absence means.
    """

    says: str
    types: tuple[str, ...] = Field(min_length=1)
    where: Mapping[str, tuple[str | int, ...]] = {}
    filled: tuple[str, ...] = ()
    expect: Expect = Expect.SOME

    def match(self, entry: Mapping[str, Any]) -> bool:
        """Return whether an entry of one of the types is such a record."""
        return all(
            part(entry, *place.split(".")) in wanted for place, wanted in self.where.items()
        ) and all(part(entry, *place.split(".")) for place in self.filled)

    def search(self, since: str | None, until: str | None) -> str:
        """Return the command that lists them, or some more where it has no option for a place."""
        words = ["ostiary audit search"]
        words += [f"--type {kind}" for kind in self.types if kind != ANY_TYPE]
        for place, option in _SEARCHED.items():
            words += [f"{option} {value}" for value in self.where.get(place, ())]
        words += [f"--since {since[:19]}"] if since else []
        words += [f"--until {until[:19]}"] if until else []
        return " ".join(words)


class Heading(_Part):
    """One thing that is asked.

    Attributes:
        id: As the framework counts it.
        title: In our words.
        asks: What it asks, in our words.
        records: What speaks to it; none where a gateway's log cannot.
        checks: Checks that matter to it.
        adds: What an operator must add.
    """

    id: str
    title: str
    asks: str
    records: tuple[Records, ...] = ()
    checks: tuple[str, ...] = ()
    adds: tuple[str, ...] = Field(min_length=1)


class Framework(_Part):
    """A framework.

    Attributes:
        id: As on the command line.
        version: Of this mapping; goes up when what it maps changes.
        title: Its name.
        source: Which text of it, and which parts.
        about: What to know before reading.
        keep_days: For how long it asks records to be kept, days.
        keep_why: Where it does.
        headings: In its own order.
    """

    format: Literal["ostiary-framework/1"]
    id: str
    version: int
    title: str
    source: str
    about: Annotated[str, Field(min_length=1)]
    keep_days: int | None = None
    keep_why: str = ""
    headings: tuple[Heading, ...] = Field(alias="heading", min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Framework:
        ids = [heading.id for heading in self.headings]
        if len(set(ids)) < len(ids):
            raise ValueError("two headings have the same id")
        unknown = self.checks - CHECKS.keys()
        if unknown:
            raise ValueError(f"there is no check `{min(unknown)}`")
        if (self.keep_days is None) != (not self.keep_why):
            raise ValueError("how long records are kept must be said with where that is asked")
        return self

    @property
    def checks(self) -> set[str]:
        """All checks that matter to any heading."""
        return {check for heading in self.headings for check in heading.checks}

    def records(self) -> Iterator[Records]:
        """Yield all records that speak to any heading."""
        for heading in self.headings:
            yield from heading.records


def source_of(name: str) -> bytes:
    """Return the file of a framework, one of `FRAMEWORKS`."""
    return (files("gateway.audit.evidence") / "frameworks" / f"{name}.toml").read_bytes()


def read_framework(source: bytes) -> Framework:
    """Read a framework's file. Raises `ValueError` if it cannot be used."""
    return Framework.model_validate(tomllib.loads(source.decode()))
