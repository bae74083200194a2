"""Seals a chain of thought so that a caller can carry it but neither read nor forge it.

AES-256-GCM under a key that never leaves `<home>/keys`. The project, the model, the
conversation, the time of sealing and the exchange it was thought in are bound as associated
data or inside; a blob from another project, model or conversation, altered, or older than
`LIFETIME_S` is refused, always with the same words.

A conversation is known by its opening, the first thing that was said to the model in it: that
stays where a client sends all of it, and where it goes on in two ways.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from model_runner.types import Message, Role

LIFETIME_S = 30 * 24 * 3600
_VERSION = b"\x04"
_NONCE_BYTES = 12
_TIME_BYTES = 8
_EXCHANGE_BYTES = 16
_LENGTH_BYTES = 4


class SealBroken(Exception):
    """The blob is foreign, altered, expired, or not a blob at all."""


@dataclass(frozen=True, slots=True)
class Thought:
    """What was sealed: the text, the exchange it was thought in, 32 hex digits, and a trace.

    The trace is of what the thought had read; see `gateway.traces`.
    """

    text: str
    exchange: str
    trace: bytes = b""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a sealed thought belongs to.

    Attributes:
        project: Whose it is.
        model: Which model's.
        opening: Of the conversation, as `opening_of` says.
    """

    project: str
    model: str
    opening: str

    def encoded(self) -> bytes:
        """Return the associated data; each part has its length, so none can pass for another."""
        parts = (b"ostiary reasoning", self.project.encode(), self.model.encode())
        opening = self.opening.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(opening).digest()
        return b"".join(len(part).to_bytes(4, "big") + part for part in (*parts, digest))


def opening_of(messages: Sequence[Message]) -> str:
    """Return what was first said to the model, spaced in one way; nothing if nothing was."""
    said = (each.text for each in messages if each.role is Role.USER)
    return " ".join(next(said, "").split())


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals and opens thoughts under one 32-byte key."""

    key: bytes
    clock: Callable[[], float] = time.time

    def seal(self, text: str, *, bound: Bound, exchange: str, trace: bytes = b"") -> str:
        """Return a blob, URL-safe base64, that only `open` with the same `bound` accepts.

        Args:
            text: The thought.
            bound: What it belongs to.
            exchange: In which exchange, 32 hex digits: by this a conversation is known again.
            trace: Of what it had read.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed_at = int(self.clock()).to_bytes(_TIME_BYTES, "big")
        traced = len(trace).to_bytes(_LENGTH_BYTES, "big") + trace
        said = text.encode("utf-8", "surrogatepass")
        plain = sealed_at + bytes.fromhex(exchange) + traced + said
        sealed = AESGCM(self.key).encrypt(nonce, plain, bound.encoded())
        return base64.urlsafe_b64encode(_VERSION + nonce + sealed).decode()

    def open(self, blob: str, *, bound: Bound) -> Thought:
        """Return the sealed text and where it comes from.

        Raises:
            SealBroken: Whatever is wrong with it.
        """
        try:
            raw = base64.b64decode(blob.encode("ascii"), altchars=b"-_", validate=True)
            if raw[:1] != _VERSION or base64.urlsafe_b64encode(raw).decode() != blob:
                raise SealBroken  # another version, or one blob written in two ways
            nonce, sealed = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
            plain = AESGCM(self.key).decrypt(nonce, sealed, bound.encoded())
        except (binascii.Error, UnicodeEncodeError, ValueError, InvalidTag) as broken:
            raise SealBroken from broken
        if self.clock() - int.from_bytes(plain[:_TIME_BYTES], "big") > LIFETIME_S:
            raise SealBroken
        exchange, rest = (
            plain[_TIME_BYTES:][:_EXCHANGE_BYTES],
            plain[_TIME_BYTES:][_EXCHANGE_BYTES:],
        )
        ends = _LENGTH_BYTES + int.from_bytes(rest[:_LENGTH_BYTES], "big")
        text = rest[ends:].decode("utf-8", "surrogatepass")
        return Thought(text, exchange.hex(), rest[_LENGTH_BYTES:ends])
