"""How many entries a second an auditor verifies.

    python -m benchmarks.verify [--requests 100000] [--processes 1,2]
        [--without-orjson] [--varied]

Makes a log of requests, four entries each, as our builders and our ledger write them, puts
them into a bundle and verifies it as `ostiary audit verify` does. The time of this
process and its children is printed beside the clock's, since a machine may be busy. The
decisions are all alike but for their ids, or varied: up to three rules and categories, up
to three passages, scores with all their digits, durations by chance.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.ledger import DECISION, KEY, exchange_number
from benchmarks.tamper import Copy
from classifiers.types import Verdict
from gateway.audit import entry_check, records
from gateway.audit.bundle import BUNDLE_FORMAT
from gateway.audit.checkpoint import Checkpoint, sign_checkpoint
from gateway.audit.entry import Entry, Replica
from gateway.audit.merkle import leaf_hash, root_hash
from gateway.audit.verify import verify_file
from gateway.types import Outcome
from model_runner.types import Usage
from policies.types import Action, Decision, RuleOutcome

CATEGORIES = ["hate", "illicit", "self_harm", "sexual", "violence", "violence.weapons"]
REPLICA = Replica("rep_0123456789abcdef0123456789abcdef", "0.1.0")


def varied_decision(chance: random.Random) -> Decision:
    """Return a decision unlike the one before."""
    found = chance.sample(CATEGORIES, chance.randrange(1, 4))
    scores = {category: chance.random() for category in found}
    return replace(
        DECISION,
        outcomes=tuple(
            RuleOutcome(f"{category}-output", category, score, Action.FLAG)
            for category, score in scores.items()
        ),
        receipts=tuple(
            replace(receipt, duration_ms=chance.uniform(0.2, 20)) for receipt in DECISION.receipts
        ),
        scores=scores,
        verdicts=tuple(
            tuple(Verdict("encoder@1", category, chance.random()) for category in found)
            for _ in range(chance.randrange(1, 4))
        ),
    )


def _entries(requests: int, varied: bool) -> Iterator[Entry]:
    chance = random.Random(1)  # noqa: S311 - not a secret
    for number in range(requests):
        decision = varied_decision(chance) if varied else DECISION
        exchange = exchange_number(number)
        exchange.outcome, exchange.usage = Outcome.COMPLETED, Usage(812, 204, 61, 0)
        yield records.admitted(exchange, None)
        yield records.decided(exchange, decision, None)[1]
        yield records.stream_started(exchange, None)
        yield records.closed(exchange, None, 1.25)


def write_bundle(path: Path, requests: int, varied: bool = False) -> int:
    """Write a bundle; return how many entries are in it."""
    rows = [entry.row(REPLICA, seq) for seq, entry in enumerate(_entries(requests, varied), 1)]
    leaves = [leaf_hash(row.body) for row in rows]
    head = Checkpoint("log.example/2026h2", len(leaves), root_hash(leaves))
    columns = [
        json.dumps([seq, *row[:-1]], separators=(",", ":")).encode()
        for seq, row in enumerate(rows, 1)
    ]
    manifest: dict[str, object] = {"format": BUNDLE_FORMAT, "first": 0, "count": len(rows)}
    manifest |= {"left": [], "right": []}
    bodies = [row.body for row in rows]
    Copy(bodies, columns, leaves, sign_checkpoint(head, KEY), manifest).write(path)
    return len(rows)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--without-orjson", action="store_true", help="the standard library's")
    parser.add_argument("--varied", action="store_true", help="decisions unlike each other")
    args = parser.parse_args()
    if args.without_orjson:
        entry_check._fast = None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bundle"
        entries = write_bundle(path, args.requests, args.varied)
        print(f"{entries} entries, {path.stat().st_size / entries:.0f} bytes each")
        for processes in map(int, args.processes.split(",")):
            began, before = time.perf_counter(), os.times()
            report = verify_file(path, KEY.verifier, processes=processes)
            seconds, after = time.perf_counter() - began, os.times()
            if not report.intact:
                raise SystemExit(f"not intact: {report}")
            busy = sum(after[:4]) - sum(before[:4])
            print(
                f"{processes} processes: {entries / seconds:,.0f} entries/s, "
                f"{busy / entries * 1e6:.1f} us of CPU each, {busy / seconds:.2f} cores had"
            )


if __name__ == "__main__":
    main()
