"""How content is encrypted: keys that wrap keys, and texts sealed under them. Pure.

    master key -> project key -> data key of one exchange -> key and salt of one field

Every box is AES-256-GCM under a random nonce, which stands in front of it. The key and the
salt of a field are derived from the data key (HKDF-Expand, RFC 5869 section 2.3), so that
both are gone when it is.

    INVARIANT: what a box belongs to is bound to it as associated data; moved to another
    place it does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_SIZE = 32  # bytes
_NONCE_SIZE = 12  # bytes
_CONTENT, _SALT = b"content", b"salt"  # what a derived key is for


class Unreadable(Exception):
    """A box does not open: another key, another place, or altered."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a sealed field belongs to.

    Attributes:
        project: Whose it is.
        record_id: The entry that names it.
        field: Its name in that entry.
    """

    project: str
    record_id: str
    field: str


@dataclass(frozen=True, slots=True)
class SealedField:
    """A sealed text and what the log says of it.

    Attributes:
        box: The ciphertext with its nonce.
        digest: SHA-256 of `box`, hex.
        commitment: HMAC-SHA256 of the text under the field's salt, hex. Without the salt
            nobody can try whether a text is the one.
    """

    box: bytes
    digest: str
    commitment: str


def new_key() -> bytes:
    """Return a random key."""
    return secrets.token_bytes(KEY_SIZE)


def wrap(key: bytes, secret: bytes, *place: str) -> bytes:
    """Return `secret` in a box that opens with `key` for the same `place` only."""
    nonce = secrets.token_bytes(_NONCE_SIZE)
    return nonce + AESGCM(key).encrypt(nonce, secret, _bound("ostiary key", *place))


def unwrap(key: bytes, box: bytes, *place: str) -> bytes:
    """Return what `wrap` put into `box`. Raises `Unreadable`."""
    return _open(key, box, _bound("ostiary key", *place))


def seal(data_key: bytes, text: bytes, place: Place) -> SealedField:
    """Seal the text of one field."""
    nonce, bound = secrets.token_bytes(_NONCE_SIZE), _of(place)
    box = nonce + AESGCM(_derived(data_key, _CONTENT, bound)).encrypt(nonce, text, bound)
    salt = _derived(data_key, _SALT, bound)
    committed = hmac.digest(salt, text, "sha256").hex()
    return SealedField(box, hashlib.sha256(box).hexdigest(), committed)


def unseal(data_key: bytes, box: bytes, place: Place) -> bytes:
    """Return the text of one field. Raises `Unreadable`."""
    bound = _of(place)
    return _open(_derived(data_key, _CONTENT, bound), box, bound)


def commitment(data_key: bytes, text: bytes, place: Place) -> str:
    """Return HMAC-SHA256 of `text` under the field's salt, hex."""
    return hmac.digest(_derived(data_key, _SALT, _of(place)), text, "sha256").hex()


def _open(key: bytes, box: bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(box[:_NONCE_SIZE], box[_NONCE_SIZE:], bound)
    except (InvalidTag, ValueError) as error:  # ValueError: too short for a nonce
        raise Unreadable("the content does not open") from error


def _derived(data_key: bytes, purpose: bytes, bound: bytes) -> bytes:
    return hmac.digest(data_key, bound + purpose + b"\x01", "sha256")


def _of(place: Place) -> bytes:
    return _bound("ostiary content", place.project, place.record_id, place.field)


def _bound(*parts: str) -> bytes:
    """Return `parts` as bytes that no other parts give."""
    encoded = [part.encode("utf-8", "replace") for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
