"""An inference engine over HTTP.

`UpstreamChat` asks any OpenAI-compatible server and trusts its parser only as far as
`chat_reply` can check it. `UpstreamToken` asks vLLM with token ids and reads token ids, so
that rendering and parsing stay ours. Nothing of the caller's request reaches the engine
except the prompt: no headers, no key, no cookies; redirects and proxy settings from the
environment are not followed. An engine's error text is never passed on: it may quote the
prompt.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from model_runner.chat_reply import ChatReply
from model_runner.chat_request import COMMON, Dialect, chat_request, offered_names
from model_runner.completion import CompletionChunks, completion_request
from model_runner.reply import Codec, StopTexts, TokenReply
from model_runner.sse import DONE, EventReader
from model_runner.types import (
    Delta,
    Finish,
    Prompt,
    PromptRejected,
    RunnerTimeout,
    RunnerUnavailable,
)

_READY_TIMEOUT_S = 2.0
_READY_FOR_S = 1.0  # how long an answer about readiness counts
_DRAIN_S = 0.25  # after its last event an engine has this long to end the response
_IDLE_S = 4.0  # below the 5 s after which uvicorn closes an idle connection
_CONTEXT_LENGTH = 131072  # gpt-oss; vLLM says at `/models` if it was started with less
_ERROR_BYTES = 64 * 1024  # how much of an error's body is looked at

_ADVICE: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: ": check `upstream_api_key`",
    HTTPStatus.FORBIDDEN: ": check `upstream_api_key`",
    HTTPStatus.NOT_FOUND: ": check `upstream_url` and `upstream_model`",
}

_PROMPT_AT_FAULT = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)

_TOO_LONG = re.compile(
    rb"context_length_exceeded|context[ _](?:length|window|size)|maximum.{0,20}\btokens\b"
    rb"|exceed_context_size|prompt is too long",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an engine is and how to speak to it.

    Attributes:
        url: Base URL, as in `http://127.0.0.1:8000/v1`.
        model: The id callers use.
        served_as: The model's name at the engine; empty means `model`.
        api_key: Bearer token; empty means none.
        timeout_s: Longest silence, before the reply or within it, seconds.
    """

    url: str
    model: str
    served_as: str = ""
    api_key: str = ""
    timeout_s: float = 60.0

    @property
    def name(self) -> str:
        """The model's name at the engine."""
        return self.served_as or self.model


class Connection:
    """A pool of connections to one engine, opened by the first request.

    Owned by one event loop; nothing here may be called from another.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._base = engine.url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._ready = False
        self._ready_until = 0.0

    async def stream(self, path: str, body: bytes) -> AsyncGenerator[list[bytes]]:
        """Post `body` and yield the payloads of each network read, without `[DONE]`.

        Closing the generator early closes the connection, which stops the engine.

        Raises:
            RunnerError: As `Runner.generate` says.
        """
        reader = EventReader()
        with _translated_errors(self._engine.timeout_s):
            response = await self._post(path, body)
            try:
                await _check_status(response)
                async for received in response.content.iter_any():
                    payloads = reader.push(received)
                    if DONE in payloads:
                        yield payloads[: payloads.index(DONE)]
                        await _drain(response.content)
                        return
                    yield payloads
                yield [payload for payload in reader.close() if payload != DONE]
            finally:
                # A response that was read to its end has given its connection back
                # already; any other connection is cut here and now.
                response.close()

    async def models(self, timeout_s: float = _READY_TIMEOUT_S) -> list[Any] | None:
        """Return what the engine lists at `/models`, or None if it does not answer in time."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        url = f"{self._base}/models"
        try:
            async with self._opened().get(url, timeout=timeout, allow_redirects=False) as response:
                if response.status != HTTPStatus.OK:
                    return None
                listed = orjson.loads(await response.content.read(_ERROR_BYTES))["data"]
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError):
            return None
        return listed if isinstance(listed, list) else None

    async def ready(self) -> bool:
        """Return whether the engine answered lately, asking it at most once a second."""
        if time.monotonic() >= self._ready_until:
            self._ready = await self.models() is not None
            self._ready_until = time.monotonic() + _READY_FOR_S
        return self._ready

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, path: str, body: bytes) -> aiohttp.ClientResponse:
        session, url = self._opened(), f"{self._base}/{path}"
        try:
            return await session.post(url, data=body, allow_redirects=False)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError):
            # The engine closed an idle connection just as we took it from the pool.
            return await session.post(url, data=body, allow_redirects=False)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
            if self._engine.api_key:
                headers["Authorization"] = f"Bearer {self._engine.api_key}"
            silence_s = self._engine.timeout_s
            self._session = aiohttp.ClientSession(
                headers=headers,
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
                timeout=aiohttp.ClientTimeout(sock_connect=silence_s, sock_read=silence_s),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class UpstreamChat:
    """A runner on Chat Completions: the engine renders prompts and parses replies.

    Args:
        engine: Where it is.
        dialect: How it differs from OpenAI's own server.
    """

    kind = "upstream-chat"

    def __init__(self, engine: Engine, dialect: Dialect = COMMON) -> None:
        self._engine = engine
        self._dialect = dialect
        self._connection = Connection(engine)

    @property
    def model(self) -> str:
        """The id callers use."""
        return self._engine.model

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """Stream the engine's reply; see `Runner.generate`."""
        body = chat_request(prompt, self._engine.name, self._dialect)
        reply = ChatReply(offered_names(prompt))
        # The engine knows the stop texts and ends by itself, some a few letters too late.
        stop = StopTexts(prompt.sampling.stop)
        async with aclosing(self._connection.stream("chat/completions", body)) as reads:
            async for payloads in reads:
                for delta in stop.cut(reply.push(payloads)):
                    yield delta
        finish = reply.finish()
        for rest in stop.rest():
            yield rest
        yield finish

    async def ready(self) -> bool:
        """Return whether the engine answers."""
        return await self._connection.ready()

    async def aclose(self) -> None:
        """Close the connections to the engine."""
        await self._connection.aclose()


class UpstreamToken:
    """A runner on vLLM's `/v1/completions`: token ids out, token ids back.

    Args:
        engine: Where it is.
        codec: What renders prompts and parses replies: `Harmony` for gpt-oss.
    """

    kind = "upstream-token"

    def __init__(self, engine: Engine, codec: Codec) -> None:
        self._engine = engine
        self._codec = codec
        self._connection = Connection(engine)
        self._context_length: int | None = None

    @property
    def model(self) -> str:
        """The id callers use."""
        return self._engine.model

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Delta | Finish]:
        """Stream the engine's reply; see `Runner.generate`."""
        token_ids = self._codec.render(prompt)
        body = completion_request(
            prompt, token_ids, self._engine.name, self._codec, await self._room(len(token_ids))
        )
        chunks = CompletionChunks()
        parser = self._codec.parser(offered_names(prompt))
        reply = TokenReply(parser, prompt.sampling.stop, len(token_ids))
        async with aclosing(self._connection.stream("completions", body)) as reads:
            async for payloads in reads:
                for delta in reply.push(chunks.read(payloads)):
                    yield delta
                if reply.stopped:
                    break
        hit_limit = not reply.stopped and chunks.hit_limit()
        for item in reply.finish(hit_limit=hit_limit, cached_tokens=chunks.usage.cached_tokens):
            yield item

    async def ready(self) -> bool:
        """Return whether the engine answers."""
        return await self._connection.ready()

    async def aclose(self) -> None:
        """Close the connections to the engine."""
        await self._connection.aclose()

    async def _room(self, input_tokens: int) -> int:
        """Return how many tokens a reply may have; vLLM's own default is 16."""
        if self._context_length is None:
            self._context_length = _context_length(
                await self._connection.models(self._engine.timeout_s)
            )
        room = self._context_length - input_tokens
        if room <= 0:
            raise PromptRejected(
                f"the prompt has {input_tokens} tokens, the model's context {self._context_length}",
                code="context_length_exceeded",
            )
        return room


def _context_length(models: list[Any] | None) -> int:
    if models is None:
        raise RunnerUnavailable("the engine does not answer at `/models`: check `upstream_url`")
    listed = (model.get("max_model_len") for model in models if isinstance(model, dict))
    return min((length for length in listed if isinstance(length, int)), default=_CONTEXT_LENGTH)


@contextmanager
def _translated_errors(timeout_s: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise RunnerTimeout(f"the engine was silent for {timeout_s:g} s") from error
    except aiohttp.ClientConnectorError as error:
        raise RunnerUnavailable("the engine cannot be reached: check `upstream_url`") from error
    except (aiohttp.ClientError, OSError) as error:
        raise RunnerUnavailable("the connection to the engine broke") from error


async def _drain(content: aiohttp.StreamReader) -> None:
    """Read the end of a response whose last event has come, so its connection can be kept."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_S):
            while not content.at_eof():
                await content.readany()


async def _check_status(response: aiohttp.ClientResponse) -> None:
    """Raise what a status other than 200 means; its body is looked at, never passed on."""
    status = response.status
    if status == HTTPStatus.OK:
        return
    if status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ):
        raise _rejection(status, await response.content.read(_ERROR_BYTES))
    advice = _ADVICE.get(status, "")
    raise RunnerUnavailable(f"the engine answered with status {status}{advice}")


def _rejection(status: int, body: bytes) -> PromptRejected:
    if _TOO_LONG.search(body):
        return PromptRejected(
            "the prompt is longer than the model's context", code="context_length_exceeded"
        )
    return PromptRejected(f"the engine refused the prompt with status {status}")
