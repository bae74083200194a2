"""How one key of a log hands over to the next, and which checkpoints each may sign. Pure.

A change of key is a signed note, by both keys, and an entry of the log:

    ostiary log key/v1
    <the key before>
    <the key after>
    <the last checkpoint of the key before: origin, size and root hash>

Whoever trusts one of the two can tell what the other may have signed: the key before, up to
that checkpoint; the key after, from there on. So an auditor with an old key reads new
checkpoints. For who trusts a new key, that a key before signed proves nothing by itself,
because it may have been stolen since: only the announced checkpoint is believed, and what
is tied to it or to a later one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.audit.checkpoint import Checkpoint, parse_checkpoint, read_checkpoint
from gateway.notes import (
    Note,
    NoteError,
    SigningKey,
    VerifierKey,
    parse_note,
    parse_verifier_key,
    sign,
    verify,
)

KEY_CHANGED = "log_key.rotated"  # the entry's type
_HEADER = "ostiary log key/v1"
_Point = tuple[str, int]  # origin and size; shards are in the order of their names


@dataclass(frozen=True, slots=True)
class Succession:
    """One key of a log takes over from another of the same name.

    Attributes:
        old: The key before.
        new: The key after.
        last: The last checkpoint that the key before signed alone.

    Raises:
        NoteError: If they are not two keys of one log, and its checkpoint.
    """

    old: VerifierKey
    new: VerifierKey
    last: Checkpoint

    def __post_init__(self) -> None:
        """Check that all is of one log."""
        if self.old.name != self.new.name or self.old == self.new:
            raise NoteError("a log's new key must be another one of the same name")
        if not self.last.origin.startswith(f"{self.old.name}/"):
            raise NoteError(f"`{self.last.origin}` is not a log of the key `{self.old.name}`")

    @property
    def point(self) -> _Point:
        """Where the one ends and the other begins."""
        return self.last.origin, self.last.size

    def text(self) -> str:
        """Return what both keys sign."""
        return f"{_HEADER}\n{self.old}\n{self.new}\n{self.last.text()}"


def hand_over(last: Checkpoint, old: SigningKey, new: SigningKey) -> bytes:
    """Return the signed note by which `new` takes over. Raises `NoteError`."""
    text = Succession(old.verifier, new.verifier, last).text()
    return sign(sign(Note(text), old), new).encode()


def parse_succession(content: bytes) -> Succession:
    """Read a change of key. Raises `NoteError` unless both keys signed it."""
    note = parse_note(content)
    lines = note.text.split("\n")
    if len(lines) != 7 or lines[0] != _HEADER:
        raise NoteError("not a change of a log's key")
    old, new = parse_verifier_key(lines[1]), parse_verifier_key(lines[2])
    found = Succession(old, new, parse_checkpoint("\n".join(lines[3:])))
    if len(verify(note, (old, new))) != 2:
        raise NoteError("a change of key must be signed by both keys")
    return found


def recorded_change(entry: bytes) -> str | None:
    """Return the note of an entry of the type `KEY_CHANGED`, None if not both keys signed it.

    Whoever may write to the log can write such an entry; it says nothing by itself.
    """
    try:
        note = json.loads(entry)["log_key"]["note"]
        parse_succession(note.encode())
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return str(note)


class Keyring:
    """The keys whose checkpoints are believed, and from where to where.

    Args:
        trusted: Believed as they are.
        successions: Of which those count that begin or end at a key that is believed.

    Attributes:
        keys: All that are believed, each for its own stretch.
        changes: The successions that count, in their order.

    Raises:
        NoteError: If a key handed over to two others: then nobody can be believed.
    """

    def __init__(self, trusted: Iterable[VerifierKey], successions: Sequence[Succession] = ()):
        self._trusted = tuple(trusted)
        known = set(self._trusted)
        counting: set[Succession] = set()
        while more := {
            each for each in successions if each not in counting and known & {each.old, each.new}
        }:
            counting |= more
            known |= {key for each in more for key in (each.old, each.new)}
        self.keys = tuple(known)
        self.changes = tuple(dict.fromkeys(each for each in successions if each in counting))
        self._until = {each.old: each.point for each in self.changes}
        self._since = {each.new: each.point for each in self.changes}
        if not len(self._until) == len(self._since) == len(self.changes):
            raise NoteError("a key of this log handed over to two others, or from two")
        self._lasting = set(self._trusted)
        while later := self._heirs(self._lasting) - self._lasting:
            self._lasting |= later

    @property
    def current(self) -> VerifierKey:
        """The key that signs now: the last that took over, or the first that is trusted."""
        heirs = [each.new for each in self.changes if each.new not in self._until]
        return heirs[-1] if heirs else self._trusted[0]

    @property
    def previous(self) -> VerifierKey | None:
        """The key before, or None."""
        current = self.current
        return next((each.old for each in self.changes if each.new == current), None)

    def read(self, content: bytes) -> Checkpoint:
        """Return what a signed checkpoint says, as `read_checkpoint` does.

        Whether that is so is another question if only a replaced key signed it: see `vouches`.

        Raises:
            NoteError: Also if none of its keys was the log's where it stands.
        """
        checkpoint = read_checkpoint(content, self.keys)
        self.check(verify(parse_note(content), self.keys), checkpoint)
        return checkpoint

    def check(self, signers: Iterable[VerifierKey], checkpoint: Checkpoint) -> None:
        """Check that one of the signers may have signed this.

        Raises:
            NoteError: If none was the log's key at this size, or another root was announced.
        """
        origin, size = checkpoint.origin, checkpoint.size
        self.check_size(signers, origin, size)
        if any(each.point == (origin, size) and each.last != checkpoint for each in self.changes):
            raise NoteError(f"`{origin}` was another log when its key was changed at this size")

    def check_size(self, signers: Iterable[VerifierKey], origin: str, size: int) -> None:
        """Check that one of the signers was the log's key at this size. Raises `NoteError`."""
        if not any(self._may_sign(key, (origin, size)) for key in signers):
            raise NoteError(f"`{origin}` had another key when it was as large as this")

    def vouches(self, content: bytes) -> bool:
        """Whether more than a replaced key, which a thief may have, says what `read` returns.

        A trusted key does, and one that took over from it; and of what came before, the
        checkpoint that such a key announced.
        """
        checkpoint = self.read(content)
        point = checkpoint.origin, checkpoint.size
        signers = self.lasting(verify(parse_note(content), self.keys))
        announced = (each.last for each in self.changes if each.new in self._lasting)
        return any(self._may_sign(key, point) for key in signers) or checkpoint in announced

    def lasting(self, signers: Iterable[VerifierKey]) -> list[VerifierKey]:
        """Return those of the signers that are trusted, or took over from one that is."""
        return [key for key in signers if key in self._lasting]

    def _heirs(self, keys: set[VerifierKey]) -> set[VerifierKey]:
        return {each.new for each in self.changes if each.old in keys}

    def _may_sign(self, key: VerifierKey, point: _Point) -> bool:
        since, until = self._since.get(key), self._until.get(key)
        return (since is None or since <= point) and (until is None or point <= until)
