"""Folds the log and compares: what the log says the tables must hold, and what they hold.

A row that somebody changed, added or took away behind the log's back shows, whichever way
it went. Nothing is repaired: which of the two is right is for people to find out, with the
checkpoints of the log in hand (`gateway.audit.verify`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.audit.bundle import Bundle, read_lines
from gateway.audit.entry_check import parse_canonical
from gateway.audit.fold import FOLDED, EndUser, Fold, Missing, Recorded, Row, Thing
from gateway.audit.projection import columns_of
from gateway.store import snapshot as store
from gateway.store.session import Database
from gateway.store.times import as_text, from_text
from policies.ladder import Ladder, Standing, standing

Progress = Callable[[int], None]
Ladders = Callable[[str], Sequence[Ladder]]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The log and a table say two things.

    Attributes:
        kind: `strike`, `sanction`, `stop`, `hold`, `erasure` or `key`.
        about: What it is about, as its table names it.
        log: What the log says; None for nothing.
        table: What the table says; None for nothing.
    """

    kind: str
    about: tuple[str, ...]
    log: Row | None
    table: Row | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was found.

    Attributes:
        entries: How many entries were folded.
        whole: Whether they begin with the log's first.
        compared: Whether there were tables to compare with.
        counts: How many strikes, stops, holds, erasures and keys the log leads to.
        disagreements: Where the tables say something else.
        missing: What is not in the log and ought to be.
        open: Requests that have not ended and need not have.
        sanctions: The last recorded sanction of each end user who has strikes that count.
    """

    entries: int
    whole: bool
    compared: bool
    counts: dict[str, int]
    disagreements: tuple[Disagreement, ...]
    missing: tuple[Missing, ...]
    open: int
    sanctions: tuple[Row, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing disagrees and nothing is missing."""
        return not self.disagreements and not self.missing

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        missing = [each._asdict() for each in self.missing]
        return {"equal": self.equal, **asdict(self), "missing": missing}


async def replay(
    database: Database, ladders: Ladders, now: datetime, progress: Progress = lambda done: None
) -> Replayed:
    """Fold the log of a database and compare it with its tables, all as of one moment.

    Args:
        database: Migrated.
        ladders: What strikes lead to in a project.
        now: The moment at which sanctions are compared.
        progress: Told how many entries are done.

    Raises:
        ValueError: If an entry cannot be used.
        StoreUnavailable: If the database cannot be read.
    """
    fold = Fold()
    async with store.snapshot(database) as connection:
        async for outline in store.outlines(connection, FOLDED):
            fold.take(_recorded(outline))
            progress(fold.entries)
        tables = await _tables(connection)
        swept = await store.swept_replicas(connection)
    states = (_without_lapsed(state, as_text(now)) for state in (fold.state, tables))
    found = [*differences(*states), *sanctions(fold.state, tables, ladders, now)]
    return _replayed(fold, swept, tuple(found), compared=True)


def replay_bundles(paths: Iterable[Path], progress: Progress = lambda done: None) -> Replayed:
    """Fold bundles that follow each other; there are no tables to compare them with.

    Whether they are what was signed is for `verify` to say.

    Raises:
        BundleError: If one is none.
        ValueError: If they are not in log order, or an entry cannot be used.
        OSError: If one cannot be read.
    """
    fold: Fold | None = None
    for path in paths:
        for entry in _entries_in(path):
            if fold is None:
                fold = Fold(whole=entry.seq == 1)
            fold.take(entry)
            progress(fold.entries)
    return _replayed(fold or Fold(), frozenset(), (), compared=False)


def differences(log: dict[Thing, Row], tables: dict[Thing, Row]) -> list[Disagreement]:
    """Return what the two do not agree on; what the log does not say is not compared."""
    found = []
    for thing in sorted(log.keys() | tables.keys()):
        said, kept = log.get(thing), tables.get(thing)
        if (
            said is None
            or kept is None
            or any(value is not None and kept[name] != value for name, value in said.items())
        ):
            found.append(Disagreement(thing[0], thing[1:], said, kept))
    return found


def sanctions(
    log: dict[Thing, Row], tables: dict[Thing, Row], ladders: Ladders, now: datetime
) -> list[Disagreement]:
    """Return the end users who stand elsewhere by the log than by the tables."""
    said, kept = _moments(log, tables), _moments(tables, tables)
    found = []
    for end_user in sorted(said.keys() | kept.keys()):
        steps = ladders(end_user[0])
        by_log = standing(steps, said.get(end_user, ()), now)
        by_table = standing(steps, kept.get(end_user, ()), now)
        if by_log != by_table:
            found.append(Disagreement("sanction", end_user, _row(by_log), _row(by_table)))
    return found


def _without_lapsed(state: dict[Thing, Row], now: str) -> dict[Thing, Row]:
    """Return a state without stops that have expired: their rows may be gone, or still be there."""
    return {
        thing: row for thing, row in state.items() if thing[0] != "stop" or row["expires_at"] > now
    }


def _moments(state: dict[Thing, Row], tables: dict[Thing, Row]) -> dict[EndUser, list[datetime]]:
    """Return when the strikes that count were made; the table's word where the log has none."""
    found: dict[EndUser, list[datetime]] = {}
    for thing, row in state.items():
        if thing[0] == "strike" and not row["reversed"]:
            at = row["struck_at"] or tables.get(thing, row)["struck_at"]
            if at is not None:
                found.setdefault((row["project"], row["subject"]), []).append(from_text(at))
    return found


async def _tables(connection: AsyncConnection) -> dict[Thing, Row]:
    """Return what the tables hold, as the fold says it."""
    state: dict[Thing, Row] = {}
    for row in await store.strikes(connection):
        state["strike", row["request_id"], row["rule"]] = {
            "project": row["project"],
            "subject": row["subject"],
            "decision": row["decision_id"],
            "policy": row["policy"],
            "struck_at": row["struck_at"],
            "reversed": row["reversed_at"] is not None,
            "reversed_at": row["reversed_at"],
        }
    for kind, rows in (
        ("hold", await store.holds(connection)),
        ("erasure", await store.erasures(connection)),
    ):
        for row in rows:
            state[kind, row["id"]] = {
                "project": row["project"],
                "subject": row["subject"] or "all",
            }
    for row in await store.stops(connection):
        state["stop", row["id"]] = {
            "project": row["project"],
            "subject": row["subject"] or "nobody",
            "decision": row["decision_id"],
            "rule": row["rule"],
            "error_type": row["error_type"],
            "expires_at": row["expires_at"],
            "lifted": row["lifted_at"] is not None,
        }
    for row in await store.keys(connection):
        state["key", row["prefix"]] = {
            "project": row["project"],
            "scopes": sorted(row["scopes"].split()),
            "expires_at": row["expires_at"] or "never",
            "revoked": row["revoked_at"] is not None,
        }
    return state


def _recorded(outline: store.Outline) -> Recorded:
    *columns, body = outline
    return Recorded._make((*columns, None if body is None else orjson.loads(body)))


def _entries_in(path: Path) -> Iterator[Recorded]:
    bundle = Bundle(path)
    for part in bundle.parts():
        lines, beside = read_lines(path, part.entries), read_lines(path, part.columns)
        for line, row in zip(lines, beside, strict=True):
            document = parse_canonical(line)
            columns = columns_of(document)
            said = columns._asdict()
            del said["project"]
            yield Recorded(seq=json.loads(row)[0], document=document, **said)


def _replayed(
    fold: Fold, swept: frozenset[str], found: tuple[Disagreement, ...], *, compared: bool
) -> Replayed:
    missing = (*fold.missing, *fold.never_ended(swept))
    late = sum(each.kind == "never_ended" for each in missing)
    counts = dict.fromkeys(("strike", "stop", "hold", "erasure", "key"), 0)
    for kind, *_ in fold.state:
        counts[kind] += 1
    last = tuple(
        {"project": project, "subject": subject, **sanction}
        for (project, subject), sanction in sorted(fold.sanctions.items())
    )
    return Replayed(
        fold.entries, fold.whole, compared, counts, found, missing, len(fold.open) - late, last
    )


def _row(found: Standing) -> Row:
    return {
        "sanction": found.sanction.name.lower(),
        "strikes": found.strikes,
        "since": found.since and as_text(found.since),
        "until": found.until and as_text(found.until),
    }
