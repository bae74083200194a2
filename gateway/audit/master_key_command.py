"""Master keys that a program of the operator's wraps with: a key management service, an HSM.

The program is started once for each question, which is seldom: a project's key is wrapped
when the project is new and when keys are rotated, and unwrapped once a second at most. It
reads one JSON object from standard input and writes one to standard output; secrets are on
no command line. Status 0 says that the answer holds; anything else, and whatever it then says
on standard error, that it does not.

| asked                                                      | to be answered                |
|------------------------------------------------------------|-------------------------------|
| `{"do": "wrap", "secret": B, "place": [...]}`              | `{"key_id": "...", "box": B}` |
| `{"do": "unwrap", "key_id": "...", "box": B, "place": []}` | `{"secret": B}`               |
| `{"do": "renew"}`                                          | `{"key_id": "..."}`           |
| `{"do": "retire", "kept": ["..."]}`                        | `{}`                          |

`B` is base64. A box must open for its `place` only, the encryption context of a service.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import json
from collections.abc import Sequence
from typing import Any

from gateway.audit.envelope import KEY_SIZE, Unreadable
from gateway.audit.master_keys import Wrapped

_TIMEOUT_S = 10.0
_MAX_ANSWER = 64 * 1024  # bytes
_MAX_KEY_ID = 64  # characters: what the database has room for


class CommandMasterKeys:
    """Asks a program; see `gateway.audit.master_keys.MasterKeys`.

    Args:
        command: The program and its arguments.

    Every method raises `OSError` if the program cannot be used.
    """

    def __init__(self, command: Sequence[str]):
        self._command = tuple(command)

    async def wrap(self, secret: bytes, *place: str) -> Wrapped:
        """See `MasterKeys.wrap`."""
        answer = await self._asked({"do": "wrap", "secret": _text(secret), "place": list(place)})
        return Wrapped(_key_id(answer), _bytes(answer, "box"))

    async def unwrap(self, wrapped: Wrapped, *place: str) -> bytes:
        """See `MasterKeys.unwrap`."""
        asked = {"do": "unwrap", "key_id": wrapped.key_id, "box": _text(wrapped.box)}
        try:
            answer = await self._asked({**asked, "place": list(place)})
        except _Refused as refused:
            raise Unreadable(f"the master key `{wrapped.key_id}` does not open it") from refused
        secret = _bytes(answer, "secret")
        if len(secret) != KEY_SIZE:
            raise Unreadable(f"the master key `{wrapped.key_id}` opened something else")
        return secret

    async def renew(self) -> str:
        """See `MasterKeys.renew`."""
        return _key_id(await self._asked({"do": "renew"}))

    async def retire(self, kept: Sequence[str]) -> None:
        """See `MasterKeys.retire`."""
        await self._asked({"do": "retire", "kept": list(kept)})

    async def _asked(self, question: dict[str, Any]) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # it may quote what it was asked
        )
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer, _ = await process.communicate(json.dumps(question).encode())
        except TimeoutError as error:
            raise _failed(f"it did not answer in {_TIMEOUT_S:.0f} seconds") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise _failed(f"it ended with status {process.returncode}", _Refused)
        return _object(answer)


class _Refused(OSError):
    """The program says that it cannot."""


def _failed(detail: str, kind: type[OSError] = OSError) -> OSError:
    return kind(errno.EIO, detail, "the program in `vault_command`")


def _object(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer) if len(answer) <= _MAX_ANSWER else None
    except ValueError as error:
        raise _failed("it did not answer with JSON") from error
    if not isinstance(found, dict):
        raise _failed("it did not answer with a JSON object")
    return found


def _key_id(answer: dict[str, Any]) -> str:
    found = answer.get("key_id")
    if not isinstance(found, str) or not 0 < len(found) <= _MAX_KEY_ID:
        raise _failed(f"it answered without a `key_id` of 1 to {_MAX_KEY_ID} characters")
    return found


def _bytes(answer: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(answer[name], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise _failed(f"it answered without `{name}` as base64") from error


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
