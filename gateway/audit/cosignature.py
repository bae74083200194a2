"""Cosignatures (c2sp.org/tlog-cosignature): who else saw a checkpoint, and when. Pure.

A cosignature/v1 is a line of the checkpoint's note. It covers the time and the text, and
claims that the witness found this checkpoint consistent with every other one of the same
log that it has cosigned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.notes import Note, NoteError, Signature, SigningKey, parse_key_text, write_key_text

_COSIGNATURE = b"\x04"  # the type byte before a witness's key
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness's public key and the name it is known by.

    Attributes:
        name: Not empty, without spaces and `+`.
        public_key: Ed25519, 32 bytes.
    """

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """4 bytes of a hash of name and key; another one than that of the key as a signer."""
        hashed = self.name.encode() + b"\n" + _COSIGNATURE + self.public_key
        return hashlib.sha256(hashed).digest()[:4]

    def __str__(self) -> str:
        """Return it as people hand it on: `<name>+<id>+<base64>`."""
        return write_key_text(self.name, self.key_id, _COSIGNATURE + self.public_key)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A witness saw a checkpoint.

    Attributes:
        witness: Who.
        time: When, Unix seconds.
    """

    witness: WitnessKey
    time: int


def witness_key(key: SigningKey) -> WitnessKey:
    """Return what cosignatures made with `key` are verified with."""
    return WitnessKey(key.name, key.verifier.public_key)


def parse_witness_key(text: str) -> WitnessKey:
    """Read a witness's public key, `<name>+<id>+<base64>`. Raises `NoteError`."""
    name, key_id, content = parse_key_text(text)
    if content[:1] != _COSIGNATURE or len(content) != 33:
        raise NoteError("not the key of a witness")
    key = WitnessKey(name, content[1:])
    if key.key_id != key_id:
        raise NoteError("the witness key's id does not belong to its name and key")
    return key


def cosign(note: Note, key: SigningKey, time: int) -> Note:
    """Return a checkpoint's note with a cosignature; an earlier one by the same key goes.

    Args:
        note: Found consistent by the caller.
        key: The witness's.
        time: Unix seconds.
    """
    public = witness_key(key)
    value = key.sign(_message(note.text, time)).value
    made = Signature(key.name, public.key_id, time.to_bytes(_TIME_BYTES, "big") + value)
    others = (one for one in note.signatures if (one.name, one.key_id) != (made.name, made.key_id))
    return replace(note, signatures=(*others, made))


def cosignatures(note: Note, trusted: Iterable[WitnessKey]) -> tuple[Cosigned, ...]:
    """Return which of the `trusted` witnesses cosigned; lines by others are ignored.

    Raises:
        NoteError: If a line by a trusted witness is not valid.
    """
    known = {(key.name, key.key_id): key for key in trusted}
    found: dict[WitnessKey, Cosigned] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is not None:
            found[key] = Cosigned(key, _verified(note.text, signature, key))
    return tuple(found.values())


def _verified(text: str, signature: Signature, key: WitnessKey) -> int:
    if len(signature.value) != _TIME_BYTES + _SIGNATURE_BYTES:
        raise NoteError(f"the cosignature by `{key.name}` is not valid")
    time = int.from_bytes(signature.value[:_TIME_BYTES], "big")
    try:
        public_key = Ed25519PublicKey.from_public_bytes(key.public_key)
        public_key.verify(signature.value[_TIME_BYTES:], _message(text, time).encode())
    except (InvalidSignature, ValueError) as error:
        raise NoteError(f"the cosignature by `{key.name}` is not valid") from error
    return time


def _message(text: str, time: int) -> str:
    return f"cosignature/v1\ntime {time}\n{text}"
