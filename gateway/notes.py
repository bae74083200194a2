"""Signed notes (c2sp.org/signed-note): a text, and who put their name to it. Pure.

The reader is strict: of all ways to write a note it takes one, so that two programs
cannot read two things in the same bytes. Keys are written as Go's `sumdb/note` writes
them. Only Ed25519 is signed and verified with; lines by other kinds of keys are kept.

A text must not be looked at before `verify` has said who signed it.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_BYTES = 1_000_000  # of a signed note
MAX_SIGNATURES = 16

_DASH = "\N{EM DASH}"
_ED25519 = b"\x01"  # the type byte before a key
_KEY_BYTES = 32
_ID_BYTES = 4
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_PRIVATE = "PRIVATE+KEY+"


class NoteError(ValueError):
    """A note or a key is malformed, or a note is not signed as it must be."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line.

    Attributes:
        name: The key's, as the signer wrote it.
        key_id: 4 bytes; with the name it says which key.
        value: What the key made of the text; opaque until it is verified.
    """

    name: str
    key_id: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, which nobody has verified yet.

    Attributes:
        text: Ends in a newline.
        signatures: In the order of their lines; up to `MAX_SIGNATURES`.

    Raises:
        NoteError: If it cannot be written as a signed note.
    """

    text: str
    signatures: tuple[Signature, ...] = ()

    def __post_init__(self) -> None:
        """Check what is signed and by how many."""
        if not self.text.endswith("\n"):
            raise NoteError("a note's text must end in a newline")
        if _CONTROL.search(self.text):
            raise NoteError("a note must not contain control characters")
        if len(self.signatures) > MAX_SIGNATURES:
            raise NoteError(f"a note must not have more than {MAX_SIGNATURES} signatures")
        for signature in self.signatures:
            _check_name(signature.name)

    def encode(self) -> bytes:
        """Return the note as it is stored and sent; without signatures it is none yet.

        Raises:
            NoteError: If it has no signature, is no Unicode text or is larger than `MAX_BYTES`.
        """
        if not self.signatures:
            raise NoteError("a note must have a signature")
        content = _utf8(f"{self.text}\n{''.join(map(write_signature, self.signatures))}")
        if len(content) > MAX_BYTES:
            raise NoteError(f"a note must not be larger than {MAX_BYTES} bytes")
        return content


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name it is known by.

    Attributes:
        name: Not empty, without spaces and `+`.
        public_key: Ed25519, 32 bytes.
    """

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        """Check the name and the length of the key."""
        _check_name(self.name)
        if len(self.public_key) != _KEY_BYTES:
            raise NoteError(f"an Ed25519 key must have {_KEY_BYTES} bytes")

    @property
    def key_id(self) -> bytes:
        """4 bytes of a hash of name and key."""
        hashed = _utf8(self.name) + b"\n" + _ED25519 + self.public_key
        return hashlib.sha256(hashed).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """Return it as people hand it on: `<name>+<id>+<base64>`."""
        return write_key_text(self.name, self.key_id, _ED25519 + self.public_key)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and its name. Make one with `new_key`.

    Attributes:
        name: As in its verifier key.
        seed: 32 bytes, RFC 8032; a secret.
    """

    name: str
    seed: bytes

    @property
    def verifier(self) -> VerifierKey:
        """What its signatures are verified with."""
        return VerifierKey(self.name, self._private.public_key().public_bytes_raw())

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def secret_text(self) -> str:
        """Return it as it is kept in a file: `PRIVATE+KEY+<name>+<id>+<base64>`."""
        return _PRIVATE + write_key_text(self.name, self.verifier.key_id, _ED25519 + self.seed)

    def sign(self, text: str) -> Signature:
        """Return this key's signature of `text`; always the same."""
        return Signature(self.name, self.verifier.key_id, self._private.sign(_utf8(text)))

    def __repr__(self) -> str:
        """Show nothing secret."""
        return f"SigningKey({self.name!r})"


def new_key(name: str) -> SigningKey:
    """Make a key. Raises `NoteError` if `name` cannot be one."""
    _check_name(name)
    return SigningKey(name, Ed25519PrivateKey.generate().private_bytes_raw())


def parse_signing_key(text: str) -> SigningKey:
    """Read what `SigningKey.secret_text` wrote. Raises `NoteError`."""
    if not text.startswith(_PRIVATE):
        raise NoteError("not a signing key: it must begin with `PRIVATE+KEY+`")
    name, key_id, seed = _parse_key(text.removeprefix(_PRIVATE))
    key = SigningKey(name, seed)
    if key.verifier.key_id != key_id:
        raise NoteError("the signing key's id does not belong to its name and key")
    return key


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a public key, `<name>+<id>+<base64>`. Raises `NoteError`."""
    name, key_id, public_key = _parse_key(text)
    key = VerifierKey(name, public_key)
    if key.key_id != key_id:
        raise NoteError("the verifier key's id does not belong to its name and key")
    return key


def parse_trusted_keys(text: str) -> tuple[VerifierKey, ...]:
    """Read a file of verifier keys, one a line; empty lines and `#` comments are skipped.

    Raises:
        NoteError: If a line is no key, or one key stands there twice, under another name too:
            whoever has it would count as two people.
    """
    keys: dict[bytes, VerifierKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            key = parse_verifier_key(line.strip())
        except NoteError as error:
            raise NoteError(f"line {number}: {error}") from error
        if key.public_key in keys:
            raise NoteError(f"line {number}: this key is there already")
        keys[key.public_key] = key
    return tuple(keys.values())


def parse_note(content: bytes) -> Note:
    """Read a signed note; nothing is verified yet.

    Raises:
        NoteError: If it could have been written in another way, or is no note at all.
    """
    if len(content) > MAX_BYTES:
        raise NoteError(f"a note must not be larger than {MAX_BYTES} bytes")
    try:
        decoded = content.decode()
    except UnicodeDecodeError as error:
        raise NoteError("a note must be UTF-8") from error
    text, blank, lines = decoded.rpartition("\n\n")
    if not blank:
        raise NoteError("a note must have a blank line before its signatures")
    if not lines.endswith("\n"):
        raise NoteError("a note must end in signature lines, each with its newline")
    return Note(f"{text}\n", parse_signatures(lines))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Read signature lines, each with its newline. Raises `NoteError`."""
    return tuple(_parse_line(line) for line in lines.removesuffix("\n").split("\n"))


def sign(note: Note, key: SigningKey) -> Note:
    """Return `note` with the signature of `key`; one that it has by the same key is replaced."""
    made = key.sign(note.text)
    others = (one for one in note.signatures if (one.name, one.key_id) != (made.name, made.key_id))
    return replace(note, signatures=(*others, made))


def verify(note: Note, trusted: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Return which of the `trusted` keys signed `note`: each once, at least one.

    Lines by other keys are ignored.

    Raises:
        NoteError: If a line by a trusted key is not valid, or there is none.
    """
    known = {(key.name, key.key_id): key for key in trusted}
    signed: dict[VerifierKey, None] = {}
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        try:
            public_key = Ed25519PublicKey.from_public_bytes(key.public_key)
            public_key.verify(signature.value, _utf8(note.text))
        except (InvalidSignature, ValueError) as error:
            raise NoteError(f"the signature by `{key.name}` is not valid") from error
        signed[key] = None
    if not signed:
        raise NoteError("the note is not signed by a trusted key")
    return tuple(signed)


def _parse_line(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH:
        raise NoteError(f"a signature line must read `{_DASH} <key name> <base64>`")
    _, name, encoded = parts
    _check_name(name)
    content = _from_base64(encoded)
    if len(content) <= _ID_BYTES:
        raise NoteError("a signature must be longer than the id of its key")
    return Signature(name, content[:_ID_BYTES], content[_ID_BYTES:])


def write_signature(signature: Signature) -> str:
    """Return a signature as a line of a note."""
    encoded = b64encode(signature.key_id + signature.value).decode()
    return f"{_DASH} {signature.name} {encoded}\n"


def parse_key_text(text: str) -> tuple[str, bytes, bytes]:
    """Return name, id, and the type byte and key of a key of any kind. Raises `NoteError`."""
    parts = text.split("+", 2)  # base64 may hold a plus
    if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
        raise NoteError("a key must read `<name>+<id, 8 hex digits>+<base64>`")
    name, key_id, encoded = parts
    _check_name(name)
    return name, bytes.fromhex(key_id), _from_base64(encoded)


def write_key_text(name: str, key_id: bytes, key: bytes) -> str:
    """Return a key, given with its type byte, as it is written."""
    return f"{name}+{key_id.hex()}+{b64encode(key).decode()}"


def _parse_key(text: str) -> tuple[str, bytes, bytes]:
    """Return name, id and the 32 bytes of a key of either kind."""
    name, key_id, content = parse_key_text(text)
    if content[:1] != _ED25519 or len(content) != 1 + _KEY_BYTES:
        raise NoteError("not an Ed25519 key")
    return name, key_id, content[1:]


def _check_name(name: str) -> None:
    spaced = any(character.isspace() or character < " " for character in name)
    if not name or spaced or "+" in name:
        raise NoteError("a key's name must not be empty nor contain spaces or `+`")


def _from_base64(text: str) -> bytes:
    try:
        content = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("malformed base64") from error
    if b64encode(content).decode() != text:  # spare bits, or padding within
        raise NoteError("base64 that could be written in another way")
    return content


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # a lone surrogate
        raise NoteError("a note must be Unicode text") from error
