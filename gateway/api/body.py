"""Reads a request body: bounded in size and time, uncompressed, strict JSON."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from gateway.errors import BadRequest, BodyTimeout, BodyTooLarge, UnsupportedEncoding

MAX_DEPTH = 100  # levels; what renders prompts and writes replies gives up at 128 and 254


async def read_object(
    request: Request, *, max_bytes: int, timeout_s: float, optional: bool = False
) -> dict[str, Any]:
    """Return the JSON object in the body.

    Args:
        request: Whose.
        max_bytes: More is refused.
        timeout_s: Longest time that it may take to arrive, seconds.
        optional: Whether no body at all counts as an empty object.

    Raises:
        UnsupportedEncoding: If the body is compressed or declared to be something else.
        BodyTooLarge: If it is larger than `max_bytes`, declared or counted.
        BodyTimeout: If it has not arrived after `timeout_s` seconds.
        BadRequest: If it is not JSON, not an object, or nested too deep.
    """
    _check_headers(request, max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            raw = await _read(request, max_bytes)
    except TimeoutError as late:
        raise BodyTimeout(f"the request body did not arrive within {timeout_s:g} s") from late
    except ClientDisconnect as gone:
        raise BadRequest("the client went away before its request was complete") from gone
    if optional and not raw:
        return {}
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as malformed:
        where = f"line {malformed.lineno}, column {malformed.colno}"
        reason = str(malformed.msg).lower()
        raise BadRequest(
            f"the request body is not valid JSON: {reason} at {where}", code="invalid_json"
        ) from malformed
    if not isinstance(value, dict):
        raise BadRequest("the request body must be a JSON object", code="invalid_json")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_too_deep(value):
        raise BadRequest(
            f"the request body is nested deeper than {MAX_DEPTH} levels", code="invalid_json"
        )
    return value


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)  # type: ignore[attr-defined]  # only dicts and lists get here
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _check_headers(request: Request, max_bytes: int) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnsupportedEncoding("compressed request bodies are not read; send it as it is")
    media_type = request.headers.get("content-type", "application/json").partition(";")[0]
    if media_type.strip().lower() != "application/json":
        raise UnsupportedEncoding("the content type must be `application/json`")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > max_bytes:
        raise BodyTooLarge(f"the request body is larger than {max_bytes} bytes")


async def _read(request: Request, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise BodyTooLarge(f"the request body is larger than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)
