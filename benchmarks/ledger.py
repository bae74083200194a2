"""How many entries a second the decision log takes, and how long a caller waits.

    python -m benchmarks.ledger [--postgres URL] [--callers 64] [--seconds 5] [--rate 0]
        [--no-tree] [--bundle FILE]

Each caller appends a decision and waits until it is durable, then the next: the worst
case for group commit, since nobody is ahead. With a rate each caller keeps to its share of
that many entries a second instead. Meanwhile the tree grows and is signed every second, as
in a gateway, unless it is told not to. Without a URL it measures SQLite in a temporary
directory; where that is memory, the figure says nothing about your disk.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from classifiers.types import Receipt
from gateway.audit import records
from gateway.audit.export import Stretch, export
from gateway.audit.heads import FileHeads
from gateway.audit.ledger import Ledger
from gateway.audit.log_key import GivenLogKeys
from gateway.audit.log_tree import LogTree
from gateway.audit.sweeper import Sweeper
from gateway.exchange import Exchange
from gateway.notes import SigningKey
from gateway.store.session import Database
from gateway.types import Principal, Scope
from model_runner.types import Message, Prompt, Role
from policies.types import Action, Decision, Policy, RuleOutcome, Stage

KEY = SigningKey("log.example", b"k" * 32)
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


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the log.

    Attributes:
        callers: How many at once.
        seconds: For how long.
        rate: Entries a second of all of them together; 0 is as fast as they can.
        tree: Whether the tree grows meanwhile.
    """

    callers: int
    seconds: float
    rate: float
    tree: bool


async def _caller(ledger: Ledger, number: int, load: Load, waits: list[float]) -> None:
    exchange = exchange_number(number)
    pause_s = load.callers / load.rate if load.rate else 0.0
    due = time.perf_counter() + pause_s * number / load.callers
    until = time.perf_counter() + load.seconds
    while (began := time.perf_counter()) < until:
        if pause_s:
            await asyncio.sleep(max(0.0, due - began))
            began, due = time.perf_counter(), due + pause_s
        _, entry = records.decided(exchange, DECISION, None)
        await ledger.append(entry)
        waits.append(time.perf_counter() - began)


async def _measure(url: str, home: Path, load: Load, bundle: Path | None) -> None:
    database = Database(url)
    await database.migrate()
    tree = LogTree(database, GivenLogKeys(KEY), FileHeads(home / "heads"))
    ledger = Ledger(database, home)
    await ledger.start()
    if load.tree:
        await tree.start()
    sweeper = Sweeper(ledger)
    await sweeper.start()
    waits: list[float] = []
    began, busy = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_caller(ledger, number, load, waits) for number in range(load.callers)))
    elapsed, busy = time.perf_counter() - began, time.process_time() - busy
    waits.sort()
    print(
        f"{database.url.get_backend_name()}: {len(waits) / elapsed:,.0f} entries/s, "
        f"{load.callers} callers, p50 {waits[len(waits) // 2] * 1000:.2f} ms, "
        f"p99 {waits[len(waits) * 99 // 100] * 1000:.2f} ms, "
        f"{busy / len(waits) * 1e6:.0f} us of our CPU per entry"
    )
    if load.tree:
        size = tree.head.size if tree.head else 0
        began = time.perf_counter()
        await tree.turn()
        print(
            f"  {size} of {len(waits)} entries were signed by then, the rest "
            f"{time.perf_counter() - began:.2f} s later; alarm: {tree.alarm}"
        )
    if bundle is not None:
        await export(database, Stretch(), bundle)
        print(f"  wrote {bundle}; its key is {KEY.verifier}")
    await sweeper.aclose()
    await ledger.aclose()
    await tree.aclose()
    await database.aclose()


def main() -> None:
    """Measure one database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", metavar="URL", help="postgresql+asyncpg://...")
    parser.add_argument("--directory", help="where SQLite's file goes")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0, help="entries a second of all callers")
    parser.add_argument("--no-tree", action="store_true", help="the log alone")
    parser.add_argument("--bundle", type=Path, help="export the log there in the end")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        url = args.postgres or f"sqlite+aiosqlite:///{directory}/ostiary.db"
        load = Load(args.callers, args.seconds, args.rate, not args.no_tree)
        uvloop.run(_measure(url, Path(directory), load, args.bundle))


if __name__ == "__main__":
    main()
