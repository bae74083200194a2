"""What `ostiary user` does: where end users stand, and how they get back in.

End users are known by pseudonym. Who an identifier belongs to is for the application to
know; here it is only ever turned into its pseudonym, with the secret of this installation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.audit.records import pseudonym
from gateway.enforcement import Enforcement
from gateway.policy_registry import PolicyRegistry
from gateway.policy_source import book_in_force
from gateway.settings import Settings
from gateway.store import strikes as store
from gateway.store.keyfile import read_or_create
from gateway.store.session import Database
from gateway.store.strikes import Strike
from gateway.store.times import as_text
from policies.book import NOBODY
from policies.ladder import Ladder, Sanction, Standing, standing


def subject_of(settings: Settings, project: str, safety_identifier: str) -> str:
    """Return an end user's pseudonym.

    Raises:
        ValueError: If the secret that makes pseudonyms is not here, or the identifier is
            empty: it would stand for nobody.
    """
    path = settings.home / "keys" / "pseudonym"
    if not path.exists():  # a new one would make pseudonyms that nobody has
        raise ValueError(f"`{path}` is not there; name the end user by --subject")
    subject = pseudonym(read_or_create(path), project, safety_identifier)
    if subject is None:
        raise ValueError("an empty safety identifier stands for nobody")
    return subject


async def show(
    settings: Settings, database: Database, project: str, subject: str
) -> dict[str, Any]:
    """Return where an end user stands, and their strikes, newest first.

    Raises:
        PolicyError, BookError: If the policies cannot be read.
        StoreUnavailable: If the database cannot.
    """
    ladders = (await ladders_in_force(settings, database))(project)
    struck = await store.of_subject(database, project, subject)
    counting = [strike.struck_at for strike in struck if strike.reversed_at is None]
    found = standing(ladders, counting, datetime.now(UTC))
    return {**_row(project, subject, found), "history": [_strike(strike) for strike in struck]}


async def listed(
    settings: Settings, database: Database, project: str, sanction: Sanction | None
) -> list[dict[str, Any]]:
    """Return the end users of a project who have strikes or a sanction, harshest first.

    Args:
        settings: Where the policies are.
        database: Migrated.
        project: Whose end users.
        sanction: Only those under this one, or None.

    Raises:
        PolicyError, BookError: If the policies cannot be read.
        StoreUnavailable: If the database cannot.
    """
    ladders = (await ladders_in_force(settings, database))(project)
    now = datetime.now(UTC)
    found = [
        (standing(ladders, moments, now), subject)
        for subject, moments in (await store.by_subject(database, project)).items()
    ]
    kept = [
        (stands, subject)
        for stands, subject in found
        if (stands != Standing() if sanction is None else stands.sanction is sanction)
    ]
    kept.sort(key=lambda each: (-each[0].sanction, -each[0].strikes, each[1]))
    return [_row(project, subject, stands) for stands, subject in kept]


async def reinstate(
    database: Database, project: str, subject: str, *, reason: str, actor: str
) -> int:
    """Reverse an end user's strikes; return how many there were.

    Raises:
        StoreUnavailable: If it could not be written.
    """
    return await Enforcement(database).reinstate(project, subject, reason=reason, actor=actor)


async def ladders_in_force(
    settings: Settings, database: Database
) -> Callable[[str], Sequence[Ladder]]:
    """Return what strikes lead to in each project, for a request that nothing else is said of.

    Raises:
        PolicyError, BookError: If the policies cannot be read.
        StoreUnavailable: If the database cannot.
    """
    registry = PolicyRegistry(database)
    book = await book_in_force(settings.policy, registry, datetime.now(UTC))
    return lambda project: book.governing(project, NOBODY, NOBODY).ladders


def _row(project: str, subject: str, found: Standing) -> dict[str, Any]:
    return {
        "project": project,
        "subject": subject,
        "sanction": found.sanction.name.lower(),
        "strikes": found.strikes,
        "since": _moment(found.since),
        "until": _moment(found.until),
    }


def _strike(strike: Strike) -> dict[str, Any]:
    return {
        "struck_at": _moment(strike.struck_at),
        "rule": strike.rule,
        "policy": strike.policy,
        "decision": strike.decision_id,
        "reversed_at": _moment(strike.reversed_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else as_text(moment)
