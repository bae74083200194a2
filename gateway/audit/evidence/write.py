"""Writes evidence: the entries of a time as a bundle, and what is to be said of them.

The bundle is written first and verified; what is counted is what lies in it, so that the
report says nothing that whoever holds it cannot count themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from gateway.audit.archive import Archive, draft_of, whole_file
from gateway.audit.bundle import Bundle, read_lines
from gateway.audit.conversion import log_parts, seal
from gateway.audit.evidence.checks import Keeping, Period, Situation, findings
from gateway.audit.evidence.document import Origin, document
from gateway.audit.evidence.framework import read_framework
from gateway.audit.evidence.report import html
from gateway.audit.evidence.tally import Tally
from gateway.audit.export import Progress, Source, Stretch, stretches, write_bundle
from gateway.audit.projection import columns_of
from gateway.audit.succession import Keyring, parse_succession
from gateway.audit.tiles import WIDTH
from gateway.audit.verify import Report, Tampered, Trust, verify_bundle
from gateway.notes import SigningKey
from gateway.store import evidence as store
from gateway.store.session import Database
from gateway.store.times import now_text

_STEPS = 3  # each entry is written, verified and counted


@dataclass(frozen=True, slots=True)
class Wanted:
    """What evidence is wanted.

    Attributes:
        framework: The file of one; see `gateway.audit.evidence.framework`.
        what: Of which time.
        actor: Who wants it: `cli`, and a name if one was given.
        keeping: How content is kept.
    """

    framework: bytes
    what: Stretch
    actor: str
    keeping: Keeping


async def write_evidence(
    database: Database,
    wanted: Wanted,
    out: Path,
    key: SigningKey,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Write evidence into a tar under a signed list of files; return its document.

    Raises:
        NotFound: If nothing was recorded in that time that a checkpoint covers.
        NoteError: If `key` is not the one that signed the log.
        ValueError: If the framework's file cannot be used.
        StoreUnavailable, OSError: If it could not be read or written; no file is left then.
    """
    framework = read_framework(wanted.framework)
    made = now_text()
    until = min(wanted.what.until or made, made)
    what = Stretch(wanted.what.shard, wanted.what.since, until)
    sources = await stretches(database, what)
    logs = log_parts(sources, key)
    work = _Work(
        draft_of(out), _trust(sources[0], key), progress, sum(source.count for source in sources)
    )
    with whole_file(out) as file:
        archive = Archive(file)
        for source in sources:
            await work.write(archive, source)
        file.flush()
        reports = tuple(work.verified(archive, source) for source in sources)
        began = await store.began(database) or made
        tally = Tally(framework, max(what.since or began, began))
        for source in sources:
            tally.add(work.entries(archive, source))
        tally.end(until)
        period = Period(what.since, until, made, began)
        situation = await _situation(database, tally, reports, sources, period, wanted)
        origin = Origin(version("ostiary"), str(key.verifier), wanted.actor)
        said = document(framework, situation, findings(situation, framework.checks), origin)
        archive.add("evidence.json", json.dumps(said, indent=1, ensure_ascii=False).encode())
        archive.add("mapping.toml", wanted.framework)
        archive.add("report.html", html(said, tally).encode())
        seal(archive, f"evidence {framework.id}/{framework.version}", what, logs, key)
    return said


async def _situation(
    database: Database,
    tally: Tally,
    reports: tuple[Report, ...],
    sources: list[Source],
    period: Period,
    wanted: Wanted,
) -> Situation:
    unsigned, last = await store.unsigned(database, sources[-1].tree, period.until, WIDTH)
    shards = [source.tree.shard for source in sources]
    return Situation(
        tally,
        reports,
        period,
        unsigned=unsigned,
        last_signed=last,
        witnesses=await store.witnesses(database, shards),
        keeping=wanted.keeping,
        keep_days=tally.framework.keep_days,
        keep_why=tally.framework.keep_why,
    )


def _trust(source: Source, key: SigningKey) -> Trust:
    """Return the log's first key as trusted: whoever keeps the log believes each it had."""
    changes = [parse_succession(note.encode()) for note in source.key_changes]
    changes = list(Keyring([key.verifier], changes).changes)
    return Trust(changes[0].old if changes else key.verifier)


class _Work:
    """Goes over the entries, again and again, and tells how far it is."""

    def __init__(self, draft: Path, trust: Trust, progress: Progress, entries: int):
        self._draft = draft
        self._trust = trust
        self._tell = progress
        self._total = entries * _STEPS
        self._done = 0

    async def write(self, archive: Archive, source: Source) -> None:
        with archive.member(_name(source)) as file:
            await write_bundle(source, Archive(file), self._progress(source))
        self._done += source.count

    def verified(self, archive: Archive, source: Source) -> Report:
        bundle = self._bundle(archive, source)
        try:
            report = verify_bundle(bundle, self._trust, None, None, self._progress(source))
        except Tampered as found:
            report = Report(False, str(found), found.index)
        self._done += source.count
        return report

    def entries(self, archive: Archive, source: Source) -> Iterator[Mapping[str, Any]]:
        tell = self._progress(source)
        for part in self._bundle(archive, source).parts():
            for line in read_lines(self._draft, part.entries):
                if (entry := _read(line)) is not None:
                    yield entry
            tell(part.first + part.lines, source.count)
        self._done += source.count

    def _bundle(self, archive: Archive, source: Source) -> Bundle:
        return Bundle(self._draft, archive.spans[_name(source)])

    def _progress(self, source: Source) -> Progress:
        before = self._done
        return lambda done, total: self._tell(before + done, self._total)


def _read(line: bytes) -> Mapping[str, Any] | None:
    """Return an entry, None of a line that is none: that the log is not intact is said apart."""
    try:
        entry = orjson.loads(line)
        return entry if len(columns_of(entry)) and entry["recorded_at"][:13] else None
    except (ValueError, KeyError, TypeError):
        return None


def _name(source: Source) -> str:
    return f"log-{source.tree.shard}.tar"
