"""What is recorded of each event: one builder per type of entry.

Bodies keep to what `gateway.audit.entry` asks of them, and hold no content. The end
user appears as a pseudonym only, keyed with a secret of this installation, so that it
cannot be joined with anything once that secret is gone.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import cache
from typing import Any

from classifiers.types import Receipt
from gateway.audit.answers import taken_on
from gateway.audit.entry import Entry, fraction, new_id, whole
from gateway.audit.vault import Kept
from gateway.errors import AuditUnavailable, GatewayError
from gateway.exchange import Exchange
from gateway.store.content import NOTHING
from gateway.store.times import as_text
from gateway.types import Outcome, Principal, Scope
from policies.types import Action, Decision, Policy, RuleOutcome

_MAX_NAME = 128  # code points of a string that a caller or a file chose
_FIELD = re.compile(r"[a-z0-9_.\[\]]{1,64}")  # a request field of ours; a made-up one is content


def pseudonym(secret: bytes, project: str, safety_identifier: str | None) -> str | None:
    """Return what stands for an end user in the log: 32 hex digits.

    Args:
        secret: 32 bytes, known to this installation only.
        project: The same identifier in two projects gives two pseudonyms.
        safety_identifier: The caller's id of the end user, or None.

    Returns:
        None for nobody: an empty one does not name a person.
    """
    if not safety_identifier:
        return None
    name = f"{project}\0{safety_identifier}".encode("utf-8", "replace")
    return hmac.digest(secret, name, "sha256").hex()[:32]


def admitted(exchange: Exchange, subject: str | None) -> Entry:
    """A request passed the gates. `subject` is the end user's pseudonym."""
    prompt = exchange.prompt
    sampling = prompt.sampling
    body = _subject(exchange, subject)
    body["model"] = {
        "name": prompt.model[:_MAX_NAME],
        "runner": exchange.runner,
        "effort": prompt.effort.value,
        "temperature": fraction(sampling.temperature),
        "top_p": fraction(sampling.top_p),
        "max_tokens": whole(sampling.max_tokens),
        "seed": whole(sampling.seed),
    }
    body["prompt"] = {
        "messages": len(prompt.messages),
        "chars": sum(len(message.text) for message in prompt.messages),
        "tools": len(prompt.tools),
        "json_schema": prompt.json_schema is not None,
    }
    body["policy"] = _policy(exchange.policy.id, exchange.policy.version, exchange.policy.digest)
    return _of_exchange(exchange, "request.admitted", body)


def decided(
    exchange: Exchange,
    decision: Decision,
    subject: str | None,
    kept: Kept | None = None,
    panel: str | None = None,
) -> tuple[str, Entry]:
    """A decision was taken; nothing may act on it before this is durable.

    Args:
        exchange: Whose.
        decision: What was decided.
        subject: The end user's pseudonym.
        kept: The content that is written with it.
        panel: The id of the entry that says who was there to answer.

    Returns:
        The decision's id, `dec_` and the 32 hex digits of the entry's id; and the entry.
    """
    entry_id = kept.record_id if kept else new_id()
    decision_id = f"dec_{entry_id.replace('-', '')}"
    body = _subject(exchange, subject)
    body["policy"] = _policy(decision.policy_id, decision.policy_version, decision.policy_digest)
    body["decision"] = {
        "id": decision_id,
        "stage": decision.stage.value,
        "action": _ACTION_NAMES[decision.action],
        "code": None if decision.action is Action.ALLOW else decision.code,
        "redactions": len(decision.redactions),
    }
    body["determining_rules"] = list(decision.determining_rules)
    body["rules"] = [_rule(outcome) for outcome in decision.outcomes]
    body["classifiers"] = [_classifier(receipt) for receipt in decision.receipts]
    body["coverage"] = _coverage(decision.receipts)
    body["scores"] = [  # a category that is not listed scored 0, by a classifier that answered
        {"category": category, "score": fraction(score)}
        for category, score in decision.scores.items()
        if score != 0
    ]
    body.update(taken_on(exchange, decision, panel))
    if kept:
        body["content"] = [dict(each) for each in kept.named]
    return decision_id, Entry(
        "decision.recorded",
        body,
        exchange.id,
        exchange.principal.project,
        id=entry_id,
        sealed=kept.sealed if kept else NOTHING,
    )


def stream_started(exchange: Exchange, subject: str | None) -> Entry:
    """The first byte of a stream is about to leave."""
    return _of_exchange(exchange, "stream.started", _subject(exchange, subject))


def closed(exchange: Exchange, subject: str | None, duration_s: float) -> Entry:
    """An admitted request ended, as its `outcome` says (`completed` if it says nothing)."""
    usage = exchange.usage
    body = _subject(exchange, subject)
    body["outcome"] = {
        "reason": exchange.reason and exchange.reason[:_MAX_NAME],
        "released_chars": exchange.released_chars,
        "decisions": len(exchange.decision_ids),
        "duration_ms": fraction(duration_s * 1000),
    }
    if exchange.reviewed:
        body["human"] = [asdict(each) for each in exchange.reviewed]
    body["usage"] = usage and {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cached_tokens": usage.cached_tokens,
    }
    outcome = exchange.outcome or Outcome.COMPLETED
    return _of_exchange(exchange, f"request.{outcome.value}", body, terminal=True)


def closed_late(entry: Entry) -> Entry:
    """Return the terminal record `entry` as one that came after its request had ended.

    That happens when a replica is taken for dead and is not. The log keeps both.
    """
    return Entry(
        type="request.closed_late",
        body={**entry.body, "late": {"type": entry.type, "id": entry.id}},
        request_id=entry.request_id,
        project=entry.project,
    )


def withheld(entry: Entry) -> Entry:
    """Return the end `entry` of a unary reply as what it was: kept back, and answered 503.

    Its decisions could not be written, so it was not released. The id stays, lest the
    log take both if the first was written after all.
    """
    outcome = {**entry.body["outcome"], "reason": AuditUnavailable.code, "released_chars": 0}
    return replace(entry, type="request.error", body={**entry.body, "outcome": outcome})


def lost(request_id: str, project: str | None, replica: str) -> Entry:
    """The replica that served a request died, so nobody knows how the request ended."""
    body: dict[str, Any] = {
        "request": {"id": request_id},
        "actor": {"project": project},
        "outcome": {"reason": "replica_died", "admitted_by": replica},
    }
    return Entry("request.lost", body, request_id=request_id, project=project, terminal=True)


def denied(
    error: GatewayError,
    *,
    request_id: str,
    endpoint: str,
    principal: Principal | None = None,
    subject: str | None = None,
) -> Entry:
    """A request was refused at the gates, before it was admitted: 4xx."""
    body: dict[str, Any] = {
        "request": {"id": request_id, "endpoint": endpoint},
        "actor": {**_actor(principal), "safety_identifier": subject} if principal else None,
        "denial": {
            "status": error.status,
            "code": error.code and error.code[:_MAX_NAME],
            "reason": error.reason,
            "param": error.param if _FIELD.fullmatch(error.param or "") else None,
        },
    }
    project = principal.project if principal else None
    return Entry("request.denied", body, request_id=request_id, project=project)


def key_created(
    prefix: str, *, project: str, scopes: Sequence[Scope], expires_at: datetime | None, actor: str
) -> Entry:
    """An API key was made. `actor` is who did it: a key id, or `cli`."""
    body: dict[str, Any] = {
        "actor": {"key": actor},
        "key": {
            "id": prefix,
            "project": project,
            "expires_at": None if expires_at is None else as_text(expires_at),
        },
        "scopes": [scope.value for scope in scopes],
    }
    return Entry("key.created", body, project=project)


def key_revoked(prefix: str, *, project: str, actor: str) -> Entry:
    """An API key was revoked."""
    body: dict[str, Any] = {"actor": {"key": actor}, "key": {"id": prefix, "project": project}}
    return Entry("key.revoked", body, project=project)


def policy_activated(policy: Policy, *, previous_digest: str | None, actor: str) -> Entry:
    """A policy came into force."""
    body: dict[str, Any] = {
        "actor": {"key": actor},
        "policy": {
            **_policy(policy.id, policy.version, policy.digest),
            "previous_digest": previous_digest,
            "rules": len(policy.rules),
        },
    }
    return Entry("policy.activated", body)


def policy_loaded(policy: Policy, *, previous_digest: str | None) -> Entry:
    """A replica brings a version into force that was activated in the registry."""
    activated = policy_activated(policy, previous_digest=previous_digest, actor="registry")
    return Entry("policy.loaded", activated.body)


def policy_deactivated(policy: Policy, *, actor: str) -> Entry:
    """A policy is in force no longer, and none by its id is."""
    body = {
        "actor": {"key": actor},
        "policy": _policy(policy.id, policy.version, policy.digest),
    }
    return Entry("policy.deactivated", body)


def policy_refused(source: str, reason: str, *, actor: str) -> Entry:
    """A policy could not be loaded; the one before stays in force."""
    body: dict[str, Any] = {
        "actor": {"key": actor},
        "policy": {"source": source[: 2 * _MAX_NAME], "reason": reason[: 4 * _MAX_NAME]},
    }
    return Entry("policy.refused", body)


def replica_started() -> Entry:
    """This replica begins to write; who it is stands in every entry."""
    return Entry("replica.started", {})


def replica_stopped(reason: str) -> Entry:
    """This replica writes no more."""
    return Entry("replica.stopped", {"outcome": {"reason": reason[:_MAX_NAME]}})


_ACTION_NAMES = {action: action.name.lower() for action in Action}


def _of_exchange(
    exchange: Exchange, kind: str, body: Mapping[str, Any], *, terminal: bool = False
) -> Entry:
    return Entry(kind, body, exchange.id, exchange.principal.project, terminal)


def _subject(exchange: Exchange, subject: str | None) -> dict[str, Any]:
    return {
        "request": {
            "id": exchange.id,
            "endpoint": exchange.endpoint,
            "stream": exchange.stream,
        },
        "actor": {**_actor(exchange.principal), "safety_identifier": subject},
    }


def _actor(principal: Principal) -> dict[str, Any]:
    return {
        "project": principal.project,
        "key": principal.key_id,
        "scopes": _scopes(principal.scopes),
    }


@cache
def _scopes(scopes: frozenset[Scope]) -> tuple[str, ...]:
    return tuple(sorted(scope.value for scope in scopes))


def _policy(policy_id: str, version: str, digest: str) -> dict[str, str]:
    return {"id": policy_id, "version": version, "digest": digest}


def _rule(outcome: RuleOutcome) -> dict[str, Any]:
    return {
        "id": outcome.rule,
        "category": outcome.category,
        "score": fraction(outcome.score),
        "action": _ACTION_NAMES[outcome.action],
        "shadow": outcome.shadow,
        "unavailable": outcome.unavailable,
        "missing": list(outcome.missing),
        "classifier": outcome.classifier,
        "suspicion": fraction(outcome.suspicion),
        "exception": outcome.exception,
        "strike": outcome.strike,
        "escalate": outcome.escalate,
        "stop_conversation": outcome.stop,
        "alert": outcome.alert,
    }


def _classifier(receipt: Receipt) -> dict[str, Any]:
    return {
        "id": receipt.classifier,
        "digest": receipt.digest,
        "scanned_chars": receipt.scanned_chars,
        "unscanned_chars": receipt.unscanned_chars,
        "duration_ms": fraction(receipt.duration_ms),
        "error": receipt.error,
    }


def _coverage(receipts: Sequence[Receipt]) -> dict[str, Any]:
    unscanned = max((receipt.unscanned_chars for receipt in receipts), default=0)
    blind = [receipt for receipt in receipts if receipt.unscanned_chars or receipt.error]
    sighted = len(receipts) > len(blind) or any(receipt.scanned_chars for receipt in blind)
    # "Nobody looked" must never read like "nothing was found".
    state = "none" if not sighted else "partial" if blind else "full"
    return {"state": state, "unscanned_chars": unscanned, "blind_classifiers": len(blind)}
