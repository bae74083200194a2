"""What it costs a request that its content is kept.

    python benchmarks/content.py [--postgres URL] [--callers 64] [--seconds 5] [--chars 2000]

Each caller opens an exchange, has a prompt and a reply judged and recorded, as the pipeline
does, closes it, and begins the next. Three settings: `none`, `flagged` with nothing flagged,
and `all`, where every exchange has a key of its own and two sealed fields. The decisions are
made beforehand, so what differs is keeping alone.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import uvloop
from uuid_utils import uuid7

from classifiers.types import Passage, Source
from gateway.audit.ledger import Ledger
from gateway.audit.master_keys import FileMasterKeys
from gateway.audit.vault import Vault
from gateway.exchange import Exchange
from gateway.keeping import said
from gateway.settings import ContentMode
from gateway.store.session import Database
from gateway.types import Principal, Scope
from model_runner.types import Message, Prompt, Role
from policies.types import Action, Decision, Policy, Stage

POLICY = Policy("baseline", "1.0.0", "ab" * 32, ())
PRINCIPAL = Principal("abcdefghijkl", "default", frozenset({Scope.CALLER}), 6000, 10_000_000)


def decision(stage: Stage) -> Decision:
    """Return a decision that lets everything pass."""
    return Decision(stage, Action.ALLOW, (), (), POLICY.id, POLICY.version, POLICY.digest)


TAKEN = ((decision(Stage.INPUT), Source.USER), (decision(Stage.OUTPUT), Source.FINAL))


def exchange() -> Exchange:
    """Return a new exchange."""
    return Exchange(
        id=f"req_{uuid7().hex}",
        principal=PRINCIPAL,
        prompt=Prompt("gpt-oss-20b", (Message(Role.USER, "hello"),)),
        policy=POLICY,
        endpoint="responses",
        stream=False,
        runner="none",
    )


async def ask(ledger: Ledger, vault: Vault, text: str) -> None:
    """Record one exchange from end to end."""
    one = exchange()
    async with ledger.exchange(one):
        for taken, source in TAKEN:
            what = said(taken.stage, (Passage(source, text),), ())
            await ledger.record(one, taken, await vault.keep(one, taken, what))


async def alone(vault: Vault, text: str, rounds: int = 1000) -> float:
    """Return what keeping takes of one exchange without the database, CPU microseconds."""
    await vault.keep(exchange(), TAKEN[0][0], said(Stage.INPUT, (Passage(Source.USER, text),), ()))
    exchanges = [exchange() for _ in range(rounds)]
    started = time.thread_time()
    for one in exchanges:
        for taken, source in TAKEN:
            await vault.keep(one, taken, said(taken.stage, (Passage(source, text),), ()))
    return (time.thread_time() - started) / rounds * 1e6


async def measure(url: str, mode: ContentMode, callers: int, seconds: float, chars: int) -> str:
    """Return the figures of one setting as a line."""
    text = "All work and no play makes Jack a dull boy. " * (chars // 44 + 1)
    text = text[:chars]
    database = Database(url)
    await database.migrate()
    with tempfile.TemporaryDirectory() as folder:
        vault = Vault(database, FileMasterKeys(Path(folder) / "keys" / "vault"), mode)
        ledger = Ledger(database, Path(folder), lease_s=3600)
        await ledger.start()
        took: list[float] = []
        until, cpu = time.perf_counter() + seconds, time.process_time()

        async def call() -> None:
            while (began := time.perf_counter()) < until:
                await ask(ledger, vault, text)
                took.append(time.perf_counter() - began)

        await ask(ledger, vault, text)  # the project's key is made
        await asyncio.gather(*(call() for _ in range(callers)))
        cpu = (time.process_time() - cpu) / len(took) * 1e6
        sealing = await alone(vault, text)
        await ledger.aclose()
    await database.aclose()
    took.sort()
    return (
        f"{mode.value:8} {len(took) / seconds:8.0f} exchanges/s  "
        f"p50 {took[len(took) // 2] * 1000:6.2f} ms  p99 {took[len(took) * 99 // 100] * 1000:6.2f}"
        f" ms  CPU {cpu:6.0f} us an exchange, of which keep() {sealing:5.0f}"
    )


async def main() -> None:
    """Measure each setting in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", help="URL of an empty database, postgresql+asyncpg://...")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--chars", type=int, default=2000)
    given = parser.parse_args()
    for mode in ContentMode:
        with tempfile.TemporaryDirectory() as folder:
            url = given.postgres or f"sqlite+aiosqlite:///{folder}/bench.db"
            if given.postgres:
                vault_of_before = Database(url)
                await vault_of_before.migrate()
                async with vault_of_before.write() as connection:
                    await connection.exec_driver_sql("DELETE FROM content_projects")
                await vault_of_before.aclose()
            print(await measure(url, mode, given.callers, given.seconds, given.chars))


if __name__ == "__main__":
    uvloop.run(main())
