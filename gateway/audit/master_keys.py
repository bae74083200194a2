"""The keys above all keys of content: from a file, or from the environment.

`MasterKeys` is what the vault asks for. A key management service fits it as well: it wraps
and unwraps where the key is, and `key_id` names the version that it used; any program can
stand for one (`gateway.audit.master_key_command`). None of these places is ever in the
database, so that a stolen database opens nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.audit.envelope import KEY_SIZE, Unreadable, new_key, unwrap, wrap
from gateway.store.keyfile import ensure_file, replace

_ID_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A key in its box, and which master key opens it."""

    key_id: str
    box: bytes


class MasterKeys(Protocol):
    """One key that wraps, and earlier ones that still unwrap."""

    async def wrap(self, secret: bytes, *place: str) -> Wrapped:
        """Wrap `secret` under the newest key."""
        ...

    async def unwrap(self, wrapped: Wrapped, *place: str) -> bytes:
        """Return the secret. Raises `Unreadable`, also where the key is not there."""
        ...

    async def renew(self) -> str:
        """Have a newer key from now on, where it is ours to make; return the newest's id."""
        ...

    async def retire(self, kept: Sequence[str]) -> None:
        """Forget every key but the newest and those with the ids in `kept`."""
        ...


class FileMasterKeys:
    """Keys in a file, 32 bytes each, the newest first. Made on first use, mode 0600.

    It is read each time, which is seldom: another process may have renewed it. Replicas
    on several machines must be given the same file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self._path = path

    async def wrap(self, secret: bytes, *place: str) -> Wrapped:
        """See `MasterKeys.wrap`. Raises `OSError` if the file can neither be read nor made."""
        return _wrapped((await self._keys())[0], secret, place)

    async def unwrap(self, wrapped: Wrapped, *place: str) -> bytes:
        """See `MasterKeys.unwrap`."""
        return _unwrapped(await self._keys(), wrapped, place)

    async def renew(self) -> str:
        """See `MasterKeys.renew`."""
        keys = [new_key(), *await self._keys()]
        await asyncio.to_thread(replace, self._path, b"".join(keys))
        return _id(keys[0])

    async def retire(self, kept: Sequence[str]) -> None:
        """See `MasterKeys.retire`."""
        newest, *earlier = await self._keys()
        keys = [newest, *(key for key in earlier if _id(key) in kept)]
        await asyncio.to_thread(replace, self._path, b"".join(keys))

    async def _keys(self) -> list[bytes]:
        return await asyncio.to_thread(_read, self._path)


class GivenMasterKeys:
    """Keys that the operator gives us: base64, the newest first, separated by commas.

    To renew, put a new one in front, rotate, and take the old one away.

    Raises:
        ValueError: If a key is not 32 bytes of base64.
    """

    def __init__(self, keys: str):
        self._keys = [_decoded(key) for key in keys.split(",")]

    async def wrap(self, secret: bytes, *place: str) -> Wrapped:
        """See `MasterKeys.wrap`."""
        return _wrapped(self._keys[0], secret, place)

    async def unwrap(self, wrapped: Wrapped, *place: str) -> bytes:
        """See `MasterKeys.unwrap`."""
        return _unwrapped(self._keys, wrapped, place)

    async def renew(self) -> str:
        """Return the id of the first key: the operator has renewed it."""
        return _id(self._keys[0])

    async def retire(self, kept: Sequence[str]) -> None:
        """Do nothing: taking a key away is the operator's part."""


def open_master_keys(path: Path, given: str, command: Sequence[str] = ()) -> MasterKeys:
    """Return the keys that are `given`, or that a `command` has, else those in a file.

    Raises:
        ValueError: If a given key is not 32 bytes of base64, or there are two places.
    """
    if given and command:
        raise ValueError("master keys come from `vault_key` or from `vault_command`, not both")
    if command:
        from gateway.audit.master_key_command import CommandMasterKeys

        return CommandMasterKeys(command)
    return GivenMasterKeys(given) if given else FileMasterKeys(path)


def _wrapped(key: bytes, secret: bytes, place: Sequence[str]) -> Wrapped:
    return Wrapped(_id(key), wrap(key, secret, *place))


def _unwrapped(keys: Sequence[bytes], wrapped: Wrapped, place: Sequence[str]) -> bytes:
    for key in keys:
        if _id(key) == wrapped.key_id:
            return unwrap(key, wrapped.box, *place)
    raise Unreadable(f"the master key `{wrapped.key_id}` is not there")


def _id(key: bytes) -> str:
    return hashlib.sha256(b"ostiary master key" + key).hexdigest()[:_ID_DIGITS]


def _decoded(key: str) -> bytes:
    try:
        decoded = base64.b64decode(key.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("`vault_key` must be base64") from error
    if len(decoded) != KEY_SIZE:
        raise ValueError(f"a key in `vault_key` must have {KEY_SIZE} bytes")
    return decoded


def _read(path: Path) -> list[bytes]:
    ensure_file(path)
    content = path.read_bytes()
    if not content or len(content) % KEY_SIZE:
        raise ValueError(f"`{path}` must hold keys of {KEY_SIZE} bytes")
    return [content[at : at + KEY_SIZE] for at in range(0, len(content), KEY_SIZE)]
