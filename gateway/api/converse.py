"""What both conversation endpoints do: pass the gates, ask the pipeline, write the reply.

    identity -> body -> parse -> limits -> pipeline -> writer

Streamed and unary replies are the same writer over the same pipeline; unary is collected.
This file is a named boundary: whatever goes wrong below it becomes an OpenAI error here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.api.call import Call, Event, Reader, Writer, WriterFactory
from gateway.api.gates import admit_end_user, deny, enter, estimated_tokens
from gateway.api.governing import Governed, access_of, circumstances_of, govern
from gateway.api.moderation_result import tightened
from gateway.api.problems import as_gateway_error, error_response, json_response, refusal_response
from gateway.api.services import Services, services_of
from gateway.api.sse import DONE, EventStream, HungUp, until_hang_up
from gateway.conversation import History
from gateway.enforcement import safety_warning
from gateway.errors import AuditUnavailable, GatewayError, NotFound
from gateway.exchange import Exchange
from gateway.keeping import Keeping
from gateway.limits import Quota
from gateway.pipeline import Refusal, Reply
from gateway.secrecy import Noted
from gateway.summary import Summary
from gateway.types import Principal
from model_runner.types import RunnerError
from policies.effects import STOPPED
from policies.ladder import Standing

CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that went away; nobody reads it
_log = structlog.get_logger("ostiary.api")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What differs between the two APIs.

    Attributes:
        name: `responses` or `chat`, for the record and the metrics.
        read: Request body -> Call.
        writer: Makes the reply's writer.
        encode: Event -> bytes of a server-sent event.
        ends_with_done: Whether a stream ends in `[DONE]`.
    """

    name: str
    read: Callable[[dict[str, Any], Reader], Call]
    writer: WriterFactory
    encode: Callable[[Event], bytes]
    ends_with_done: bool


class Conversation:
    """The ASGI app of one endpoint, for a plain route.

    A FastAPI route would resolve dependencies that there are none of, for about a tenth
    of what the whole request costs.
    """

    def __init__(self, endpoint: Endpoint):
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await converse(Request(scope, receive), self._endpoint)
        await response(scope, receive, send)


@dataclass(slots=True)
class _Visit:
    """One admitted request on its way through this file."""

    services: Services
    endpoint: Endpoint
    call: Call
    exchange: Exchange
    quota: Quota
    standing: Standing
    writer: Writer

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every reply to an admitted request."""
        headers = {**self.quota.headers(), **safety_warning(self.standing)}
        if self.exchange.decision_ids:
            headers["x-ostiary-decision-id"] = self.exchange.decision_ids[0]
        return headers


async def converse(request: Request, endpoint: Endpoint) -> Response:
    """Answer one request of either API."""
    services = services_of(request)
    request.scope["endpoint_name"] = endpoint.name
    try:
        visit = await _admit(request, services, endpoint)
    except GatewayError as error:
        return await deny(request, endpoint.name, error)
    async with AsyncExitStack() as stack:
        services.in_flight += 1
        stack.push_async_callback(_leave, visit)
        items = visit.services.pipeline.answer(visit.exchange)
        stack.push_async_callback(items.aclose)
        try:
            async with until_hang_up(request.receive):
                reply = await (_begin(visit, items) if visit.call.stream else _unary(visit, items))
        except HungUp:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:  # noqa: BLE001 - the boundary: see the module's docstring
            return error_response(_explained(error), _headers_of(visit, error))
        if isinstance(reply, Response):
            return reply
        return EventStream(_events(visit, reply, items), visit.headers, stack.pop_all())


async def _admit(request: Request, services: Services, endpoint: Endpoint) -> _Visit:
    principal, body = await enter(request, services)
    reader = _reader(services, principal)
    call = endpoint.read(body, reader)
    runner = services.pipeline.runner
    if call.prompt.model != runner.model:
        raise NotFound(
            f"the model `{call.prompt.model[:80]}` does not exist or you do not have access to it",
            param="model",
            code="model_not_found",
        )
    governed = _governed(request, services, endpoint, principal, call)
    standing = await admit_end_user(request, services, governed)
    history = History(call.prompt.messages, call.issued)
    reopens = await services.consequences.stops.check(
        principal, governed.circumstances.end_user, history
    )
    quota = await services.limits.take(principal, _reservation(call))
    exchange = Exchange(
        id=request.scope["state"]["request_id"],
        principal=principal,
        prompt=call.prompt,
        policy=tightened(governed.policy, call.moderation),
        endpoint=endpoint.name,
        stream=call.stream,
        runner=runner.kind,
        safety_identifier=call.safety_identifier,
        exposed=reader.accept_reasoning,
        summary=Summary(call.summary) if call.summary else None,
        keeping=Keeping(wanted=governed.retain),
        history=history,
        reopens=reopens,
        noted=Noted(services.canaries),
        traces=call.traces,
        circumstances=replace(governed.circumstances, strikes=standing.strikes),
    )
    writer = endpoint.writer(call, exchange, services.sealer, expose=exchange.exposed)
    return _Visit(services, endpoint, call, exchange, quota, standing, writer)


def _reader(services: Services, principal: Principal) -> Reader:
    settings, project = services.settings, principal.project
    exposed = settings.exposes_reasoning_to(project)
    return Reader(settings.max_messages, exposed, services.sealer, project)


def _governed(
    request: Request, services: Services, endpoint: Endpoint, principal: Principal, call: Call
) -> Governed:
    end_user = services.ledger.subject_of(principal.project, call.safety_identifier)
    profile = services.policies.book.profile(principal.project)
    access = access_of(call.access_programs, profile)
    given = circumstances_of(call, endpoint.name, end_user, access)
    return govern(request.headers, services, principal, given)


async def _unary(visit: _Visit, items: AsyncGenerator[Reply]) -> Response:
    async for item in items:
        if isinstance(item, Refusal) and (item.prompt or item.decision.code == STOPPED):
            return refusal_response(item, visit.headers)
        visit.writer.write(item)
    return json_response(visit.writer.result(), 200, visit.headers)


async def _begin(visit: _Visit, items: AsyncGenerator[Reply]) -> Response | Reply:
    """Wait for the prompt's decision: a refusal, or the first item of a stream."""
    first = await anext(items)
    if isinstance(first, Refusal):
        return refusal_response(first, visit.headers)
    return first


async def _events(
    visit: _Visit, first: Reply, items: AsyncGenerator[Reply]
) -> AsyncGenerator[bytes]:
    encode, write = visit.endpoint.encode, visit.writer.write
    yield b"".join(encode(event) for event in write(first))
    try:
        async for item in items:
            if events := write(item):
                yield b"".join(encode(event) for event in events)
    except Exception as error:  # noqa: BLE001 - the boundary: the status line has been sent
        failed = visit.writer.fail(_explained(error))
        yield b"".join(encode(event) for event in failed)
        return
    if visit.endpoint.ends_with_done:
        yield DONE


async def _leave(visit: _Visit) -> None:
    """Settle what the request took; runs once, however it ended."""
    services, exchange = visit.services, visit.exchange
    services.in_flight -= 1
    usage = exchange.usage
    used = usage.input_tokens + usage.output_tokens if usage else 0
    if usage and used:  # an engine that counts nothing leaves our estimate standing
        services.metrics.tokens(usage.input_tokens, usage.output_tokens)
        await services.limits.settle(exchange.principal, visit.quota.reserved_tokens, used)
    outcome = exchange.outcome.value if exchange.outcome else "error"
    services.metrics.exchange(exchange.endpoint, outcome, exchange.decisions)
    services.oversight.consider(exchange)


def _headers_of(visit: _Visit, error: Exception) -> dict[str, str]:
    """Return what goes with `error`: no id of a decision that may not be in the log."""
    return visit.quota.headers() if isinstance(error, AuditUnavailable) else visit.headers


def _reservation(call: Call) -> int:
    """Return a reservation in tokens; the true count is settled when the reply ends."""
    chars = sum(len(message.text) for message in call.prompt.messages)
    return estimated_tokens(chars) + (call.prompt.sampling.max_tokens or 0)


def _explained(error: Exception) -> GatewayError:
    """Return what the caller is told; log what they are not."""
    told = as_gateway_error(error)
    if not isinstance(error, GatewayError | RunnerError):
        _log.error("request_failed", error=type(error).__name__, exc_info=error)
    elif told.status >= 500:
        _log.warning("request_failed", error=type(error).__name__, reason=str(error))
    return told
