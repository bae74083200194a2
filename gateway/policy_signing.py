"""Keys, signatures and trust in files: what `ostiary policy keygen`, `sign` and `verify` do."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.notes import Note, NoteError, new_key, parse_note, parse_signing_key, sign
from gateway.policy_bundle import Candidate, read_candidate
from gateway.policy_signatures import Trust, statement, trust_in
from gateway.settings import Settings


def make_key(name: str, path: Path) -> str:
    """Write a new signing key to `path`, readable by its owner alone; return its verifier key.

    Raises:
        NoteError: If `name` cannot be a key's.
        OSError: If the file cannot be made; one that is there is never overwritten.
    """
    key = new_key(name)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{key.secret_text()}\n")
    return str(key.verifier)


def sign_policy(source: str, key_file: Path, note_file: Path) -> str:
    """Add a signature of a policy to a note, making the note if there is none.

    Returns:
        The name of the key that signed.

    Raises:
        PolicyError: If the policy does not load, or a test of its own fails.
        NoteError: If key or note are malformed, or the note is about something else.
        OSError: If a file cannot be read or written.
    """
    key = parse_signing_key(key_file.read_text(encoding="utf-8").rstrip("\n"))
    note = Note(_statement(read_candidate(source)))
    if note_file.exists():
        signed = parse_note(note_file.read_bytes())
        if signed.text != note.text:
            raise NoteError(
                f"`{note_file}` signs another version or content; delete it to begin anew"
            )
        note = signed
    note_file.write_bytes(sign(note, key).encode())
    return key.name


def verify_policy(source: str, note_file: Path, keys_file: Path, wanted: int) -> tuple[str, ...]:
    """Return the names of the trusted keys that signed a policy.

    Raises:
        PolicyError: If the policy does not load, or a test of its own fails.
        NoteError: If they are fewer than wanted, or the note does not fit.
        ValueError: If the keys cannot be used.
        OSError: If a file cannot be read.
    """
    trust = read_trust(keys_file, wanted)
    return trust.signers(note_file.read_bytes(), _statement(read_candidate(source)))


def open_trust(settings: Settings) -> Trust:
    """Return the trust that the settings ask for. Raises as `read_trust`."""
    if not settings.policy_keys:
        return Trust()
    return read_trust(Path(settings.policy_keys), settings.policy_signatures)


def read_trust(keys_file: Path, wanted: int) -> Trust:
    """Return the trust in a file of verifier keys.

    Raises:
        ValueError: If it holds none, too few, or something else.
        OSError: If it cannot be read.
    """
    try:
        return trust_in(keys_file.read_text(encoding="utf-8"), wanted)
    except ValueError as error:
        raise ValueError(f"`{keys_file}`: {error}") from error


def _statement(candidate: Candidate) -> str:
    return statement(candidate.id, candidate.version, candidate.digest)
