"""Who signed a policy: signed notes over its id, version and digest.

The note says nothing but which policy is meant, so it can lie beside the file, travel with
a request and be made on a machine that has no database. Two people sign by two lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.notes import (
    Note,
    NoteError,
    Signature,
    VerifierKey,
    parse_note,
    parse_trusted_keys,
    verify,
)

_FORMAT = "ostiary-policy/v1"


def statement(policy_id: str, version: str, digest: str) -> str:
    """Return the text that is signed."""
    return f"{_FORMAT}\n{policy_id}\n{version}\n{digest}\n"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures a policy needs before it may come into force.

    Attributes:
        keys: Those that count; empty where no signatures are asked for.
        wanted: By how many different keys.

    Raises:
        ValueError: If more are wanted than there are.
    """

    keys: tuple[VerifierKey, ...] = ()
    wanted: int = 1

    def __post_init__(self) -> None:
        """Refuse what nobody could fulfil."""
        if self.keys and self.wanted > len(self.keys):
            raise ValueError(f"{self.wanted} signatures are wanted, by {len(self.keys)} keys")

    def signers(self, note: bytes | None, text: str) -> tuple[str, ...]:
        """Return the names of the trusted keys that signed `text`.

        Raises:
            NoteError: If there are fewer than wanted, the note is about something else, or
                a line by a trusted key is not valid.
        """
        if not self.keys:
            return ()
        signed = self._signed(note, text) if note else ()
        if len(signed) < self.wanted:
            raise NoteError(
                f"{self.wanted} signatures by trusted keys are needed; there are {len(signed)}"
            )
        return tuple(key.name for key in signed)

    def merged(self, old: bytes | None, new: bytes, text: str) -> bytes:
        """Return the note with the signatures of both, as far as they are worth keeping.

        With trusted keys only theirs are kept, so nobody can fill or spoil a note.

        Raises:
            NoteError: If the new note is malformed, about something else, not signed by a
                trusted key, or signed by one and not valid.
        """
        added = _about(parse_note(new), text)
        if self.keys:
            verify(added, self.keys)
        lines = [*(parse_note(old).signatures if old else ()), *added.signatures]
        kept = [line for line in lines if not self.keys or self._is_valid(line, text)]
        return Note(text, tuple(dict.fromkeys(kept))).encode()

    def _is_valid(self, line: Signature, text: str) -> bool:
        try:
            return bool(verify(Note(text, (line,)), self.keys))
        except NoteError:
            return False

    def _signed(self, note: bytes, text: str) -> tuple[VerifierKey, ...]:
        parsed = _about(parse_note(note), text)
        known = {(key.name, key.key_id) for key in self.keys}
        if not any((line.name, line.key_id) in known for line in parsed.signatures):
            return ()
        return verify(parsed, self.keys)


def trust_in(text: str, wanted: int) -> Trust:
    """Return the trust that a file of verifier keys asks for.

    Raises:
        ValueError: If it holds no key, fewer than wanted, or something else.
    """
    keys = parse_trusted_keys(text)
    if not keys:
        raise ValueError("there is no key in it")
    return Trust(keys, wanted)


def _about(note: Note, text: str) -> Note:
    if note.text != text:
        raise NoteError("the note is about another policy, version or content")
    return note
