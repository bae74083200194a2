"""Somebody else's server, asked in JSON.

What comes back is bounded, in time and in bytes, and is checked by whoever asked. Nothing
of a caller's request but the text to be judged is sent; redirects and proxy settings of
the environment are not followed. An error's body is never read: it may quote the text.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from classifiers.judges.text_model import (
    MALFORMED,
    OVERLOADED,
    REJECTED,
    TIMEOUT,
    UNAVAILABLE,
    TextModelError,
)

_MAX_BYTES = 4 * 1024 * 1024  # of an answer
_IDLE_S = 4.0  # below the 5 s after which uvicorn closes an idle connection


class Service:
    """A base URL, with the connections to it.

    Connections belong to the event loop that opened them; from another loop new ones are
    opened, because policies may be tested on a loop of their own.

    Args:
        url: Base URL, as in `http://127.0.0.1:8000/v1`.
        api_key: Bearer token; empty means none.
        timeout_s: Longest time one question may take, seconds.

    Raises:
        ValueError: If the URL is not one of HTTP, or holds credentials.
    """

    def __init__(self, url: str, api_key: str = "", timeout_s: float = 10.0):
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is none
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("`url` must start with `http://` or `https://` and name a host")
        if parts.username or parts.password:
            raise ValueError("`url` must not hold credentials; use `api_key_env`")
        if parts.query or parts.fragment:
            raise ValueError("`url` must end with its path: no `?` and no `#`")
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(self, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Send `body` and return the JSON that comes back.

        Raises:
            TextModelError: If none does in time.
        """
        try:
            content = orjson.dumps(body)
        except TypeError as error:  # a lone surrogate
            raise TextModelError(REJECTED) from error
        try:
            async with asyncio.timeout(self._timeout_s):
                received = await self._exchange(f"{self.url}/{path}", content)
        except TimeoutError as error:
            raise TextModelError(TIMEOUT) from error
        except (aiohttp.ClientError, OSError) as error:
            raise TextModelError(UNAVAILABLE) from error
        try:
            return orjson.loads(received)
        except orjson.JSONDecodeError as error:
            raise TextModelError(MALFORMED) from error

    async def aclose(self) -> None:
        """Close every connection of this loop."""
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    async def _exchange(self, url: str, content: bytes) -> bytes:
        try:
            return await self._once(url, content)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError):
            # The server closed an idle connection just as we took it from the pool.
            return await self._once(url, content)

    async def _once(self, url: str, content: bytes) -> bytes:
        async with self._opened().post(url, data=content, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise TextModelError(_reason(response.status))
            received = bytearray()
            async for piece in response.content.iter_any():
                received += piece
                if len(received) > _MAX_BYTES:
                    raise TextModelError(MALFORMED)
            return bytes(received)

    def _opened(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _reason(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return OVERLOADED
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return TIMEOUT
    return UNAVAILABLE if status >= HTTPStatus.INTERNAL_SERVER_ERROR else REJECTED
