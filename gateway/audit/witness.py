"""A witness (c2sp.org/tlog-witness): cosigns what is consistent with all it cosigned before.

Run by the auditor, on the auditor's machine, with the auditor's key. It keeps the last
checkpoint it saw of each log in a directory. A log that shows two people two histories
would have to show the witness both, and the second is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.audit.checkpoint import (
    Checkpoint,
    hash_text,
    parse_checkpoint,
    parse_hash,
    parse_size,
)
from gateway.audit.cosignature import cosign
from gateway.audit.heads import FileHeads
from gateway.audit.merkle import EMPTY_ROOT, ProofError, check_consistency
from gateway.audit.succession import Keyring, Succession
from gateway.notes import Note, NoteError, SigningKey, VerifierKey, parse_note
from gateway.store.turns import turn_at

_MOST_HASHES = 63


class UnknownLog(NoteError):
    """The checkpoint is of a log that the witness does not look at."""


class Unsigned(NoteError):
    """No key that the log has now, as far as the witness knows, signed the checkpoint."""


class WitnessError(Exception):
    """The witness does not cosign; the message says why."""


class Outdated(WitnessError):
    """The request begins at another size than the witness saw last.

    Attributes:
        seen: That size.
    """

    def __init__(self, seen: int):
        super().__init__(f"the witness has seen {seen} entries; send the proof from there")
        self.seen = seen


class Inconsistent(WitnessError):
    """What was sent is not a log that extends what the witness saw.

    Attributes:
        origin: Which log.
        size: How large it says it is.
        same_size: Whether the witness saw another log of that size.
    """

    def __init__(self, checkpoint: Checkpoint, detail: str, *, same_size: bool):
        super().__init__(f"inconsistent with what the witness saw: {detail}")
        self.origin = checkpoint.origin
        self.size = checkpoint.size
        self.same_size = same_size


@dataclass(frozen=True, slots=True)
class Request:
    """What a witness is sent: `old <size>`, a consistency proof, a checkpoint.

    Attributes:
        old: The size that the sender thinks the witness saw last.
        proof: From there to the checkpoint.
        note: The signed checkpoint.
    """

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """Return it as it is sent."""
        lines = [f"old {self.old}", *map(hash_text, self.proof), "", ""]
        return "\n".join(lines).encode() + self.note


def parse_request(content: bytes) -> Request:
    """Read a request. Raises `NoteError` if it could be written in another way."""
    head, blank, note = content.partition(b"\n\n")
    try:
        first, *hashes = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise NoteError("a request must begin with `old` and a tree size") from error
    if not blank or not first.startswith("old "):
        raise NoteError("a request must begin with `old` and a tree size")
    if len(hashes) > _MOST_HASHES:
        raise NoteError(f"a proof must not have more than {_MOST_HASHES} hashes")
    return Request(parse_size(first.removeprefix("old ")), tuple(map(parse_hash, hashes)), note)


class Witness:
    """A witness and what it saw.

    Args:
        key: The witness's own.
        logs: The keys of the logs it looks at.
        directory: Where it keeps what it saw.
        changes: How the keys of these logs changed since.

    Raises:
        NoteError: If a log's key handed over to two others.
    """

    def __init__(
        self,
        key: SigningKey,
        logs: Iterable[VerifierKey],
        directory: Path,
        changes: Sequence[Succession] = (),
    ):
        self.key = key
        self._logs = Keyring(logs, changes)
        self._seen = FileHeads(directory)
        self._directory = directory

    async def add(self, request: Request, now: int) -> Note:
        """Return the checkpoint with a cosignature, remembered before.

        Of any number of requests at once, in any number of processes, each is compared with
        what the one before has left.

        Args:
            request: As it was sent.
            now: Unix seconds.

        Raises:
            NoteError: If the checkpoint is malformed.
            UnknownLog: If it is by a log that the witness does not look at.
            Unsigned: If the log's key did not sign it.
            Outdated: If the proof begins elsewhere.
            Inconsistent: If the checkpoint does not extend what it saw.
            WitnessError: If it cannot be compared.
            OSError: If it cannot remember.
        """
        checkpoint = self._read(request.note)
        if request.old > checkpoint.size:
            raise WitnessError(f"a log of {checkpoint.size} entries does not hold {request.old}")
        async with turn_at(self._directory / ".turn"):
            seen = await self._last(checkpoint.origin)
            if request.old != seen.size:
                raise Outdated(seen.size)
            try:
                check_consistency(seen.head, checkpoint.head, request.proof)
            except ProofError as error:
                same_size = seen.size == checkpoint.size
                raise Inconsistent(checkpoint, str(error), same_size=same_size) from error
            # INVARIANT: remembered before it is cosigned.
            await self._seen.keep(checkpoint, request.note)
        return cosign(parse_note(request.note), self.key, now)

    def _read(self, note: bytes) -> Checkpoint:
        """Return a checkpoint that the log's key signed."""
        origin = parse_checkpoint(parse_note(note).text).origin
        names = {key.name for key in self._logs.keys}
        if origin not in names and origin.rpartition("/")[0] not in names:
            raise UnknownLog(f"the witness does not look at the log `{origin}`")
        try:
            return self._logs.read(note)
        except NoteError as error:
            raise Unsigned(str(error)) from error

    async def _last(self, origin: str) -> Checkpoint:
        note = (await self._seen.kept()).get(origin)
        if note is None:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        # Verified when it was kept, maybe with a key that the witness has since been told to drop.
        return parse_checkpoint(parse_note(note).text)
