"""Who asks, through what and for whom; and which of them a rule or an exception is for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache


class AgeGroup(StrEnum):
    """How old the end user is, as the application says."""

    MINOR = "minor"
    ADULT = "adult"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Everything beside the text that a policy may look at; fixed for a whole exchange.

    Attributes:
        project: Whose API key it is.
        tier: What the operator calls the project's plan.
        endpoint: `responses`, `chat` or `moderations`.
        model: The model that is asked.
        stream: Whether the reply is read as a stream.
        tools: Names of the functions that the model may call.
        age_group: The end user's.
        locale: The end user's BCP 47 tag, such as `de-AT`, or empty.
        end_user: What stands for the end user, or None where nobody said who it is.
        strikes: How many violations of theirs count now.
        access: Access programs that the operator granted and the request asks for.
    """

    project: str = "default"
    tier: str = "default"
    endpoint: str = "responses"
    model: str = ""
    stream: bool = False
    tools: tuple[str, ...] = ()
    age_group: AgeGroup = AgeGroup.UNKNOWN
    locale: str = ""
    end_user: str | None = None
    strikes: int = 0
    access: frozenset[str] = frozenset()


ANYBODY = Circumstances()


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom a rule or an exception is. A field that is None is for everybody.

    Names may hold `*` for any run of characters. A locale also stands for its regions: `de`
    is for `de-AT` too.
    """

    projects: tuple[str, ...] | None = None
    tiers: tuple[str, ...] | None = None
    age_groups: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    locales: tuple[str, ...] | None = None

    def covers(self, given: Circumstances) -> bool:
        """Return whether `given` is within the scope: every field has to agree."""
        return (
            (self.projects is None or is_named(self.projects, given.project))
            and (self.tiers is None or is_named(self.tiers, given.tier))
            and (self.age_groups is None or given.age_group in self.age_groups)
            and (self.endpoints is None or given.endpoint in self.endpoints)
            and (self.models is None or is_named(self.models, given.model))
            and (self.locales is None or any(_speaks(tag, given.locale) for tag in self.locales))
        )


EVERYBODY = Scope()


@lru_cache(maxsize=1024)
def language_tags(locale: str) -> tuple[str, ...]:
    """Return a BCP 47 tag and the broader ones that stand for it: `de-at`, `de`."""
    parts = locale.casefold().replace("_", "-").split("-")
    return tuple("-".join(parts[:count]) for count in range(len(parts), 0, -1)) if locale else ()


@lru_cache(maxsize=4096)
def is_named(patterns: tuple[str, ...], name: str) -> bool:
    """Return whether a name is one of `patterns`; `*` stands for any characters."""
    return any(
        pattern in ("*", name) or ("*" in pattern and fnmatchcase(name, _literal(pattern)))
        for pattern in patterns
    )


def _literal(pattern: str) -> str:
    """Leave `*` as the only character that means something."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _speaks(tag: str, locale: str) -> bool:
    return tag == "*" or tag.casefold().replace("_", "-") in language_tags(locale)
