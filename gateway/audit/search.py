"""Searching the log by what was decided, never by what was said: there is no text in it.

The database narrows down by what it has in columns, or finds in an entry's bytes; what an
entry says is then compared exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import orjson

from gateway.errors import BadRequest
from gateway.store import search as store
from gateway.store.log_index import LONGEST_TERM
from gateway.store.search import Narrowed
from gateway.store.session import Database

_MOST = 500  # entries read at once
_FEWEST = 64
Document = Mapping[str, Any]
RULE, CATEGORY, ACTION, TYPE = "rule", "category", "action", "type"  # kinds of terms


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which entries are wanted. In a field that lists values any of them will do.

    Attributes:
        administrative: Only what people did, or is done to what they look after.
        types: Of these types.
        projects: Of these projects.
        requests: Of these requests.
        since: Recorded at this moment or later.
        before: Recorded earlier than this moment.
        stages: Decisions at these stages.
        actions: Decisions that came to these.
        rules: Decisions in which these rules matched.
        categories: Decisions that scored these categories, or whose rules are about them.
        end_users: About these pseudonyms.
        actors: By these keys, or by `cli`.
        resources: About these keys, policies, holds, erasures, records or end users.
    """

    administrative: bool = False
    types: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    since: str | None = None
    before: str | None = None
    stages: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    end_users: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()

    def said(self) -> dict[str, Any]:
        """Return what was asked for, for the record."""
        return {name: value for name, value in asdict(self).items() if value}

    def narrowed(self) -> Narrowed:
        """Return what the database can tell."""
        exact = (
            self.stages,
            self.actions,
            self.rules,
            self.categories,
            self.end_users,
            self.actors,
            self.resources,
        )
        return Narrowed(
            self.administrative,
            self.types,
            self.projects,
            self.requests[0] if len(self.requests) == 1 else None,
            self.since,
            self.before,
            tuple(_json(values[0]) for values in exact if len(values) == 1),
            self._terms(),
        )

    def _terms(self) -> tuple[tuple[str, ...], ...]:
        """Return what the log's index has of it."""
        fields = (
            (RULE, self.rules),
            (CATEGORY, self.categories),
            (ACTION, self.actions),
            (TYPE, self.types),
        )
        return tuple(
            tuple(term(kind, value) for value in values) for kind, values in fields if values
        )

    def match(self, entry: Document) -> bool:
        """Return whether an entry that was narrowed down to is wanted."""
        decision = entry.get("decision") or {}
        request = entry.get("request") or {}
        return all(
            not wanted or not set(wanted).isdisjoint(found)
            for wanted, found in (
                (self.requests, [request.get("id")]),
                (self.stages, [decision.get("stage")]),
                (self.actions, [decision.get("action")]),
                (self.rules, rules_of(entry)),
                (self.categories, categories_of(entry)),
                (self.end_users, end_users(entry)),
                (self.actors, [actor(entry)]),
                (self.resources, resources(entry)),
            )
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of what is found is wanted.

    Attributes:
        limit: At most so many entries.
        after: The id of an entry: those that come after it, which are older.
        before: The id of an entry: those that come directly before it, which are newer.
    """

    limit: int = 20
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Entries, newest first, and whether there are more the way the page goes."""

    entries: list[dict[str, Any]]
    more: bool


async def find(database: Database, criteria: Criteria, page: Page) -> Found:
    """Return a page of what is found, newest first.

    Raises:
        BadRequest: If the page begins at an entry that is not there, or at two.
        StoreUnavailable: If the log cannot be read.
    """
    if page.after is not None and page.before is not None:
        raise BadRequest("a page is either `after` or `before` an entry", param="before")
    newer = page.before is not None
    cursor = await _cursor(database, page)
    narrowed = criteria.narrowed()
    found: list[dict[str, Any]] = []
    together = min(max(_FEWEST, 2 * page.limit), _MOST)
    while len(found) <= page.limit:
        rows = await store.entries(database, narrowed, cursor, newer=newer, limit=together)
        for seq, body in rows:
            entry = {"seq": seq, **orjson.loads(body)}
            if criteria.match(entry):
                found.append(entry)
        if len(rows) < together:
            break
        cursor = rows[-1].seq
    wanted = found[: page.limit]
    return Found(wanted[::-1] if newer else wanted, len(found) > page.limit)


@lru_cache(maxsize=4096)
def term(kind: str, value: str) -> str:
    """Return what the index has of a value; who finds an entry by it compares the value."""
    text = value.encode("utf-8", "replace").decode().replace("\0", " ")
    return f"{kind}:{text}"[:LONGEST_TERM]


def actor(entry: Document) -> str | None:
    """Return who did it: a key id, or `cli` and who used it."""
    key = (entry.get("actor") or {}).get("key")
    return key if isinstance(key, str) else None


def resources(entry: Document) -> Collection[str]:
    """Return the ids of what an entry is about."""
    parts = ("key", "policy", "hold", "erasure", "access")
    found = [(entry.get(part) or {}).get("id") for part in parts]
    found += [*entry.get("records", ()), *end_users(entry)]
    return [each for each in found if isinstance(each, str)]


def end_users(entry: Document) -> Collection[str]:
    """Return the pseudonyms of end users that an entry is about."""
    parts = (entry.get("actor") or {}, entry.get("end_user") or {})
    found = [part.get("safety_identifier") for part in parts]
    found += entry.get("end_users", ())
    return [each for each in found if isinstance(each, str)]


async def _cursor(database: Database, page: Page) -> int | None:
    name = "after" if page.before is None else "before"
    id = page.after if page.before is None else page.before
    if id is None:
        return None
    seq = await store.seq_of(database, id)
    if seq is None:
        raise BadRequest(f"`{name}` is not the id of an entry", param=name)
    return seq


def rules_of(entry: Document) -> Iterator[str]:
    """Yield the rules that matched, or that an entry names."""
    for rule in entry.get("rules", ()):
        yield rule["id"] if isinstance(rule, dict) else rule


def categories_of(entry: Document) -> Iterator[str]:
    """Yield the categories that scored, or that rules which matched are about."""
    for each in (*entry.get("rules", ()), *entry.get("scores", ())):
        if isinstance(each, dict):
            yield each["category"]


def _json(value: str) -> bytes:
    return orjson.dumps(value.encode("utf-8", "replace").decode())
