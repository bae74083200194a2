"""How many entries a second an auditor verifies.

    python -m benchmarks.verify [--requests 100000] [--processes 1,2] [--without-orjson]

Makes a log of requests, four entries each, as our builders and our ledger write them, puts
them into a bundle and verifies it as `ostiary audit verify` does. The time of this
process and its children is printed beside the clock's, since a machine may be busy.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ledger import DECISION, KEY, exchange_number
from benchmarks.tamper import Copy
from gateway.audit import entry_check, records
from gateway.audit.bundle import BUNDLE_FORMAT
from gateway.audit.checkpoint import Checkpoint, sign_checkpoint
from gateway.audit.entry import Entry, Replica
from gateway.audit.merkle import leaf_hash, root_hash
from gateway.audit.verify import verify_file
from gateway.types import Outcome
from model_runner.types import Usage

REPLICA = Replica("rep_0123456789abcdef0123456789abcdef", "0.1.0")


def _entries(requests: int) -> Iterator[Entry]:
    for number in range(requests):
        exchange = exchange_number(number)
        exchange.outcome, exchange.usage = Outcome.COMPLETED, Usage(812, 204, 61, 0)
        yield records.admitted(exchange, None)
        yield records.decided(exchange, DECISION, None)[1]
        yield records.stream_started(exchange, None)
        yield records.closed(exchange, None, 1.25)


def write_bundle(path: Path, requests: int) -> int:
    """Write a bundle; return how many entries are in it."""
    rows = [entry.row(REPLICA, seq) for seq, entry in enumerate(_entries(requests), 1)]
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
    args = parser.parse_args()
    if args.without_orjson:
        entry_check._fast = None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bundle"
        entries = write_bundle(path, args.requests)
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
