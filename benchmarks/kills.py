"""Kill -9 of whatever writes the log, hundreds of times: is everything acknowledged in it?

    python -m benchmarks.kills [--kills 200] [--of writer|database|both]
        [--store sqlite|postgresql] [--seed 1]

Writers are processes of their own that append exchanges through our ledger, sixteen at a
time, and name each record as soon as it is acknowledged; on PostgreSQL two of them write at
once. Either they are killed at random moments, or the database is, all its processes at
once; or first the database and then the writers, whose policy lets them spool meanwhile. In
the end every record that was named must be in the log, and an auditor must find the log
intact: one tree, no number missing, no request ended twice. Exit status 0 if so.

`benchmarks.crash` does the same with whole gateways, whose callers are asked what they got.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import random
import select
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import structlog
import uvloop

from benchmarks.ledger import DECISION, KEY, exchange_number
from benchmarks.postgres_server import PostgresServer
from gateway.audit.export import Stretch, export
from gateway.audit.heads import FileHeads
from gateway.audit.ledger import Ledger
from gateway.audit.log_key import GivenLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.spool import Spool
from gateway.audit.sweeper import Sweeper
from gateway.audit.verify import verify_file
from gateway.errors import AuditUnavailable
from gateway.store import entries
from gateway.store.session import Database

CALLERS = 16
SPOOL_BYTES = 64 << 20
LEASE_S = 5.0
_LONGEST_LIFE_S = 0.4  # under load
_START_S = 60.0  # a busy machine may take this long
_PAGE = 2000
_fork = multiprocessing.get_context("fork")  # a new interpreter takes longer than a life


@dataclass(slots=True)
class Toll:
    """What came of it.

    Attributes:
        kills: How many.
        named: Records that were acknowledged.
        entries: How many entries are in the log.
        lost: Of `named`, those that are not.
        spooled: Of `named`, those that were acknowledged while there was no database.
        problem: What an auditor says of the log, or None.
    """

    kills: int
    named: set[str] = field(default_factory=set)
    entries: int = 0
    lost: set[str] = field(default_factory=set)
    spooled: int = 0
    problem: str | None = None

    def __str__(self) -> str:
        """Return the figures, for people."""
        return (
            f"{self.kills} kills; {len(self.named)} records acknowledged, {self.spooled} of them "
            f"by the spool, {len(self.lost)} lost; {self.entries} entries; "
            f"an auditor says: {self.problem or 'intact'}"
        )


class Writers:
    """Processes that write to one log.

    Args:
        url: Of the database, migrated.
        home: Theirs.
        count: How many write at once.
        spools: Whether their records may wait in a spool.
    """

    def __init__(self, url: str, home: Path, count: int, spools: bool):
        self._url, self._home, self._count, self._spools = url, home, count, spools
        self._running: list[tuple[multiprocessing.process.BaseProcess, int]] = []
        self._partial: dict[int, bytes] = {}
        self.named: set[str] = set()
        self.spooled = 0  # of these, how many while there was no database

    def start(self) -> None:
        """Start all of them; return once each has been acknowledged a record."""
        for _ in range(self._count):
            ours, theirs = os.pipe()
            process = _fork.Process(
                target=_write, args=(self._url, self._home, theirs, self._spools)
            )
            process.start()
            os.close(theirs)
            self._running.append((process, ours))
        for _, pipe in self._running:
            self.wait(pipe)

    def wait(self, pipe: int | None = None) -> None:
        """Return once a record more has been acknowledged: by any, or by that one."""
        pipes = [pipe] if pipe is not None else [each for _, each in self._running]
        ready, _, _ = select.select(pipes, [], [], _START_S)
        if not ready or not self._read(ready[0]):
            raise RuntimeError("no writer is acknowledged anything")

    def drain(self, seconds: float) -> None:
        """Listen for a while."""
        until = time.monotonic() + seconds
        pipes = [pipe for _, pipe in self._running]
        while (left := until - time.monotonic()) > 0:
            for pipe in select.select(pipes, [], [], left)[0]:
                self._read(pipe)

    def kill(self) -> None:
        """End all of them now, and hear what they had still named."""
        for process, _ in self._running:
            process.kill()
        for process, pipe in self._running:
            process.join()
            while self._read(pipe):
                pass
            os.close(pipe)
            self._partial.pop(pipe, None)  # a line that was cut off names nothing
        self._running.clear()

    def _read(self, pipe: int) -> bool:
        block = os.read(pipe, 1 << 16)
        *lines, self._partial[pipe] = (self._partial.get(pipe, b"") + block).split(b"\n")
        self.named.update(line.decode() for line in lines)
        return bool(block)


def kill_writers(writers: Writers, kills: int, seed: int) -> None:
    """Kill the writers at random moments, and start others."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    for _ in range(kills):
        writers.start()
        writers.drain(chance.uniform(0, _LONGEST_LIFE_S))
        writers.kill()


def kill_database(writers: Writers, server: PostgresServer, kills: int, seed: int) -> None:
    """Kill the database at random moments, while the same writers go on."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    writers.start()
    for _ in range(kills):
        writers.drain(chance.uniform(0, _LONGEST_LIFE_S))
        server.kill()
        writers.drain(0.05)  # what was on its way
        server.start()
        writers.wait()
    writers.kill()


def kill_both(writers: Writers, server: PostgresServer, kills: int, seed: int) -> None:
    """Kill the database, let writers spool, kill them too, and start all of it again."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    for _ in range(kills):
        writers.start()
        writers.drain(chance.uniform(0, _LONGEST_LIFE_S))
        server.kill()
        writers.drain(0.1)  # what was on its way
        before = len(writers.named)
        writers.wait()  # by the spool, for nothing else is there
        writers.drain(chance.uniform(0, _LONGEST_LIFE_S))
        writers.kill()
        writers.spooled += len(writers.named) - before
        server.start()
    writers.start()  # these take over what the last ones left
    writers.kill()


def _write(url: str, home: Path, pipe: int, spools: bool) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    uvloop.run(_append_forever(url, home, pipe, spools))


async def _append_forever(url: str, home: Path, pipe: int, spools: bool) -> None:
    database = Database(url)
    tree = LogTree(database, GivenLogKeys(KEY), FileHeads(home / "heads"))
    ledger = Ledger(database, home, lease_s=LEASE_S)
    ledger.spool = Spool(home / "spool", SPOOL_BYTES)
    await ledger.start()
    await tree.start()
    sweeper = Sweeper(ledger)
    await sweeper.start()
    await asyncio.gather(*(_call(ledger, pipe, spools) for _ in range(CALLERS)))


async def _call(ledger: Ledger, pipe: int, spools: bool) -> None:
    chance = random.SystemRandom()
    while True:
        exchange = exchange_number(chance.getrandbits(128))
        exchange.policy = replace(exchange.policy, spools=spools)
        try:
            async with ledger.exchange(exchange):
                for _ in range(2):
                    decision_id = await ledger.record(exchange, DECISION)
                    os.write(pipe, f"{decision_id}\n".encode())
            os.write(pipe, f"{exchange.id}\n".encode())  # its end was acknowledged
        except AuditUnavailable:
            await asyncio.sleep(0.05)


async def toll(url: str, home: Path, kills: int, writers: Writers) -> Toll:
    """Hold the log against what was acknowledged, as an auditor does."""
    database = Database(url)
    tree = LogTree(database, GivenLogKeys(KEY), FileHeads(home / "heads"))
    try:
        await tree.turn()
        log = await _whole_log(database)
        found = {entry["decision"]["id"] for entry in log if "decision" in entry}
        found |= {entry["request"]["id"] for entry in log if entry["type"] == "request.completed"}
        await export(database, Stretch(), home / "bundle")
        report = verify_file(home / "bundle", KEY.verifier)
    finally:
        await tree.aclose()
        await database.aclose()
    problem = report.problem or (tree.alarm.detail if tree.alarm else None)
    if any((home / "spool").glob("*")):
        problem = problem or "something is left in the spool"
    return Toll(kills, writers.named, len(log), writers.named - found, writers.spooled, problem)


async def _whole_log(database: Database) -> list[dict[str, Any]]:
    """Return every entry; page by page, for no statement may take as long as that takes."""
    log, seq = list[dict[str, Any]](), 0
    while page := await entries.after(database, seq, _PAGE):
        log.extend(orjson.loads(entry.body) for entry in page)
        seq = page[-1].seq
    return log


async def _migrate(url: str) -> None:
    database = Database(url)
    await database.migrate()
    await database.aclose()


def run(home: Path, store: str, of: str, kills: int, seed: int) -> Toll:
    """Kill `of` so often on a new store.

    Args:
        home: An empty directory with a short path.
        store: `sqlite` or `postgresql`.
        of: `writer`, or on PostgreSQL `database` or `both`.
        kills: How many.
        seed: Of the moments.
    """
    server = PostgresServer(home) if store == "postgresql" else None
    url = f"sqlite+aiosqlite:///{home}/ostiary.db"
    if server is not None:
        server.create()
        server.start()
        url = server.url("postgres")
    asyncio.run(_migrate(url))
    own = home / "writers"
    own.mkdir()
    writers = Writers(url, own, 2 if server is not None else 1, spools=of == "both")
    try:
        if of == "writer" or server is None:
            kill_writers(writers, kills, seed)
        else:
            (kill_both if of == "both" else kill_database)(writers, server, kills, seed)
        return asyncio.run(toll(url, own, kills, writers))
    finally:
        writers.kill()
        if server is not None:
            server.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, and print the toll."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--of", choices=("writer", "database", "both"), default="writer")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args(arguments)
    if args.of != "writer" and args.store == "sqlite":
        parser.error("SQLite has no process of its own: kill the writer")
    with tempfile.TemporaryDirectory(prefix="kills-") as home:
        found = run(Path(home), args.store, args.of, args.kills, args.seed)
    print(f"{args.of} on {args.store}: {found}")
    raise SystemExit(1 if found.lost or found.problem else 0)


if __name__ == "__main__":
    main()
