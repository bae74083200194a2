"""How many recorded decisions a second `ostiary policy replay` decides again.

    python -m benchmarks.replay [--count 200000] [--keep FILE]

Makes entries as the gateway writes them: an encoder's scores in 13 categories for each
passage, drawn so that no two are alike, patterns that find something in one of ten, now and
then a judge or an answer missing; 2,000 end users of five projects. They go into an SQLite
log and into a file, and are replayed from both under the baseline and under the policy of
200 rules of `benchmarks.policy`. Then once more with nothing remembered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from time import perf_counter

from uuid_utils import uuid7

from benchmarks.policy import policy_text
from classifiers.types import Assessment, Passage, Receipt, Verdict
from gateway.audit import records
from gateway.audit.answers import panel_recorded
from gateway.audit.entry import Entry, Replica
from gateway.exchange import Exchange
from gateway.policy_replay import replay
from gateway.replaying import Replay
from gateway.store import replicas
from gateway.store.entries import MAX_BATCH, open_writer
from gateway.store.recorded import Wanted
from gateway.store.session import Database
from gateway.types import Principal, Scope
from model_runner.types import Message, Prompt, Role
from policies.circumstances import Circumstances
from policies.evaluate import evaluate
from policies.load import load_policy, read_policy
from policies.replay import Replayer
from policies.testing import SOURCE_AT
from policies.types import Policy, Stage

CHANCE = Random(6)  # noqa: S311 - made up, not secret
REPLICA = Replica("rep_benchmark", "1.0")
RECEIPTS = tuple(
    Receipt(name, "ab" * 32, 300, 0, duration)
    for name, duration in (("encoder@3", 6.1), ("patterns@5", 0.2))
)
STAGES = (Stage.INPUT, Stage.REASONING, Stage.OUTPUT, Stage.OUTPUT)


def entries(policy: Policy, count: int) -> Iterator[Entry]:
    """Yield entries of made-up traffic, the panel's first."""
    names = sorted({rule.category for rule in policy.rules})
    covered = dict.fromkeys(names, frozenset({"encoder@3", "patterns@5"}))
    panel = panel_recorded(covered, {})
    yield panel
    for number in range(count):
        if number % len(STAGES) == 0:
            exchange, subject = _exchange(policy)
        stage = STAGES[number % len(STAGES)]
        passages = CHANCE.choice([1, 1, 1, 3]) if stage is Stage.INPUT else 1
        verdicts = tuple(tuple(_verdicts(names)) for _ in range(passages))
        made = Assessment((Passage(SOURCE_AT[stage], "x"),) * passages, verdicts, RECEIPTS, covered)
        decision = evaluate(policy, stage, made, exchange.circumstances)
        yield records.decided(exchange, decision, subject, panel=panel.id)[1]


def _verdicts(names: list[str]) -> Iterator[Verdict]:
    down = CHANCE.random() < 0.002
    for name in names[:13]:
        low = round(CHANCE.betavariate(1, 30), 4)
        yield Verdict("encoder@3", name, None if down else low, error="timeout" if down else None)
    if CHANCE.random() < 0.1:
        for name in CHANCE.sample(names, CHANCE.randint(1, 2)):
            yield Verdict("patterns@5", name, round(CHANCE.uniform(0.5, 1), 2))


def _exchange(policy: Policy) -> tuple[Exchange, str]:
    subject = f"{CHANCE.randrange(2000):032x}"
    given = Circumstances(
        project=f"shop-{CHANCE.randint(1, 5)}",
        tier=CHANCE.choice(["free", "pro"]),
        endpoint=CHANCE.choice(["responses", "chat"]),
        model=CHANCE.choice(["gpt-oss-20b", "gpt-oss-120b"]),
        stream=CHANCE.random() < 0.5,
        locale=CHANCE.choice(["", "de-AT", "en-US"]),
        end_user=subject,
    )
    principal = Principal("AbC", given.project, frozenset({Scope.CALLER}), 10, 1000)
    prompt = Prompt(given.model, (Message(Role.USER, "x"),))
    exchange = Exchange(
        f"req_{uuid7().hex}",
        principal,
        prompt,
        policy,
        given.endpoint,
        given.stream,
        "vllm",
        circumstances=given,
    )
    return exchange, subject


async def fill(url: str, made: Iterator[Entry], file: Path) -> int:
    """Write entries into a log and, as they lie there, into a file; return their bytes."""
    database = Database(url)
    await database.migrate()
    await replicas.register(database, REPLICA.id, REPLICA.build, 0.0)
    writer = open_writer(database)
    size, rows = 0, []
    with file.open("wb") as lines:
        for number, entry in enumerate(made, 1):
            rows.append(entry.row(REPLICA, number))
            size += len(rows[-1].body)
            lines.write(rows[-1].body + b"\n")
            if len(rows) == MAX_BATCH:
                await writer.append(rows, REPLICA.id)
                rows = []
        if rows:
            await writer.append(rows, REPLICA.id)
    await writer.aclose()
    await database.aclose()
    return size


def forgetful(policy: Policy, file: Path, count: int) -> float:
    """Return how many decisions a second of a processor decides that remembers none."""
    with file.open("rb") as lines:
        bodies = [next(lines) for _ in range(count + 1)]
    replayer = Replayer(policy)
    reading = Replay(replayer)
    entry = json.loads(bodies[0])
    reading.learn(entry["id"], bodies[0])
    used = _processor_s()
    for body in bodies[1:]:
        reading.feed([body])
        replayer.forget()
    return count / (_processor_s() - used)


def main() -> None:
    """Make the traffic, and replay it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        large, file = Path(home) / "large.yaml", Path(home) / "log.jsonl"
        large.write_text(policy_text())
        url = f"sqlite+aiosqlite:///{home}/log.db"
        baseline = load_policy("baseline")
        size = asyncio.run(fill(url, entries(baseline, options.count), file))
        print(f"{options.count:,} decisions, {size / options.count:,.0f} bytes each")
        for name in ("baseline", str(large)):
            for source in (None, file):
                # Conditions on scores leave nothing to be remembered: a part will do.
                limit = None if name == "baseline" else 4000
                _replayed(name, url, source, limit, options.rounds)
            policy = replace(read_policy(name).policy)
            rate = max(forgetful(policy, file, 5000) for _ in range(options.rounds))
            print(
                f"{Path(name).stem:<10} {rate:>8,.0f} for each second of a processor, "
                "nothing remembered"
            )


def _replayed(name: str, url: str, source: Path | None, limit: int | None, rounds: int) -> None:
    best = by_processor = 0.0
    for _ in range(rounds):
        started, used = perf_counter(), _processor_s()
        _, tally = replay(name, Wanted(limit=limit), url, source)
        best = max(best, tally.replayed / (perf_counter() - started))
        by_processor = max(by_processor, tally.replayed / (_processor_s() - used))
    share = 100 * tally.remembered / tally.replayed
    where = "file" if source else "SQLite"
    print(
        f"{Path(name).stem:<10} {where:<7} {best:>8,.0f}/s, {by_processor:>8,.0f} for each second "
        f"of a processor; {share:.1f} % remembered, {tally.flipped():,} flips",
        flush=True,
    )


def _processor_s() -> float:
    usages = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
