"""What `ostiary policy replay` does: recorded traffic, decided again under another policy.

Reads the log, or lines of it that were exported into a file, and asks no model. Long logs
are read by several processes, each a range.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import orjson

from gateway.audit.answers import cast_of
from gateway.replaying import PANEL, Replay, Tally
from gateway.store import entries, recorded
from gateway.store.recorded import DECISION, Wanted
from gateway.store.session import Database
from policies.load import parse_bundle, read_policy
from policies.replay import Replayer
from policies.types import Policy

BATCH = 2000  # decisions that are read at once
WORTH = 50_000  # decisions from which on another process is worth its start

Range = tuple[int, int]  # numbers of the log, or bytes of a file: from, to


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does.

    Attributes:
        bundle: The policy's, encoded.
        source: A database's URL, or a file's path.
        is_file: Which of them.
        wanted: Which decisions.
        span: Its part of them; of a file, the bytes of whole lines.
        panels: Who was there to answer, where a file says so: entries by id.
    """

    bundle: bytes
    source: str
    is_file: bool
    wanted: Wanted
    span: Range = (0, 0)
    panels: Mapping[str, bytes] | None = None


def replay(
    policy: str, wanted: Wanted, database_url: str, file: Path | None = None
) -> tuple[Policy, Tally]:
    """Return a policy and what would have come of recorded decisions under it.

    Args:
        policy: A file, or a built-in policy's name.
        wanted: Which decisions.
        database_url: Where the log is.
        file: Lines of the log instead, each an entry in JSON.

    Raises:
        PolicyError: If it is no policy.
        StoreUnavailable: If the log cannot be read.
        OSError, ValueError: If the file cannot be read, or is no such file.
    """
    read = read_policy(policy)
    _PARSED.clear()
    _PARSED[read.bundle.encoded()] = read.policy
    job = Job(read.bundle.encoded(), str(file or database_url), file is not None, wanted)
    jobs = _of_file(job) if file else asyncio.run(_of_log(job))
    tally = Tally()
    for part in _run(jobs):
        tally.add(part)
    return read.policy, tally


def _run(jobs: list[Job]) -> Iterator[Tally]:
    if len(jobs) == 1:
        yield work(jobs[0])
        return
    # A fork has the policy already; with other threads about it would not be safe.
    alone = threading.active_count() == 1 and "fork" in get_all_start_methods()
    context = get_context("fork" if alone else "spawn")
    with ProcessPoolExecutor(len(jobs), mp_context=context) as pool:
        yield from pool.map(work, jobs)


def work(job: Job) -> Tally:
    """Replay one range; a process of its own may do so."""
    gc.disable()  # a third of the time, and entries hold no circles
    try:
        return _work(job)
    finally:
        gc.enable()


def _work(job: Job) -> Tally:
    replayer = Replayer(_policy(job.bundle))
    if job.is_file:
        panels = {name: cast_of(orjson.loads(body)) for name, body in (job.panels or {}).items()}
        return _read_file(job, Replay(replayer, panels))
    database = Database(job.source)
    if database.is_sqlite:
        return _read_here(job, database, Replay(replayer))
    return asyncio.run(_read_log(job, database, Replay(replayer)))


_PARSED: dict[bytes, Policy] = {}  # by bundle; a process that is forked finds its own here


def _policy(bundle: bytes) -> Policy:
    if bundle not in _PARSED:
        _PARSED.clear()
        _PARSED[bundle] = parse_bundle(bundle).policy
    return _PARSED[bundle]


def _parts(first: int, last: int, count: int) -> list[Range]:
    """Return even ranges, one for each process that is worth it."""
    processes = max(1, min(os.cpu_count() or 1, count // WORTH))
    bounds = [first + (last - first) * part // processes for part in range(processes + 1)]
    return list(pairwise(bounds))


# --- The log ------------------------------------------------------------------------------


async def _of_log(job: Job) -> list[Job]:
    database = Database(job.source)
    try:
        await database.migrate()
        first, last, count = await recorded.span_of(database, job.wanted)
    finally:
        await database.aclose()
    wanted = replace(job.wanted, limit=None)
    return [
        replace(job, wanted=wanted, span=(low, high - 1))
        for low, high in _parts(first, last + 1, count)
    ]


def _read_here(job: Job, database: Database, replay: Replay) -> Tally:
    with recorded.reading(database) as log:
        found = recorded.bodies(log, job.wanted, *job.span)
        while batch := list(islice(found, BATCH)):
            replay.feed(batch)
            for panel in tuple(replay.waiting):
                replay.learn(panel, recorded.body_of(log, panel))
    return replay.tally


async def _read_log(job: Job, database: Database, replay: Replay) -> Tally:
    read = partial(recorded.decisions, database, job.wanted)
    first, last = job.span
    try:
        batch = await read(first, last, BATCH)
        while batch:
            # The next ones are fetched while these are decided.
            following = asyncio.create_task(read(batch[-1].seq + 1, last, BATCH))
            await asyncio.sleep(0)
            replay.feed(entry.body for entry in batch)
            for panel in tuple(replay.waiting):
                found = await entries.with_id(database, panel)
                replay.learn(panel, found[0].body if found else None)
            batch = await following
    finally:
        await database.aclose()
    return replay.tally


# --- A file -------------------------------------------------------------------------------


def _of_file(job: Job) -> list[Job]:
    """Look through the file once: where its decisions begin, and who was there to answer."""
    starts: list[int] = []
    panels: dict[str, bytes] = {}
    end = 0
    with Path(job.source).open("rb") as lines:
        for line in lines:
            if DECISION.encode() in line:
                starts.append(end)
            elif PANEL.encode() in line:
                entry = _entry(line)
                panels[str(entry.get("id"))] = line
            end += len(line)
    if job.wanted.limit is not None and _is_plain(job.wanted):
        starts = starts[max(0, len(starts) - job.wanted.limit) :]
    cuts = [low for low, _ in _parts(0, len(starts), len(starts))]
    bounds = [*(starts[cut] for cut in cuts if starts), end]
    return [replace(job, span=span, panels=panels) for span in pairwise(bounds)] or [job]


def _is_plain(wanted: Wanted) -> bool:
    return (wanted.since, wanted.until, wanted.project) == (None, None, None)


def _read_file(job: Job, replay: Replay) -> Tally:
    first, end = job.span
    with Path(job.source).open("rb") as lines:
        lines.seek(first)
        batch: list[bytes] = []
        while first < end and (line := lines.readline()):
            first += len(line)
            if DECISION.encode() in line:
                batch.append(line)
            if len(batch) == BATCH:
                _feed(job, replay, batch)
                batch = []
        _feed(job, replay, batch)
    return replay.tally


def _feed(job: Job, replay: Replay, lines: list[bytes]) -> None:
    if not _is_plain(job.wanted):
        lines = [line for line in lines if _is_wanted(_entry(line), job.wanted)]
    replay.feed(lines)
    for panel in tuple(replay.waiting):
        replay.learn(panel, None)


def _is_wanted(document: Mapping[str, object], wanted: Wanted) -> bool:
    at, actor = str(document["recorded_at"]), document["actor"]
    project = actor.get("project") if isinstance(actor, dict) else None
    return (
        (wanted.since is None or at >= wanted.since)
        and (wanted.until is None or at < wanted.until)
        and wanted.project in (None, project)
    )


def _entry(line: bytes) -> dict[str, object]:
    entry = orjson.loads(line)
    if not isinstance(entry, dict):
        raise ValueError("a line of the file is not an entry of the log")  # noqa: TRY004
    return entry
