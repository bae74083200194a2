"""How many entries a second the decision log takes, and how long a caller waits.

    python benchmarks/ledger.py [--postgres URL] [--callers 64] [--seconds 5]

Each caller appends a decision and waits until it is durable, then the next: the worst
case for group commit, since nobody is ahead. Without a URL it measures SQLite in a
temporary directory; where that is memory, the figure says nothing about your disk.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import uvloop

from classifiers.types import Receipt
from gateway.audit import records
from gateway.audit.ledger import Ledger
from gateway.audit.sweeper import Sweeper
from gateway.exchange import Exchange
from gateway.store.session import Database
from gateway.types import Principal, Scope
from model_runner.types import Message, Prompt, Role
from policies.types import Action, Decision, Policy, RuleOutcome, Stage

POLICY = Policy("baseline", "1.0.0", "ab" * 32, ())
PRINCIPAL = Principal("abcdefghijkl", "default", frozenset({Scope.CALLER}), 6000, 10_000_000)
DECISION = Decision(
    Stage.OUTPUT,
    Action.FLAG,
    ("self-harm-output",),
    (RuleOutcome("self-harm-output", "self_harm", 0.5312, Action.FLAG),),
    POLICY.id,
    POLICY.version,
    POLICY.digest,
    receipts=(
        Receipt("patterns@1", "cd" * 32, 312, 0, 0.4),
        Receipt("encoder@1", "ef" * 32, 312, 0, 6.25),
    ),
    scores={"self_harm": 0.5312, "violence": 0.0213},
)


def exchange_number(number: int) -> Exchange:
    """Return an exchange like any other, with an id of its own."""
    prompt = Prompt("gpt-oss-20b", (Message(Role.USER, "hello"),))
    return Exchange(
        f"req_{number:032x}", PRINCIPAL, prompt, POLICY, "responses", True, "upstream-token"
    )


async def _caller(ledger: Ledger, number: int, until: float, waits: list[float]) -> None:
    exchange = exchange_number(number)
    while (began := time.perf_counter()) < until:
        _, entry = records.decided(exchange, DECISION, None)
        await ledger.append(entry)
        waits.append(time.perf_counter() - began)


async def _measure(url: str, home: Path, callers: int, seconds: float) -> None:
    database = Database(url)
    await database.migrate()
    ledger = Ledger(database, home)
    await ledger.start()
    sweeper = Sweeper(ledger)
    await sweeper.start()
    waits: list[float] = []
    began, busy = time.perf_counter(), time.process_time()
    await asyncio.gather(
        *(_caller(ledger, number, began + seconds, waits) for number in range(callers))
    )
    elapsed, busy = time.perf_counter() - began, time.process_time() - busy
    waits.sort()
    print(
        f"{database.url.get_backend_name()}: {len(waits) / elapsed:,.0f} entries/s, "
        f"{callers} callers, p50 {waits[len(waits) // 2] * 1000:.2f} ms, "
        f"p99 {waits[len(waits) * 99 // 100] * 1000:.2f} ms, "
        f"{busy / len(waits) * 1e6:.0f} us of our CPU per entry"
    )
    await sweeper.aclose()
    await ledger.aclose()
    await database.aclose()


def main() -> None:
    """Measure one database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", metavar="URL", help="postgresql+asyncpg://...")
    parser.add_argument("--directory", help="where SQLite's file goes")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        url = args.postgres or f"sqlite+aiosqlite:///{directory}/ostiary.db"
        uvloop.run(_measure(url, Path(directory), args.callers, args.seconds))


if __name__ == "__main__":
    main()
