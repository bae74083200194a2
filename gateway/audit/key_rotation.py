"""Rotating the key that signs checkpoints, as an entry of the log itself.

The new key is written beside the one before; then an entry, signed by both, says that it
took over, and from there on it signs. Replicas that share the file need no restart. Until
the key before is retired it signs too, for those who know only that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gateway.audit.checkpoint import Checkpoint, parse_checkpoint
from gateway.audit.entry import Entry, row_apart
from gateway.audit.export import key_changes
from gateway.audit.heads import HeadKeeper
from gateway.audit.integrator import Integrator
from gateway.audit.log_key import FileLogKeys, LogKeys
from gateway.audit.publisher import LogAlarm, Publisher
from gateway.audit.succession import KEY_CHANGED, Keyring, hand_over, parse_succession
from gateway.errors import Conflict
from gateway.notes import SigningKey, VerifierKey, new_key, parse_note
from gateway.store import entries
from gateway.store.log_keys import signing_turn
from gateway.store.session import Database
from gateway.store.trees import trees


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was changed.

    Attributes:
        old: The key before.
        new: The key that signs from now on.
        last: The last checkpoint that the key before signed alone.
        note: The change, signed by both.
    """

    old: VerifierKey
    new: VerifierKey
    last: Checkpoint
    note: bytes


async def rotate_key(
    database: Database, keys: FileLogKeys, heads: HeadKeeper, *, actor: str, reason: str
) -> Rotated:
    """Give the log a new key, and say so in the log.

    Args:
        database: Migrated.
        keys: The file; the new key is added to it.
        heads: Where checkpoints are kept apart.
        actor: Who does it: a key id, or `cli`.
        reason: Why, in the operator's words.

    Raises:
        Conflict: If nothing is signed yet, the key that signs is not here, or the log is not
            what it was.
        StoreUnavailable, OSError: If it could not be done; the key before goes on signing.
    """
    async with signing_turn(database):
        publisher = Publisher(database, keys, heads)
        await Integrator(database).integrate()
        try:
            await publisher.publish_alone()
        except LogAlarm as raised:
            raise Conflict(f"no key is changed while {raised.alarm.detail}") from raised
        old = publisher.signing_key()
        if old is None:
            raise Conflict("the key that signs is not in this file: another one took over")
        last = await _last_checkpoint(database)
        new = new_key(old.name)
        # INVARIANT: before the log says so, lest nobody have the key that it names.
        keys.keep([*_signed_with(keys, publisher), new])
        note = hand_over(last, old, new)
        async with database.write() as connection:
            entry = key_changed(old, new, note, actor=actor, reason=reason)
            await entries.append(connection, row_apart(entry, "custody"))
    return Rotated(old.verifier, new.verifier, last, note)


async def retire_keys(database: Database, keys: FileLogKeys, heads: HeadKeeper) -> int:
    """Destroy all keys in the file but the one that signs; return how many.

    Raises:
        Conflict: If that one is not here.
    """
    async with signing_turn(database):
        publisher = Publisher(database, keys, heads)
        try:
            await publisher.publish_alone()
        except LogAlarm as raised:
            raise Conflict(f"no key is retired while {raised.alarm.detail}") from raised
        current = publisher.signing_key()
        if current is None:
            raise Conflict("the key that signs is not in this file: another one took over")
        gone = len(keys.held) - 1
        keys.keep([current])
    return gone


class KeysInForce(NamedTuple):
    """What an auditor is told of a log's keys.

    Attributes:
        key: The one that signs now.
        mldsa_key: The one of the second signature, if there is one.
        key_changes: How the key changed, signed notes, in their order.
    """

    key: str
    mldsa_key: str | None
    key_changes: list[str]


async def keys_in_force(database: Database, keys: LogKeys) -> KeysInForce:
    """Return the log's keys.

    Raises:
        NoteError: If a change of key cannot be believed.
        StoreUnavailable: If the log cannot be read.
    """
    async with database.read() as connection:
        notes = await key_changes(connection)
    changes = [parse_succession(note.encode()) for note in notes]
    ring = Keyring([key.verifier for key in keys.held], changes)
    mldsa = None if keys.mldsa is None else str(keys.mldsa.verifier)
    return KeysInForce(str(ring.current), mldsa, notes)


def key_changed(old: SigningKey, new: SigningKey, note: bytes, *, actor: str, reason: str) -> Entry:
    """The log has a new key; `note` is signed by both."""
    body = {
        "actor": {"key": actor},
        "log_key": {
            "old": str(old.verifier),
            "new": str(new.verifier),
            "reason": reason[:512],
            "note": note.decode(),
        },
    }
    return Entry(KEY_CHANGED, body)


def _signed_with(keys: FileLogKeys, publisher: Publisher) -> list[SigningKey]:
    """Return the keys that have signed: not one that a rotation left which broke off."""
    known = {publisher.current, *publisher.earlier}
    return [key for key in keys.held if key.verifier in known]


async def _last_checkpoint(database: Database) -> Checkpoint:
    async with database.read() as connection:
        found = await trees(connection)
    if not found or found[-1].checkpoint is None:
        raise Conflict("nothing is signed yet; start the gateway first")
    return parse_checkpoint(parse_note(found[-1].checkpoint).text)
