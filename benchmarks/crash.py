"""Kill -9 in mid-stream, again and again: is everything anyone was given in the log?

    python -m benchmarks.crash [--kills 50] [--postgres URL] [--seed 1]

Starts the stand-in engine and a gateway with a short lease, lets eight callers stream
and ask, kills the gateway at a random moment, every other time while its commits wait,
starts the next one on the same database, and so on. The last one sweeps; then every
entry is read and held against what the callers were given. Exit status 0 if nothing
contradicts and an auditor finds the log intact, 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import text

from benchmarks.callers import MIXTURE, Crowd, Given
from benchmarks.completeness import Entry, contradictions, ends, unfinished
from benchmarks.gateway_process import GatewayProcess
from benchmarks.overhead import free_port, started
from gateway.audit.export import Stretch, export, signed_tree
from gateway.audit.log_key import read_key
from gateway.audit.queries import tail
from gateway.audit.verify import verify_file
from gateway.errors import NotFound
from gateway.store.session import SEQUENCE_LOCK, Database

TOKEN_MS = 8.0  # an answer of 64 tokens takes half a second
SWEEP_S = 60.0  # a busy machine may take this long
_LONGEST_LIFE_S = 0.8  # under load
_HELD_S = 0.3  # long enough for a passage or two
_ALL = 10_000_000


@dataclass(slots=True)
class Findings:
    """What came of it.

    Attributes:
        kills: How many.
        mid_stream: How many of them cut off at least one stream.
        given: What callers were given.
        log: Every entry, in log order.
        wrong: Every contradiction between the two.
    """

    kills: int = 0
    mid_stream: int = 0
    given: list[Given] = field(default_factory=list)
    log: list[Entry] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the figures, for people."""
        replies = [given for given in self.given if given.status]
        statuses = Counter(given.status for given in replies)
        cut = sum(given.cut_off for given in replies)
        return (
            f"{self.kills} kills, {self.mid_stream} in mid-stream; {len(self.log)} entries; "
            f"callers were given {len(replies)} replies {dict(statuses)}, {cut} of them cut off; "
            f"requests ended {dict(ends(self.log))}; {len(self.wrong)} contradictions"
        )


async def kill_repeatedly(gateway: GatewayProcess, url: str, kills: int, seed: int) -> Findings:
    """Kill `gateway`, which writes to the database at `url`, `kills` times under load.

    It runs on when this returns, unless something went wrong.
    """
    chance = random.Random(seed)  # noqa: S311 - not a secret
    findings = Findings()
    for number in range(kills):
        await gateway.start()
        crowd = Crowd()
        siege = asyncio.create_task(crowd.besiege(gateway.url))
        while not crowd.streaming and not siege.done():  # noqa: ASYNC110 - has no event
            await asyncio.sleep(0.005)
        await asyncio.sleep(chance.uniform(0, _LONGEST_LIFE_S))
        if number % 2:
            await _kill_while_held(gateway, url, crowd)
        else:
            gateway.kill()
        findings.mid_stream += crowd.streaming > 0  # nobody has heard of the end yet
        await siege
        findings.kills += 1
        findings.given.extend(crowd.given)
    await gateway.start()
    findings.given.extend(await _each_kind(gateway))
    findings.log = await swept_log(url)
    findings.wrong = contradictions(findings.log, findings.given)
    findings.wrong.extend(await unproved(url, gateway, len(findings.log)))
    return findings


async def _each_kind(gateway: GatewayProcess) -> list[Given]:
    """Ask one question of each kind to its end: on a slow machine no life was long enough."""
    crowd = Crowd()
    async with aiohttp.ClientSession() as session:
        for question in MIXTURE:
            await crowd.ask(session, gateway.url, question)
    return crowd.given


async def _kill_while_held(gateway: GatewayProcess, url: str, crowd: Crowd) -> None:
    """Kill it while commits wait and newcomers ask.

    A commit takes a millisecond, so a kill seldom falls into one. This one does: whatever
    leaves without waiting for its record has left by then.
    """
    async with _held(url):
        newcomers = asyncio.create_task(crowd.besiege(gateway.url))
        await asyncio.sleep(_HELD_S)
        gateway.kill()
    await newcomers


@asynccontextmanager
async def _held(url: str) -> AsyncGenerator[None]:
    """Let nothing be committed to the log."""
    database = Database(url)
    try:
        async with database.write() as connection:
            if not database.is_sqlite:
                lock = text("SELECT pg_advisory_xact_lock(:key)")
                await connection.execute(lock, {"key": SEQUENCE_LOCK})
            yield
    finally:
        await database.aclose()


async def swept_log(url: str) -> list[Entry]:
    """Return the log once every admitted request has ended, or `SWEEP_S` have passed."""
    deadline = time.monotonic() + SWEEP_S
    while True:
        log = await read_log(url)
        if not unfinished(log) or time.monotonic() > deadline:
            return log
        await asyncio.sleep(0.2)


async def unproved(url: str, gateway: GatewayProcess, entries: int) -> list[str]:
    """Return what an auditor would say of the log, and the gateway of its tree; nothing is well.

    Whoever was killed between a commit and the tree must have left neither a gap nor a fork.
    """
    deadline = time.monotonic() + SWEEP_S
    database = Database(url)
    try:
        while True:
            with suppress(NotFound):
                if (await signed_tree(database)).checkpoint_size >= entries:
                    break
            if time.monotonic() > deadline:
                return ["the tree does not hold every entry"]
            await asyncio.sleep(0.2)
        with tempfile.TemporaryDirectory() as directory:
            bundle = Path(directory) / "bundle"
            await export(database, Stretch(), bundle)
            key = read_key(gateway.home / "keys" / "log").verifier
            report = verify_file(bundle, key, processes=1)
    finally:
        await database.aclose()
    _, ready = await gateway.readyz()
    told: Any = ready.get("log") or {}
    wrong = [] if report.intact else [f"an auditor says: {report.problem} at {report.index}"]
    return wrong + ([f"the gateway says: {told['alarm']}"] if told.get("alarm") else [])


async def read_log(url: str) -> list[Entry]:
    """Return every entry, in log order."""
    database = Database(url)
    try:
        return await tail(database, _ALL)
    finally:
        await database.aclose()


def main() -> None:
    """Run it on one store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--postgres", metavar="URL", help="postgresql+asyncpg://..., empty")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    port = free_port()
    engine = [sys.executable, "-m", "benchmarks.engine", "--token-ms", str(TOKEN_MS)]
    with (
        tempfile.TemporaryDirectory() as home,
        started([*engine, "--port", str(port)], port, "/v1/models"),
    ):
        url = args.postgres or f"sqlite+aiosqlite:///{home}/ostiary.db"
        gateway = GatewayProcess(
            Path(home),
            upstream_url=f"http://127.0.0.1:{port}/v1",
            database_url=url,
            lease_s="3",  # a busy machine misses a shorter one, and the start with it
            log_level="warning",
        )
        try:
            findings = asyncio.run(kill_repeatedly(gateway, url, args.kills, args.seed))
        finally:
            gateway.close()
    print(findings)
    print("\n".join(findings.wrong))
    raise SystemExit(1 if findings.wrong else 0)


if __name__ == "__main__":
    main()
