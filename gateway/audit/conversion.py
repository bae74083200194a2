"""Writes the log in another program's format, with what shows where it was taken from.

The file, the checkpoints that cover the entries and a signed list of their hashes go into one
tar. Whoever trusts the log's key knows from that list which entries were written and that
nobody changed the file since; each row names its entry's leaf hash, which `ostiary audit proof`
and a bundle of the same time lead to the root that was signed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from pathlib import Path

import orjson

from gateway.audit.archive import Archive, whole_file
from gateway.audit.checkpoint import hash_text
from gateway.audit.export import Exported, Progress, Source, Stretch, stretches
from gateway.audit.formats.cef import CEF
from gateway.audit.formats.ocsf import OCSF
from gateway.audit.formats.otel import OTEL
from gateway.audit.formats.parquet import PARQUET
from gateway.audit.formats.separated import CSV
from gateway.audit.formats.types import Format, Record
from gateway.audit.merkle import leaf_hash
from gateway.audit.signed_files import KEY_CHANGES, SIGNED_LIST, FileList, LogPart
from gateway.audit.succession import Keyring, parse_succession
from gateway.notes import Note, NoteError, SigningKey, sign
from gateway.store.session import Database
from gateway.store.times import now_text
from gateway.store.trees import WholeEntry

FORMATS = {each.name: each for each in (CSV, PARQUET, OCSF, CEF, OTEL)}


async def convert(
    database: Database,
    what: Stretch,
    out: Path,
    format: Format,
    key: SigningKey,
    progress: Progress = lambda done, total: None,
) -> list[Exported]:
    """Write entries in a format; return what was written of each shard, the oldest first.

    Args:
        database: Where the log is.
        what: Which entries; without a shard those of all.
        out: The tar; one that is there is replaced when the new one is whole.
        format: One of `FORMATS`.
        key: The log's, to sign the list of files.
        progress: Told how many entries of how many are done.

    Raises:
        NotFound: If there is nothing to export.
        NoteError: If `key` is not the one that signed the log.
        MissingLibrary: If the format needs one that is not there.
        StoreUnavailable, OSError: If it could not be read or written; no file is left then.
    """
    sources = await stretches(database, what)
    logs = log_parts(sources, key)
    total, done = sum(source.count for source in sources), 0
    with whole_file(out) as file:
        archive = Archive(file)
        with archive.member(f"entries.{format.suffix}") as entries:
            writer = format.open(entries, version("ostiary"))
            for source in sources:
                async for records in _records(source):
                    writer.write(records)
                    done += len(records)
                    progress(done, total)
            writer.close()
        for source in sources:
            archive.add(f"checkpoint-{source.tree.shard}", source.tree.checkpoint or b"")
        if changes := sources[0].key_changes:
            archive.add(KEY_CHANGES, json.dumps(changes, ensure_ascii=False).encode())
        seal(archive, f"export {format.name}/{format.mapping}", what, logs, key)
    return [source.exported for source in sources]


def seal(
    archive: Archive, kind: str, what: Stretch, logs: tuple[LogPart, ...], key: SigningKey
) -> None:
    """Write the signed list of the files so far, and the archive's end."""
    listed = FileList(
        kind,
        now_text(),
        what.since or "-",
        what.until or "-",
        logs,
        dict(sorted(archive.digests.items())),
    )
    archive.add(SIGNED_LIST, sign(Note(listed.text()), key).encode())
    archive.end()


def log_parts(sources: Sequence[Source], key: SigningKey) -> tuple[LogPart, ...]:
    """Return what a list says of the entries.

    Raises:
        NoteError: If `key` is not the one that signed the log.
    """
    changes = [parse_succession(note.encode()) for note in sources[0].key_changes]
    keys = Keyring([key.verifier], changes)
    if keys.current != key.verifier:
        raise NoteError("this key of the log does not sign any more: another took over")
    heads = [keys.read(each.tree.checkpoint or b"") for each in sources]
    return tuple(
        LogPart(head.origin, source.first, source.count, head.size)
        for source, head in zip(sources, heads, strict=True)
    )


async def _records(source: Source) -> AsyncIterator[list[Record]]:
    index = source.first
    async for page in source.rows():
        yield [_record(source.tree.shard, index + at, row) for at, row in enumerate(page)]
        index += len(page)


def _record(shard: str, index: int, row: WholeEntry) -> Record:
    leaf = hash_text(leaf_hash(row.body))
    return Record(shard, index, row.seq, leaf, row.body, orjson.loads(row.body))
