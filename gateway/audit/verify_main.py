"""The verifier as a program of its own: what the one file runs. Standard library only.

    python ostiary_verify.py BUNDLE --key KEY [--since OLD] [--json]

Exit status: 0 intact, 1 tampered, 2 wrong usage, or nothing can be said.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gateway.audit.bundle import BundleError
from gateway.audit.cosignature import cosignatures, parse_witness_key
from gateway.audit.mldsa import MldsaKey, parse_mldsa_key
from gateway.audit.verify import Progress, Report, Trust
from gateway.audit.verify_files import verify_anything
from gateway.notes import NoteError, VerifierKey, parse_note, parse_verifier_key

INTACT, TAMPERED, UNKNOWN = 0, 1, 2


def read_verifier_key(given: str) -> VerifierKey:
    """Return a key that is given as it is, or as a file that holds it.

    Raises:
        NoteError: If it is neither.
    """
    return parse_verifier_key(_key_text(given))


def read_mldsa_key(given: str) -> MldsaKey:
    """Return an ML-DSA-44 key; as `read_verifier_key`."""
    return parse_mldsa_key(_key_text(given))


def _key_text(given: str) -> str:
    if "+" in given and not _is_file(given):
        return given
    try:
        return Path(given).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise NoteError(f"`{given[:80]}` is neither a verifier key nor a file with one") from error


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except OSError:  # too long for a name: a key
        return False


def in_words(report: Report) -> str:
    """Return a report as people read it."""
    if not report.intact:
        where = "" if report.index is None else f" at entry {report.index}"
        return f"TAMPERED{where}: {report.problem}"
    if report.what is not None:
        lines = [f"intact: {report.what}, made {report.made}, {report.files} files as signed"]
        return "\n".join([*lines, *map(_of_log, report.logs)])
    lines = [f"intact: {report.origin}, {report.size} entries, root {report.root}"]
    if report.mldsa:
        lines.append("  signed with ML-DSA-44 too")
    if report.keys:
        lines.append(f"  the log had {len(report.keys)} keys, each announced by the one before")
    if report.open_requests is None:
        lines.append(f"  entry {report.first} is in it")
        return "\n".join(lines)
    last = (report.first or 0) + (report.entries or 0) - 1
    lines.append(f"  entries {report.first} to {last} are here, every one as it was signed")
    lines.append("  no replica's numbers have a gap, and no request has ended twice")
    if report.open_requests:
        lines.append(f"  {report.open_requests} requests had not ended yet")
    if report.since is not None:
        lines.append(f"  the first {report.since} entries are those of the older checkpoint")
    return "\n".join(lines)


def _of_log(report: Report) -> str:
    """Return what a signed list of files has of a log."""
    if report.open_requests is not None:
        return in_words(report)
    return f"  made of {report.entries} of {report.size} entries of {report.origin}"


class Also(NamedTuple):
    """What must hold besides, keys as they are given.

    Attributes:
        mldsa_key: The log's, which must have signed too.
        witness_keys: Of those who must all have cosigned the older checkpoint.
    """

    mldsa_key: str | None = None
    witness_keys: Sequence[str] = ()


NOTHING_ELSE = Also()


def checked(
    path: Path,
    key: str,
    since: Path | None,
    processes: int | None,
    progress: Progress,
    also: Also = NOTHING_ELSE,
) -> tuple[int, Report | str]:
    """Return the exit status, and the report or why there is none."""
    try:
        older = since.read_bytes() if since is not None else None
        verifier = read_verifier_key(key)
        second = read_mldsa_key(also.mldsa_key) if also.mldsa_key is not None else None
        if (missing := _not_cosigned(older, also.witness_keys)) is not None:
            return TAMPERED, Report(False, f"the older checkpoint: {missing}")
        trust = Trust(verifier, second)
        report = verify_anything(path, trust, older, processes=processes, progress=progress)
    except (BundleError, NoteError) as error:
        return UNKNOWN, f"{path}: {error}"
    except OSError as error:
        return UNKNOWN, f"{error.filename}: {(error.strerror or 'it cannot be read').lower()}"
    return INTACT if report.intact else TAMPERED, report


def _not_cosigned(older: bytes | None, given: Sequence[str]) -> str | None:
    """Return which of these witnesses did not cosign a checkpoint, None if all did.

    Raises:
        BundleError: If there is none to look at.
        NoteError: If a key is none.
    """
    keys = [parse_witness_key(_key_text(each)) for each in given]
    if not keys:
        return None
    if older is None:
        raise BundleError("witnesses cosign the checkpoint that is given as --since")
    try:
        found = {each.witness for each in cosignatures(parse_note(older), keys)}
    except NoteError as error:
        return str(error)
    missing = [key.name for key in keys if key not in found]
    return f"`{missing[0]}` has not cosigned it" if missing else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one bundle; return the exit status."""
    parser = argparse.ArgumentParser(description="Verify a bundle or a proof of Ostiary's log.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", required=True, help="the log's verifier key, or a file with it")
    parser.add_argument("--mldsa-key", help="require a signature by this ML-DSA-44 key too")
    parser.add_argument(
        "--witness-key", action="append", help="require that this witness cosigned --since"
    )
    parser.add_argument("--since", type=Path, help="a checkpoint that you were given earlier")
    parser.add_argument("--processes", type=int, help="as many as there are cores by default")
    parser.add_argument("--json", action="store_true", help="machine-readable output")
    given = parser.parse_args(arguments)
    progress = _bar if sys.stderr.isatty() else _silence
    also = Also(given.mldsa_key, given.witness_key or ())
    status, answer = checked(given.bundle, given.key, given.since, given.processes, progress, also)
    if isinstance(answer, str):
        sys.stderr.write(f"{answer}\n")
    else:
        said = json.dumps(answer.document()) if given.json else in_words(answer)
        sys.stdout.write(f"{said}\n")
    return status


def _bar(done: int, total: int) -> None:
    sys.stderr.write(f"\r{done} of {total} entries" + ("\n" if done >= total else ""))


def _silence(done: int, total: int) -> None:
    """Say nothing: the output goes into a file."""


if __name__ == "__main__":
    raise SystemExit(main())
