"""The witness over HTTP (c2sp.org/tlog-witness): `POST /add-checkpoint`, run by the auditor.

Nobody is asked who they are: a checkpoint that is not signed by a log the witness looks at
is refused, and what is cosigned can be shown to anybody. What cannot be told apart from an
attack on the log is written to the operations log, with the checkpoint's size and root.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.audit.cosignature import witness_key
from gateway.audit.witness import (
    Inconsistent,
    Outdated,
    UnknownLog,
    Unsigned,
    Witness,
    WitnessError,
    parse_request,
)
from gateway.notes import NoteError, Signature, write_signature

SIZE_TYPE = "text/x.tlog.size"
MAX_REQUEST = 256 * 1024  # bytes: 63 hashes, and a note with 16 post-quantum signatures

log = structlog.get_logger(__name__)


def create_witness(witness: Witness, now: Callable[[], float] = time.time) -> Starlette:
    """Return the application of a witness."""

    async def add_checkpoint(http: HttpRequest) -> Response:
        content = await _body(http)
        if content is None:
            return _refused(413, f"a request must not be larger than {MAX_REQUEST} bytes")
        try:
            request = parse_request(content)
            note = await witness.add(request, int(now()))
        except (NoteError, WitnessError) as error:
            return _answer(error)
        own = witness_key(witness.key).key_id
        return PlainTextResponse("".join(map(write_signature, _by(note.signatures, own))))

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])


async def _body(http: HttpRequest) -> bytes | None:
    """Return the body, None if it is too large."""
    content = bytearray()
    async for part in http.stream():
        content += part
        if len(content) > MAX_REQUEST:
            return None
    return bytes(content)


def _answer(error: NoteError | WitnessError) -> Response:
    if isinstance(error, Outdated):
        return Response(f"{error.seen}\n", 409, media_type=SIZE_TYPE)
    if isinstance(error, Inconsistent):
        log.error("log_inconsistent", origin=error.origin, size=error.size, detail=str(error))
        return _refused(409 if error.same_size else 422, str(error))
    if isinstance(error, UnknownLog):
        return _refused(404, str(error))
    if isinstance(error, Unsigned):
        return _refused(403, str(error))
    return _refused(400, str(error))


def _refused(status: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status)


def _by(signatures: tuple[Signature, ...], key_id: bytes) -> list[Signature]:
    return [each for each in signatures if each.key_id == key_id]
