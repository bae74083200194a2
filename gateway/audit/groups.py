"""What the ledger queues for its writer: entries that are written together or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.audit.entry import Entry


@dataclass(slots=True, eq=False)
class Admission:
    """The record that a request was admitted, written with whatever of it comes first.

    Holding it back saves a commit: nothing is acted on before the first decision.
    """

    entry: Entry
    written: bool = False
    in_batch: bool = False


@dataclass(slots=True, eq=False)
class Group:
    """Entries that are written together or not at all.

    Attributes:
        entries: In order.
        done: Resolved when they are durable, or failed.
        admission: Goes first, unless it is in the log already.
        settle: Told whether they were written, even if nobody waits any more.
        spools: Whether they may wait in the spool while the log cannot be written.
    """

    entries: tuple[Entry, ...]
    done: asyncio.Future[None]
    admission: Admission | None = None
    settle: Callable[[bool], None] | None = None
    spools: bool = False


def flattened(batch: Iterable[Group]) -> list[Entry]:
    """Return the entries of a batch in order, admissions that are not written yet before theirs."""
    entries: list[Entry] = []
    for group in batch:
        admission = group.admission
        if admission is not None and not (admission.written or admission.in_batch):
            admission.in_batch = True
            entries.append(admission.entry)
        entries.extend(group.entries)
    return entries
