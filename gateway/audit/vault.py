"""Keeps what was said apart from the log, sealed under keys that can be destroyed.

An entry names the content of its exchange by the SHA-256 of a ciphertext and by a
commitment to the text. The text lies in the vault under a data key of its exchange, that
under the key of its project, and that under a master key which is not in the database.
Each data key is filed under the end user's pseudonym; to destroy it erases the text
everywhere at once, backups of the ciphertext included, and leaves the log as it is.

What was decided to be hidden is hidden here too. If the key of a project can be neither
read nor made, nothing is decided either: the request fails as it does without a log.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson
from uuid_utils import uuid7

from gateway.audit.entry import new_id
from gateway.audit.envelope import (
    Place,
    Unreadable,
    commitment,
    new_key,
    seal,
    unseal,
    unwrap,
    wrap,
)
from gateway.audit.master_keys import MasterKeys, Wrapped, open_master_keys
from gateway.errors import StoreUnavailable
from gateway.exchange import Exchange
from gateway.keeping import Said, fields
from gateway.memory import Memory
from gateway.settings import ContentMode, Settings
from gateway.store import content as store
from gateway.store.content import ContentRow, KeyRow, ProjectKeyRow, Sealed
from gateway.store.session import Database
from gateway.store.times import now_text
from policies.types import Action, Decision


class State(StrEnum):
    """What became of a field that an entry names."""

    KEPT = "kept"
    GONE = "gone"  # erased, or its time has run out


@dataclass(frozen=True, slots=True)
class Kept:
    """Content on its way into the vault, with the entry that names it.

    Attributes:
        record_id: That entry's id.
        named: What the entry says: field, chars, ciphertext_sha256, commitment.
        sealed: What is written with it.
    """

    record_id: str
    named: tuple[Mapping[str, Any], ...]
    sealed: Sealed


@dataclass(frozen=True, slots=True)
class Opened:
    """One field of a record.

    Attributes:
        field: The stage.
        state: Whether it is still there.
        said: Objects with `source`, `text` and perhaps `tool`; empty if it is gone.
    """

    field: str
    state: State
    said: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """One generation of a project's key, open."""

    project: str
    generation: int
    key: bytes


@dataclass(slots=True, eq=False)
class Vault:
    """Seals content and opens it again.

    Args:
        database: Migrated.
        master: The keys above the projects' keys.
        mode: Of which exchanges content is kept.
    """

    database: Database
    master: MasterKeys
    mode: ContentMode = ContentMode.FLAGGED
    _project_keys: Memory[str, ProjectKey] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing remembered."""
        self._project_keys = Memory(self._project_key, stale_s=self.database.stale_s)

    async def keep(
        self, exchange: Exchange, decision: Decision, said: Sequence[Said]
    ) -> Kept | None:
        """Return what is to be written with the record of `decision`, if anything is.

        Args:
            exchange: Whose. What it said earlier and was not kept then is kept now.
            decision: What was decided; not yet recorded.
            said: What it was decided about.

        Raises:
            StoreUnavailable: If there is no key to seal it under.
        """
        keeping = exchange.keeping
        if self.mode is ContentMode.NONE or not keeping.wanted:
            return None
        keeping.waiting += said
        keeping.due = keeping.due or self.mode is ContentMode.ALL or decision.action > Action.ALLOW
        if not keeping.due or not keeping.waiting:
            return None
        keys = () if keeping.data_key else (await self._new_data_key(exchange),)
        waiting, keeping.waiting = keeping.waiting, []
        return _sealed(exchange, fields(waiting), keys)

    async def check(self) -> None:
        """Make sure that the master keys are those that this database's content is under.

        Raises:
            ValueError: If they are not.
            OSError: If they cannot be read.
            StoreUnavailable: If the database cannot.
        """
        async with self.database.read() as connection:
            rows = await store.newest_keys(connection)
        for row in rows:
            try:
                await open_project_key(self.master, row)
            except Unreadable as error:
                raise ValueError(
                    f"the content of project `{row.project}` cannot be opened: {error}; "
                    "put back `keys/vault`, or OSTIARY_VAULT_KEY, of this database"
                ) from error

    async def open(
        self, project: str, record_id: str, named: Sequence[Mapping[str, Any]]
    ) -> list[Opened]:
        """Return what an entry names.

        Args:
            project: Whose entry it is.
            record_id: Its id.
            named: Its `content`.

        Raises:
            Unreadable: If what lies here is not what the entry names.
            StoreUnavailable: If the database cannot be read.
        """
        stored = {each.field: each for each in await store.of_record(self.database, record_id)}
        return [
            await self._opened(Place(project, record_id, each["field"]), each, stored)
            for each in named
        ]

    async def _opened(
        self, place: Place, named: Mapping[str, Any], stored: Mapping[str, store.StoredContent]
    ) -> Opened:
        found = stored.get(place.field)
        if found is None:
            return Opened(place.field, State.GONE)
        if hashlib.sha256(found.box).hexdigest() != named["ciphertext_sha256"]:
            raise Unreadable(f"`{place.field}` of this record is not what the log names")
        data_key = await self._data_key(found.key)
        text = unseal(data_key, found.box, place)
        committed = commitment(data_key, text, place)
        if not hmac.compare_digest(committed, named["commitment"]):
            raise Unreadable(f"`{place.field}` of this record is not what the log names")
        return Opened(place.field, State.KEPT, orjson.loads(text))

    async def _new_data_key(self, exchange: Exchange) -> KeyRow:
        owner = await self._project_keys.answer(exchange.principal.project)
        keeping = exchange.keeping
        keeping.key_id, keeping.data_key = uuid7().hex, new_key()
        return KeyRow(
            keeping.key_id,
            owner.project,
            owner.generation,
            exchange.circumstances.end_user,
            wrap(owner.key, keeping.data_key, "data", owner.project, keeping.key_id),
            now_text(),
        )

    async def _data_key(self, row: KeyRow) -> bytes:
        async with self.database.read() as connection:
            owners = await store.project_keys(connection, row.project)
        for owner in owners:
            if owner.generation == row.generation:
                opened = await open_project_key(self.master, owner)
                return unwrap(opened.key, row.wrapped, "data", row.project, row.id)
        raise Unreadable("the key of the project is not there")

    async def _project_key(self, project: str) -> ProjectKey:
        """Return the newest generation of a project's key; make the first one if need be."""
        async with self.database.read() as connection:
            row = await store.newest_key(connection, project)
        try:
            if row is None:
                row = await self._first_key(project)
            return await open_project_key(self.master, row)
        except (OSError, ValueError, Unreadable) as error:
            # Without a key nothing can be kept, and what must be kept must not be lost.
            raise StoreUnavailable("content cannot be sealed", retry_after_s=1.0) from error

    async def _first_key(self, project: str) -> ProjectKeyRow:
        async with self.database.write() as connection:
            await store.lock_keys(connection)
            row = await store.newest_key(connection, project)  # somebody else may have been first
            if row is None:
                row = await new_project_key(self.master, project, generation=1)
                await store.add_project_key(connection, row)
        return row


def open_vault(settings: Settings, database: Database) -> Vault:
    """Return where content is kept. Raises `ValueError` if a master key is none."""
    given = settings.vault_key.get_secret_value()
    master = open_master_keys(settings.vault_file, given, settings.vault_command)
    return Vault(database, master, settings.content)


async def new_project_key(master: MasterKeys, project: str, generation: int) -> ProjectKeyRow:
    """Return a new key of a project, wrapped."""
    wrapped = await master.wrap(new_key(), "project", project, str(generation))
    return ProjectKeyRow(project, generation, wrapped.key_id, wrapped.box, now_text())


async def open_project_key(master: MasterKeys, row: ProjectKeyRow) -> ProjectKey:
    """Return a project's key. Raises `Unreadable`."""
    wrapped = Wrapped(row.master_key, row.wrapped)
    key = await master.unwrap(wrapped, "project", row.project, str(row.generation))
    return ProjectKey(row.project, row.generation, key)


def _sealed(
    exchange: Exchange, texts: Mapping[str, tuple[int, bytes]], keys: tuple[KeyRow, ...]
) -> Kept:
    record_id, now = new_id(), now_text()
    keeping = exchange.keeping
    named: list[Mapping[str, Any]] = []
    rows: list[ContentRow] = []
    for name, (chars, text) in texts.items():
        box = seal(keeping.data_key, text, Place(exchange.principal.project, record_id, name))
        rows.append(ContentRow(record_id, name, keeping.key_id, now, box.box))
        named.append(
            {
                "field": name,
                "chars": chars,
                "ciphertext_sha256": box.digest,
                "commitment": box.commitment,
            }
        )
    return Kept(record_id, tuple(named), Sealed(keys, tuple(rows)))
