"""Searching, opening and exporting, each with an entry before anybody sees a thing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gateway.audit import content_records as records
from gateway.audit.entry import Entry, row_apart
from gateway.audit.envelope import Unreadable
from gateway.audit.export import Stretch
from gateway.audit.queries import show
from gateway.audit.search import Criteria, Found, Page, find
from gateway.audit.vault import Opened, Vault
from gateway.errors import Conflict, NotFound
from gateway.store import entries
from gateway.store.session import Database

_TOGETHER = 100  # records that one entry names as opened


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """An entry and what it names."""

    entry: dict[str, Any]
    content: list[Opened]


async def search(
    database: Database, criteria: Criteria, page: Page, *, surface: str, actor: str
) -> Found:
    """Return what is found; that somebody searched, for what, is in the log by then.

    Args:
        database: Where the log is.
        criteria: What is wanted.
        page: Which part of it.
        surface: Where it is asked for.
        actor: Who asks: a key id, or `cli`.

    Raises:
        BadRequest: If the page is none.
        StoreUnavailable: If the log can be neither read nor written.
    """
    found = await find(database, criteria, page)
    said = criteria.said()
    entry = records.searched(said, found=len(found.entries), surface=surface, actor=actor)
    await _append(database, entry)
    return found


async def open_content(vault: Vault, id: str, *, reason: str, actor: str) -> list[OpenedRecord]:
    """Return the content of an entry, a decision, or all of a request.

    Args:
        vault: Where it is.
        id: An entry's UUID, `dec_...`, or `req_...`.
        reason: Why, in the words of who asks.
        actor: Who asks: a key id, or `cli`.

    Raises:
        NotFound: If the log names no content under this id.
        Conflict: If what lies there is not what the log names.
        StoreUnavailable: If the log can be neither read nor written.
    """
    named = [entry for entry in await show(vault.database, id) if entry.get("content")]
    if not named:
        raise NotFound(f"there is no content under `{id[:80]}`")
    for at in range(0, len(named), _TOGETHER):
        project = named[0]["actor"]["project"]
        part = named[at : at + _TOGETHER]
        entry = records.opened(part, id=id[:80], project=project, reason=reason, actor=actor)
        await _append(vault.database, entry)
    try:
        return [
            OpenedRecord(
                entry, await vault.open(entry["actor"]["project"], entry["id"], entry["content"])
            )
            for entry in named
        ]
    except Unreadable as error:
        raise Conflict(str(error), code="content_altered") from error


async def note_export(database: Database, what: Stretch, *, form: str, actor: str) -> None:
    """Record that entries are about to be taken away. Raises `StoreUnavailable`.

    Args:
        database: Where the log is.
        what: Which entries.
        form: As what: a format, or `evidence` and the framework.
        actor: Who asks: a key id, or `cli`.
    """
    await _append(database, records.exported({**asdict(what), "form": form}, actor=actor))


async def _append(database: Database, entry: Entry) -> None:
    async with database.write() as connection:
        await entries.append(connection, row_apart(entry, "access"))
