"""Leaf hashes of entries: computed once, where an entry is written or where it lies.

A tree that grows beside a busy log would otherwise read every entry back. On SQLite that
means to take turns with the event loop for each row; so what this process has written
just now is remembered until it is in the tree. PostgreSQL hashes on its own processor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import audit_entries

HASH_SIZE = 32  # bytes
_MOST_REMEMBERED = 65_536

# RFC 6962 section 2.1: a leaf is hashed with a zero byte before it.
_LEAF = b"\x00"

# One row for all of them: to read thousands of rows would hold up everybody else.
_HASHED = text(
    r"SELECT array_agg(seq ORDER BY seq), string_agg(leaf, ''::bytea ORDER BY seq) FROM ("
    r"SELECT seq, sha256('\x00'::bytea || body) AS leaf FROM audit_entries "
    "WHERE seq > :after ORDER BY seq LIMIT :limit) AS uncounted"
)
_NUMBERS = text(
    "SELECT group_concat(seq) FROM ("
    "SELECT seq FROM audit_entries WHERE seq > :after ORDER BY seq LIMIT :limit)"
)
_BODIES = select(audit_entries.c.seq, audit_entries.c.body).where(
    audit_entries.c.seq.in_(bindparam("seqs", expanding=True))
)


class Leaves(NamedTuple):
    """Entries that are in no tree yet, in log order.

    Attributes:
        seqs: Their numbers.
        hashes: 32 bytes each, one after the other.
    """

    seqs: Sequence[int]
    hashes: bytes


class RecentLeaves:
    """Hashes of entries that this process has committed, by their numbers."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def add(self, first_seq: int, bodies: Iterable[bytes]) -> None:
        """Remember entries with consecutive numbers. INVARIANT: they are committed."""
        if len(self._known) > _MOST_REMEMBERED:  # nobody makes a tree of them
            self._known.clear()
        self._known.update(
            (seq, sha256(_LEAF + body).digest()) for seq, body in enumerate(bodies, first_seq)
        )

    def take(self, seqs: Iterable[int]) -> dict[int, bytes]:
        """Return those that are known, and forget them."""
        known = self._known
        return {seq: known.pop(seq) for seq in seqs if seq in known}


async def after(connection: AsyncConnection, seq: int, limit: int, recent: RecentLeaves) -> Leaves:
    """Return the leaves of up to `limit` entries with a greater number.

    INVARIANT: who inserts holds the sequence lock until the commit, so an entry that is not
    seen here has a greater number than all that are.
    """
    if connection.dialect.name == "postgresql":
        seqs, hashes = (await connection.execute(_HASHED, {"after": seq, "limit": limit})).one()
        return Leaves(seqs or (), hashes or b"")
    listed = await connection.scalar(_NUMBERS, {"after": seq, "limit": limit})
    numbers = sorted(map(int, listed.split(","))) if listed else []
    known = recent.take(numbers)
    if missing := [number for number in numbers if number not in known]:
        for number, body in await connection.execute(_BODIES, {"seqs": missing}):
            known[number] = sha256(_LEAF + body).digest()
    return Leaves(numbers, b"".join(known[number] for number in numbers))
