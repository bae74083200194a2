"""What an outside auditor runs, on whatever they were given. Standard library only.

Files under a signed list are taken if the log's key signed it, each is the one that was
signed, there is none beside them, and every log among them is intact.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from gateway.audit.bundle import Bundle, BundleError, Span, read_notes
from gateway.audit.checkpoint import hash_text
from gateway.audit.signed_files import (
    KEY_CHANGES,
    SIGNED_LIST,
    FileList,
    FileSet,
    LogPart,
    holds_signed_files,
    parse_list,
)
from gateway.audit.verify import (
    Progress,
    Report,
    Tampered,
    Trust,
    signed_head,
    verify_bundle,
    verify_file,
)
from gateway.notes import NoteError, VerifierKey, parse_note, verify

_BUNDLE = re.compile(r"log-[0-9]{4}h[12]\.tar", re.ASCII)


def verify_anything(
    path: Path,
    key: VerifierKey | Trust,
    since: bytes | None = None,
    *,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Verify a bundle, a proof, or files under a signed list; see `verify_file`.

    Raises:
        BundleError: If nothing can be said.
        OSError: If it cannot be read.
    """
    if not holds_signed_files(path):
        return verify_file(path, key, since, processes=processes, progress=progress)
    try:
        trust = key if isinstance(key, Trust) else Trust(key)
        return _Files(FileSet(path), trust, processes, progress).verified(since)
    except Tampered as found:
        return Report(False, str(found), found.index)


class _Files:
    """The work on files under a signed list."""

    def __init__(self, files: FileSet, trust: Trust, processes: int | None, progress: Progress):
        self.files = files
        self.trust = trust
        self.processes = processes
        self.progress = progress
        self.keys = trust.keyring(self._key_changes())
        self.listed, self.vouched = self._listed()

    def verified(self, since: bytes | None) -> Report:
        older = signed_head(since, self.keys, "the older checkpoint") if since else None
        digests = self.listed.digests
        if missing := sorted(digests.keys() - self.files.names):
            raise Tampered(f"`{missing[0]}` is missing")
        if spare := sorted(self.files.names - digests.keys()):
            raise Tampered(f"`{spare[0]}` is not one of the files that were signed")
        for name, digest in digests.items():
            if self.files.digest(name) != digest:
                raise Tampered(f"`{name}` is not the file that was signed")
        logs = []
        for part in self.listed.logs:
            compared = since if older is not None and older.origin == part.origin else None
            logs.append(self._log(part, compared))
        if older is not None and not any(log.since is not None for log in logs):
            raise BundleError(f"no log of `{older.origin}` is in it, to be compared with yours")
        if not self.vouched:
            raise BundleError(
                "only a key that was replaced before the one that you trust signed the list of "
                "files, and whoever stole it could; ask for a list by the key that you trust"
            )
        return Report(
            True,
            what=self.listed.what,
            made=self.listed.made,
            files=len(digests),
            logs=tuple(logs),
        )

    def _listed(self) -> tuple[FileList, bool]:
        """Return the list, and whether more than a replaced key signed it."""
        try:
            note = parse_note(self.files.read(SIGNED_LIST))
            signers = verify(note, self.keys.keys)
            listed = parse_list(note.text)
            for part in listed.logs:
                self.keys.check_size(signers, part.origin, part.size)
        except NoteError as error:
            raise Tampered(f"the list of files: {error}") from error
        return listed, bool(self.keys.lasting(signers))

    def _key_changes(self) -> tuple[bytes, ...]:
        """Return how the log's key changed, as the files say; each change proves itself."""
        if KEY_CHANGES in self.files.names:
            try:
                return read_notes(json.loads(self.files.read(KEY_CHANGES)))
            except ValueError as error:
                raise BundleError(f"`{KEY_CHANGES}` cannot be used") from error
        bundles = (name for name in sorted(self.files.names) if _BUNDLE.fullmatch(name))
        notes = (Bundle(*self.files.place(name)).manifest.keys for name in bundles)
        return tuple(dict.fromkeys(note for each in notes for note in each))

    def _log(self, part: LogPart, since: bytes | None) -> Report:
        bundle, alone = f"log-{part.shard}.tar", f"checkpoint-{part.shard}"
        if bundle in self.listed.digests:
            report = self._bundle(*self.files.place(bundle), since)
        elif alone in self.listed.digests:
            head = signed_head(self.files.read(alone), self.keys, f"`{alone}`", self.trust.mldsa)
            root = hash_text(head.root)
            report = Report(True, origin=head.origin, size=head.size, root=root)
            report = replace(report, first=part.first, entries=part.count)
        else:
            raise Tampered(f"nothing shows what the log `{part.origin}` was")
        said = (report.origin, report.first, report.entries, report.size)
        if said != (part.origin, part.first, part.count, part.size):
            raise Tampered(f"what is there of `{part.origin}` is not what was signed")
        return report

    def _bundle(self, path: Path, within: Span, since: bytes | None) -> Report:
        bundle = Bundle(path, within)
        trust = replace(self.trust, key_changes=(*self.trust.key_changes, *self._key_changes()))
        return verify_bundle(bundle, trust, since, self.processes, self.progress)
