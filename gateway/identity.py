"""Whose key is this: `Authorization: Bearer ost_...` -> Principal.

A key reads `ost_<environment>_<prefix>_<secret>_<checksum>`. The prefix is public and
names the key in logs. The checksum lets a secret scanner, and us, tell a mistyped or
made-up key without asking the database. What is stored is an HMAC keyed with a pepper
that is not in the database, so a stolen table gives no keys and nothing to guess them by.

Answers are remembered for at most a second: a revoked key is refused within one, and
when the database is away everything is refused within one.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zlib import crc32

from gateway.audit import records
from gateway.audit.entry import row_apart
from gateway.errors import BadRequest, Unauthenticated
from gateway.memory import Memory
from gateway.store import keys
from gateway.store.keys import ApiKey
from gateway.store.session import Database
from gateway.types import Principal, Scope

ENVIRONMENTS = ("live", "test")
BOOTSTRAP_KEY_ID = "bootstrap"
MIN_BOOTSTRAP_LENGTH = 20  # characters

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX_LENGTH = 12
_SECRET_LENGTH = 33  # characters of 62 kinds: 196 bits
_CHECKSUM_LENGTH = 6  # 32 bits in base 62
_MAX_PRESENTED = 512  # characters of an Authorization header that are looked at
_MAX_NAME = 128  # characters
_PROJECT = re.compile(r"[A-Za-z0-9._-]{1,64}")
MAX_QUOTA = 1_000_000_000  # a minute; the largest that `gateway.limits` counts exactly


def mint(environment: str) -> tuple[str, str]:
    """Make a new key.

    Args:
        environment: One of `ENVIRONMENTS`.

    Returns:
        The key, to be shown once, and its public prefix.

    Raises:
        ValueError: If there is no such environment.
    """
    if environment not in ENVIRONMENTS:
        raise ValueError(f"`{environment}` is not one of {', '.join(ENVIRONMENTS)}")
    prefix = _random_text(_PREFIX_LENGTH)
    body = f"ost_{environment}_{prefix}_{_random_text(_SECRET_LENGTH)}"
    return f"{body}_{_checksum(body)}", prefix


def prefix_of(key: str) -> str | None:
    """Return the public prefix of a well-formed key, or None for anything else."""
    body, _, checksum = key.rpartition("_")
    parts = body.split("_")
    if len(parts) != 4 or parts[0] != "ost" or parts[1] not in ENVIRONMENTS:
        return None
    _, _, prefix, secret = parts
    sound = (
        _is_text(prefix, _PREFIX_LENGTH)
        and _is_text(secret, _SECRET_LENGTH)
        and checksum == _checksum(body)
    )
    return prefix if sound else None


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key to be made may do.

    Attributes:
        project: Whose it is, 1 to 64 characters of `A-Za-z0-9._-`.
        name: What people call it.
        scopes: What it may do.
        environment: One of `ENVIRONMENTS`; shows in the key.
        expires_at: From when on it is refused, with time zone, or None.
        requests_per_minute: Its quota; None means the default.
        tokens_per_minute: Its quota; None means the default.
    """

    project: str
    name: str
    scopes: frozenset[Scope]
    environment: str = "live"
    expires_at: datetime | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    principal: Principal | None
    expires_at: datetime | None


@dataclass(slots=True, eq=False)
class Identity:
    """Knows API keys.

    Args:
        database: Migrated.
        pepper: The secret of the stored HMACs, 32 bytes, the same on every replica.
        bootstrap_key: Any string of at least 20 characters that is accepted as an
            admin's key of the project `default`; empty means none.
        requests_per_minute: Default quota.
        tokens_per_minute: Default quota.
        monotonic: This process's clock, seconds.
        now: The time of day, for expiry.
    """

    database: Database
    pepper: bytes
    bootstrap_key: str = ""
    requests_per_minute: int = 6000
    tokens_per_minute: int = 10_000_000
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _bootstrap: bytes = field(default=b"", init=False)
    _memory: Memory[tuple[bytes, str], _Answer] = field(init=False)

    def __post_init__(self) -> None:
        """Keep the bootstrap key as an HMAC. Raises `ValueError` if it is too short."""
        self._memory = Memory(self._ask, self.monotonic, self.database.stale_s)
        if not self.bootstrap_key:
            return
        if len(self.bootstrap_key) < MIN_BOOTSTRAP_LENGTH:
            raise ValueError(
                f"`bootstrap_key` must have at least {MIN_BOOTSTRAP_LENGTH} characters"
            )
        self._bootstrap = self._hmac(self.bootstrap_key)
        self.bootstrap_key = ""

    async def authenticate(self, authorization: str | None) -> Principal:
        """Return whose key an `Authorization` header holds.

        Raises:
            Unauthenticated: No header, or a key that is not in force; the message is
                the same for every reason.
            StoreUnavailable: If the database is needed and away.
        """
        key = _bearer(authorization)
        digest = self._hmac(key)
        if self._bootstrap and hmac.compare_digest(digest, self._bootstrap):
            return self._bootstrap_principal()
        prefix = prefix_of(key)
        if prefix is None:  # needs no database, so no flood of these reaches it
            raise _invalid()
        answer = await self._memory.answer((digest, prefix))
        if answer.principal is None or _is_past(answer.expires_at, self.now()):
            raise _invalid()
        return answer.principal

    async def create(self, new: NewKey, *, actor: str) -> str:
        """Make a key; it and the entry that records it are durable on return.

        Args:
            new: What it may do.
            actor: Who does it: a key id, or `cli`.

        Returns:
            The key. It is not kept and cannot be shown again.

        Raises:
            BadRequest: If `new` is out of range.
            StoreUnavailable: If it could not be written.
        """
        _check(new)
        key, prefix = mint(new.environment)
        stored = ApiKey(
            prefix,
            self._hmac(key),
            new.project,
            new.name,
            new.scopes,
            new.requests_per_minute or self.requests_per_minute,
            new.tokens_per_minute or self.tokens_per_minute,
            created_at=self.now(),
            expires_at=new.expires_at,
        )
        entry = records.key_created(
            prefix,
            project=new.project,
            scopes=sorted(new.scopes),
            expires_at=new.expires_at,
            actor=actor,
        )
        await keys.create(self.database, stored, row_apart(entry, "keys"))
        return key

    async def revoke(self, prefix: str, *, actor: str) -> bool:
        """Revoke a key and record it; every replica refuses it within a second.

        Returns:
            False if there is no such key, or it was revoked before.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        key = await keys.find(self.database, prefix)
        if key is None:
            return False
        entry = records.key_revoked(prefix, project=key.project, actor=actor)
        return await keys.revoke(self.database, prefix, self.now(), row_apart(entry, "keys"))

    async def _ask(self, question: tuple[bytes, str]) -> _Answer:
        digest, prefix = question
        key = await keys.find(self.database, prefix)
        # An unknown prefix costs the same comparison as a wrong secret.
        expected = key.secret_hmac if key else bytes(len(digest))
        matches = hmac.compare_digest(expected, digest)
        if key is None or not matches or key.revoked_at is not None:
            return _Answer(None, None)
        return _Answer(_principal(key), key.expires_at)

    def _hmac(self, key: str) -> bytes:
        return hmac.digest(self.pepper, key.encode("utf-8", "replace"), "sha256")

    def _bootstrap_principal(self) -> Principal:
        return Principal(
            BOOTSTRAP_KEY_ID,
            "default",
            frozenset({Scope.ADMIN}),
            self.requests_per_minute,
            self.tokens_per_minute,
        )


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise Unauthenticated(
            "no API key was sent; send it as `Authorization: Bearer <key>`", code="missing_api_key"
        )
    scheme, _, key = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or len(key) > _MAX_PRESENTED:
        raise _invalid()
    return key.strip()


def _invalid() -> Unauthenticated:
    return Unauthenticated("the API key is not valid")


def _principal(key: ApiKey) -> Principal:
    return Principal(
        key.prefix, key.project, key.scopes, key.requests_per_minute, key.tokens_per_minute
    )


def _is_past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def _check(new: NewKey) -> None:
    if not _PROJECT.fullmatch(new.project):
        raise BadRequest(
            "a project must be 1 to 64 letters, digits, `.`, `_` or `-`", param="project"
        )
    if not 1 <= len(new.name) <= _MAX_NAME:
        raise BadRequest(f"a name must have 1 to {_MAX_NAME} characters", param="name")
    if not new.scopes:
        raise BadRequest("a key needs at least one scope", param="scopes")
    if new.environment not in ENVIRONMENTS:
        raise BadRequest(f"`{new.environment}` is not an environment", param="environment")
    for quota in ("requests_per_minute", "tokens_per_minute"):
        value = getattr(new, quota)
        if value is not None and not 1 <= value <= MAX_QUOTA:
            raise BadRequest(f"`{quota}` must be 1 to {MAX_QUOTA}", param=quota)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _is_text(text: str, length: int) -> bool:
    return len(text) == length and all(character in _ALPHABET for character in text)


def _checksum(text: str) -> str:
    remainder, digits = crc32(text.encode("utf-8", "replace")), ""
    for _ in range(_CHECKSUM_LENGTH):
        remainder, digit = divmod(remainder, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
