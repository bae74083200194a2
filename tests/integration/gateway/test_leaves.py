import pytest
from sqlalchemy import text

from gateway.audit import records
from gateway.audit.merkle import leaf_hash
from gateway.store import leaves
from gateway.store.entries import after
from gateway.store.leaves import RecentLeaves

pytestmark = pytest.mark.integration

BY_HAND = (
    "INSERT INTO audit_entries (id, type, recorded_at, replica, replica_seq, terminal, body) "
    "VALUES ('by-hand', 'test', '2026-10-05T10:00:00.000000Z', 'by-hand', 1, false, :body)"
)


async def test_leaves_are_the_hashes_of_what_lies_in_the_log_whoever_wrote_it(database, new_ledger):
    ledger = await new_ledger()
    await ledger.append(*(records.replica_stopped(f"{number}") for number in range(5)))
    async with database.write() as connection:
        await connection.execute(text(BY_HAND), {"body": b"unknown to this process"})
    await ledger.append(records.replica_stopped("last"))
    entries = await after(database, 0, 100)

    async with database.read() as connection:
        first = await leaves.after(connection, 0, 3, database.recent_leaves)
        rest = await leaves.after(connection, first.seqs[-1], 100, database.recent_leaves)
        again = await leaves.after(connection, 0, 100, database.recent_leaves)
        nothing = await leaves.after(connection, rest.seqs[-1], 100, database.recent_leaves)

    assert list(first.seqs) + list(rest.seqs) == [entry.seq for entry in entries]
    assert first.hashes + rest.hashes == b"".join(leaf_hash(entry.body) for entry in entries)
    assert again.hashes == first.hashes + rest.hashes
    assert not nothing.seqs


def test_hashes_that_nobody_takes_are_forgotten_in_the_end():
    recent = RecentLeaves()
    for first in range(1, 70_000, 500):
        recent.add(first, [b"entry"] * 500)

    assert not recent.take([1])
    assert recent.take([69_999]) == {69_999: leaf_hash(b"entry")}
    assert not recent.take([69_999])
