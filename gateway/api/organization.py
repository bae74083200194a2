"""`/v1/organization/audit_logs` and `/decisions`: the log for auditors, in OpenAI's lists.

What the official client knows by a name of its own has that name here; what it does not
know keeps ours. Every listing, and every opening of content, is an entry itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.administration import answered, limit_of, page_of, reason_of
from gateway.api.gates import admit_key
from gateway.api.services import Services
from gateway.audit.access import open_content, search
from gateway.audit.search import Criteria, Found, Page, actor
from gateway.errors import BadRequest
from gateway.store.times import as_text, from_text
from gateway.types import Scope

router = APIRouter()

_MAX_VALUES = 100  # of one filter
_LAST_SECOND = 253_402_300_798  # of the year 9999, but one
_TYPE_NAMES = {"key.created": "api_key.created", "key.revoked": "api_key.deleted"}
_OWN_NAMES = {name: own for own, name in _TYPE_NAMES.items()}
_DECISION = "decision.recorded"
_COMMON = frozenset({"format", "id", "recorded_at", "replica", "seq", "type", "actor"})


@router.get("/v1/organization/audit_logs")
async def list_audit_logs(request: Request) -> Response:
    """List what people did: to keys, policies, end users, and what they looked at."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.AUDITOR)
        query = request.query_params
        types = tuple(_OWN_NAMES.get(name, name) for name in _values(query, "event_types"))
        since, before = _moments(query)
        criteria = Criteria(
            administrative=True,
            types=types,
            projects=_values(query, "project_ids"),
            since=since,
            before=before,
            actors=_values(query, "actor_ids"),
            resources=_values(query, "resource_ids"),
        )
        page = _page(request)
        # Nobody here has an e-mail address, and there is no tenant above the organization.
        if _values(query, "actor_emails") or query.get("tenant_only") == "true":
            return page_of([], more=False)
        found = await search(
            services.database, criteria, page, surface="audit_logs", actor=principal.key_id
        )
        return page_of([_act(entry) for entry in found.entries], more=found.more)

    return await answered(request, "audit_logs", work)


@router.get("/v1/organization/decisions")
async def list_decisions(request: Request) -> Response:
    """List decisions, by where they were taken, on what grounds and about whom."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.AUDITOR)
        query = request.query_params
        since, before = _moments(query)
        criteria = Criteria(
            types=(_DECISION,),
            projects=_values(query, "project_ids"),
            requests=_values(query, "request_ids"),
            since=since,
            before=before,
            stages=_values(query, "stages"),
            actions=_values(query, "actions"),
            rules=_values(query, "rules"),
            categories=_values(query, "categories"),
            end_users=_values(query, "end_users"),
            actors=_values(query, "actor_ids"),
        )
        page = _page(request, _entry_id)
        found: Found = await search(
            services.database, criteria, page, surface="decisions", actor=principal.key_id
        )
        return page_of([_decision(entry) for entry in found.entries], more=found.more)

    return await answered(request, "decisions", work)


@router.post("/v1/organization/decisions/{id}/content")
async def open_decision(request: Request, id: str) -> Response:
    """Return what was said, of a decision or of all of a request; for a reason."""

    async def work(services: Services) -> dict[str, Any]:
        principal = await admit_key(request, services, Scope.AUDITOR)
        reason = await reason_of(request, services)
        opened = await open_content(services.vault, id, reason=reason, actor=principal.key_id)
        return {
            "object": "organization.content",
            "id": id,
            "data": [
                {
                    "decision": record.entry["decision"]["id"],
                    "field": field.field,
                    "state": field.state.value,
                    "said": list(field.said),
                }
                for record in opened
                for field in record.content
            ],
        }

    return await answered(request, "decisions", work)


def _act(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as an audit log of the official client's."""
    name = _TYPE_NAMES.get(entry["type"], entry["type"])
    project = entry.get("project") or (entry.get("key") or {}).get("project")
    details = {key: value for key, value in entry.items() if key not in _COMMON}
    if name in _OWN_NAMES:
        details = {"id": entry["key"]["id"]}
        if "scopes" in entry:
            details["data"] = {"scopes": entry["scopes"]}
    act = {
        "object": "organization.audit_log",
        "id": entry["id"],
        "type": name,
        "effective_at": _seconds(entry),
        "actor": _who(actor(entry)),
        name: details,
    }
    return act if project is None else {**act, "project": {"id": project, "name": project}}


def _who(key: str | None) -> dict[str, Any] | None:
    """Return who did it: a key, or whoever used the command line or the machine itself."""
    if key is None:
        return None
    if key.partition(":")[0] in {"cli", "serve", "registry", "retention", "file"}:
        return {"type": "session", "session": {"user": {"id": key}}}
    return {"type": "api_key", "api_key": {"id": key, "type": "user"}}


def _decision(entry: dict[str, Any]) -> dict[str, Any]:
    details = {key: value for key, value in entry.items() if key not in _COMMON - {"actor"}}
    decision = details.pop("decision")
    return {
        "object": "organization.decision",
        "effective_at": _seconds(entry),
        **decision,
        **details,
    }


def _page(request: Request, id_of: Callable[[str], str] = str) -> Page:
    limit, query = limit_of(request), request.query_params
    after, before = query.get("after"), query.get("before")
    return Page(limit, after and id_of(after), before and id_of(before))


def _entry_id(decision_id: str) -> str:
    """Return the id of a decision's entry; what is none is found nowhere."""
    digits = decision_id.removeprefix("dec_")
    return str(UUID(digits)) if len(digits) == 32 and _is_hex(digits) else decision_id


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in text)


def _values(query: QueryParams, name: str) -> tuple[str, ...]:
    """Return the values of a filter, as the official client sends them."""
    values = (*query.getlist(f"{name}[]"), *query.getlist(name))
    if len(values) > _MAX_VALUES:
        raise BadRequest(f"`{name}` has more than {_MAX_VALUES} values", param=name)
    return tuple(dict.fromkeys(value[:256] for value in values))


def _moments(query: QueryParams) -> tuple[str | None, str | None]:
    """Return from when on and before when, in whole seconds as they are shown."""
    since = [_second(query, "gte", 0), _second(query, "gt", 1)]
    before = [_second(query, "lt", 0), _second(query, "lte", 1)]
    first = max((each for each in since if each is not None), default=None)
    last = min((each for each in before if each is not None), default=None)
    return _moment(first), _moment(last)


def _second(query: QueryParams, bound: str, more: int) -> int | None:
    name = f"effective_at[{bound}]"
    value = query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and int(value[:15]) <= _LAST_SECOND):
        raise BadRequest(f"`{name}` must be a moment in Unix seconds", param="effective_at")
    return int(value) + more


def _moment(second: int | None) -> str | None:
    return None if second is None else as_text(datetime.fromtimestamp(second, UTC))


def _seconds(entry: dict[str, Any]) -> int:
    return int(from_text(entry["recorded_at"]).timestamp())
