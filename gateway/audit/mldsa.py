"""A second signature of a log that a quantum computer does not forge: ML-DSA-44. Pure.

It is a line of the checkpoint's note, a cosignature by the log itself as C2SP recommends it
(c2sp.org/tlog-cosignature, type 0x06): over the origin, the size and the root hash, with the
time. `cryptography` 47 and later can make and verify it; Ed25519 is signed besides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature

from gateway.audit.checkpoint import Checkpoint, parse_checkpoint
from gateway.notes import Note, NoteError, Signature, parse_key_text, write_key_text

_MLDSA = b"\x06"  # the type byte before a key
_LABEL = b"subtree/v1\n\x00"
_STAMP = 8  # bytes of the time before a signature
_SIGNATURE = 2420  # bytes
_PUBLIC, _SEED = 1312, 32  # bytes of the keys
_SECRET = "PRIVATE+KEY+"  # noqa: S105 - how a private key is written


@dataclass(frozen=True, slots=True)
class MldsaKey:
    """A public key and the name of its log.

    Attributes:
        name: That of the log's other key.
        public_key: 1312 bytes.
    """

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """4 bytes of a hash of name and key."""
        return sha256(self.name.encode() + b"\n" + _MLDSA + self.public_key).digest()[:4]

    def __str__(self) -> str:
        """Return it as people hand it on: `<name>+<id>+<base64>`."""
        return write_key_text(self.name, self.key_id, _MLDSA + self.public_key)


@dataclass(frozen=True, slots=True)
class MldsaSigningKey:
    """A private key and the name of its log.

    Attributes:
        name: That of the log's other key.
        seed: 32 bytes, FIPS 204; a secret.
    """

    name: str
    seed: bytes

    @property
    def verifier(self) -> MldsaKey:
        """What its signatures are verified with."""
        private = _mldsa().MLDSA44PrivateKey.from_seed_bytes(self.seed)
        return MldsaKey(self.name, private.public_key().public_bytes_raw())

    def secret_text(self) -> str:
        """Return it as it is kept in a file: `PRIVATE+KEY+<name>+<id>+<base64>`."""
        return _SECRET + write_key_text(self.name, self.verifier.key_id, _MLDSA + self.seed)

    def __repr__(self) -> str:
        """Show nothing secret."""
        return f"MldsaSigningKey({self.name!r})"


def parse_mldsa_key(text: str) -> MldsaKey:
    """Read a public key. Raises `NoteError`, also where nothing can verify with it."""
    _mldsa()
    name, key_id, content = parse_key_text(text)
    key = MldsaKey(name, content[1:])
    if content[:1] != _MLDSA or len(key.public_key) != _PUBLIC or key.key_id != key_id:
        raise NoteError("not an ML-DSA-44 key, or one with another key's id")
    return key


def parse_mldsa_signing_key(text: str) -> MldsaSigningKey:
    """Read what `MldsaSigningKey.secret_text` wrote. Raises `NoteError`."""
    if not text.startswith(_SECRET):
        raise NoteError("not a signing key: it must begin with `PRIVATE+KEY+`")
    name, key_id, content = parse_key_text(text.removeprefix(_SECRET))
    if content[:1] != _MLDSA or len(content) != 1 + _SEED:
        raise NoteError("not an ML-DSA-44 signing key")
    key = MldsaSigningKey(name, content[1:])
    if key.verifier.key_id != key_id:
        raise NoteError("the signing key's id does not belong to its name and key")
    return key


def sign_mldsa(note: Note, key: MldsaSigningKey, time: int) -> Note:
    """Return a checkpoint's note with the log's line by `key`, at `time`, Unix seconds."""
    message = _cosigned_message(parse_checkpoint(note.text), key.name, time)
    private = _mldsa().MLDSA44PrivateKey.from_seed_bytes(key.seed)
    value = time.to_bytes(_STAMP, "big") + private.sign(message)
    made = Signature(key.name, key.verifier.key_id, value)
    return replace(note, signatures=(*note.signatures, made))


def check_mldsa(note: Note, key: MldsaKey) -> None:
    """Check that `key` signed a checkpoint's note. Raises `NoteError` if it did not."""
    for line in note.signatures:
        if (line.name, line.key_id) == (key.name, key.key_id):
            _check(parse_checkpoint(note.text), line.value, key)
            return
    raise NoteError(f"it has no ML-DSA-44 signature by `{key.name}`")


def _check(checkpoint: Checkpoint, value: bytes, key: MldsaKey) -> None:
    if len(value) != _STAMP + _SIGNATURE:
        raise NoteError(f"the ML-DSA-44 signature by `{key.name}` is not valid")
    message = _cosigned_message(checkpoint, key.name, int.from_bytes(value[:_STAMP], "big"))
    public_key = _mldsa().MLDSA44PublicKey.from_public_bytes(key.public_key)
    try:
        public_key.verify(value[_STAMP:], message)
    except (InvalidSignature, ValueError) as error:
        raise NoteError(f"the ML-DSA-44 signature by `{key.name}` is not valid") from error


def _cosigned_message(checkpoint: Checkpoint, name: str, time: int) -> bytes:
    """Return a `cosigned_message` over the whole tree."""
    end = checkpoint.size.to_bytes(8, "big")
    stamp = time.to_bytes(_STAMP, "big")
    parts = (_short(name), stamp, _short(checkpoint.origin), bytes(8), end, checkpoint.root)
    return _LABEL + b"".join(parts)


def _short(text: str) -> bytes:
    encoded = text.encode()
    if not 0 < len(encoded) < 256:
        raise NoteError("a name under an ML-DSA-44 signature must have 1 to 255 bytes")
    return bytes([len(encoded)]) + encoded


def _mldsa() -> Any:  # noqa: ANN401 - a module that older versions do not have
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa
    except ImportError as error:
        raise NoteError("this `cryptography` has no ML-DSA-44; 47 and later do") from error
    return mldsa
