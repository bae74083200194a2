"""What `ostiary policy explain` does: judges a text anew, or looks a decision up in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from classifiers.types import NO_SECRETS, Passage, Receipt, Secrets
from gateway.audit.queries import show
from gateway.errors import GatewayError
from gateway.policy_commands import open_panel
from gateway.policy_words import circumstances_as_json
from gateway.store import policies as stored
from gateway.store.session import Database
from policies.apply import apply
from policies.book import unite
from policies.bundle import BundleError
from policies.circumstances import Circumstances
from policies.explain import Account, RuleAccount, explain, explain_recorded
from policies.load import PolicyError, builtin_names, parse_bundle, read_policy
from policies.testing import NO_PAST, SOURCE_AT, Past, judge_of
from policies.types import Action, Decision, Policy, RuleOutcome, Stage

Reasons = list[dict[str, str]]  # a judge's own words, by classifier and category


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be explained.

    Attributes:
        text: What is judged.
        stage: Where it stands.
        given: Who asks, through what and for whom.
        at: When; with time zone.
        past: What happened before, and the call that is made.
        secrets: What the model was told.
    """

    text: str
    stage: Stage
    given: Circumstances
    at: datetime
    past: Past = NO_PAST
    secrets: Secrets = NO_SECRETS


async def explain_text(source: str, question: Question) -> tuple[Account, Reasons]:
    """Return how a text would be decided, and why, by this installation's classifiers.

    Raises:
        PolicyError: If the file is not a policy at all.
    """
    policy = read_policy(source).policy
    source, called = SOURCE_AT[question.stage], question.past.called
    passage = Passage(source, question.text, tool=called, secrets=question.secrets)
    applied = apply(policy, question.given, question.at)
    async with open_panel() as panel:
        assessment = await judge_of(panel)(applied, question.stage, passage)
        past = await question.past.judged(applied, judge_of(panel))
    trail = past.trail(policy.categories, assessment)
    account = explain(policy, question.stage, assessment, question.given, question.at, trail)
    reasons = [
        {"classifier": each.classifier, "category": each.category, "rationale": each.rationale}
        for each in assessment.verdicts[0]
        if each.rationale
    ]
    return account, reasons


async def explain_decision(database: Database, decision_id: str, source: str | None) -> Account:
    """Return why a recorded decision was taken.

    Args:
        database: Where the log is.
        decision_id: `dec_...`.
        source: The policy that took it, if it is neither built in nor in the registry.

    Raises:
        GatewayError: If there is no such decision.
        PolicyError: If the file is not a policy at all.
        ValueError: If it is another policy.
    """
    found = [entry for entry in await show(database, decision_id) if "decision" in entry]
    if not found:
        raise GatewayError(f"there is no decision `{decision_id}` in the log")
    decision = _decision(found[0])
    given = read_policy(source).policy if source else None
    return explain_recorded(decision, await _governing(database, decision, given))


def as_json(account: Account, reasons: Reasons) -> dict[str, Any]:
    """Return all of it."""
    decision = account.decision
    return {
        "stage": decision.stage.value,
        "action": _name(decision.action),
        "determining_rules": list(decision.determining_rules),
        "code": decision.code if decision.action > Action.ALLOW else None,
        "policy": {
            "id": decision.policy_id,
            "version": decision.policy_version,
            "digest": decision.policy_digest,
        },
        "circumstances": account.given and circumstances_as_json(account.given),
        "message": {"user": decision.user_message, "developer": decision.developer_message},
        "redactions": [
            {"start": each.span.start, "end": each.span.end, "replacement": each.replacement}
            for each in decision.redactions
        ],
        "rules": [_rule(told) for told in account.rules],
        "scores": {name: score for name, score in decision.scores.items() if score != 0},
        "disclaimers": list(decision.disclaimers),
        "classifiers": [
            {
                "id": receipt.classifier,
                "scanned_chars": receipt.scanned_chars,
                "unscanned_chars": receipt.unscanned_chars,
                "duration_ms": receipt.duration_ms,
                "error": receipt.error,
            }
            for receipt in decision.receipts
        ],
        "rationales": reasons,
    }


def _rule(told: RuleAccount) -> dict[str, Any]:
    outcome = told.outcome
    return {
        "id": told.rule,
        "category": told.category,
        "role": told.role.name.lower(),
        "score": told.score,
        "bands": [
            {
                "gte": band.gte,
                "action": _name(band.action),
                "strike": band.strike,
                "escalate": band.escalate,
                "redact": band.redactor,
                "disclaim": band.disclaimer,
                "stop_conversation": band.stop,
                "alert": band.alert,
            }
            for band in told.bands
        ],
        "action": _name(outcome.action) if outcome else "allow",
        "shadow": bool(outcome and outcome.shadow),
        "unavailable": bool(outcome and outcome.unavailable),
        "missing": list(outcome.missing) if outcome else [],
        "classifier": outcome and outcome.classifier,
        "suspicion": outcome and outcome.suspicion,
        "exception": outcome and outcome.exception,
        "remarks": list(told.remarks),
    }


async def _governing(database: Database, decision: Decision, given: Policy | None) -> Policy | None:
    """Return the policy that took a decision, or several united, if all of them are at hand.

    Args:
        database: Where the registry is.
        decision: As it was recorded.
        given: One that is at hand otherwise, or None.
    """
    at_hand = [read_policy(name).policy for name in builtin_names()]
    at_hand += [given] if given else []
    ids, versions = decision.policy_id.split("+"), decision.policy_version.split("+")
    parts = []
    for policy_id, version in zip(ids, versions, strict=True):
        part = next((p for p in at_hand if (p.id, p.version) == (policy_id, version)), None)
        parts.append(part or await _registered(database, policy_id, version))
    united = unite([part for part in parts if part]) if all(parts) else None
    return united if united and united.digest == decision.policy_digest else given


async def _registered(database: Database, policy_id: str, version: str) -> Policy | None:
    async with database.read() as connection:
        found = await stored.find(connection, policy_id, version)
    if found is None:
        return None
    try:
        return parse_bundle(await stored.bundle(database, found.digest)).policy
    except (PolicyError, BundleError):  # of an earlier version of the format
        return None


def _decision(entry: Mapping[str, Any]) -> Decision:
    taken, policy = entry["decision"], entry["policy"]
    return Decision(
        stage=Stage(taken["stage"]),
        action=Action[taken["action"].upper()],
        determining_rules=tuple(entry["determining_rules"]),
        outcomes=tuple(_outcome(rule) for rule in entry["rules"]),
        policy_id=policy["id"],
        policy_version=policy["version"],
        policy_digest=policy["digest"],
        receipts=tuple(
            Receipt(
                each["id"],
                each["digest"],
                each["scanned_chars"],
                each["unscanned_chars"],
                each["duration_ms"],
                each["error"],
            )
            for each in entry["classifiers"]
        ),
        code=taken["code"] or "content_filter",
        scores={each["category"]: each["score"] for each in entry["scores"]},
    )


def _outcome(rule: Mapping[str, Any]) -> RuleOutcome:
    return RuleOutcome(
        rule=rule["id"],
        category=rule["category"],
        score=rule["score"],
        action=Action[rule["action"].upper()],
        shadow=rule["shadow"],
        unavailable=rule["unavailable"],
        strike=rule["strike"],
        escalate=rule["escalate"],
        classifier=rule["classifier"],
        suspicion=rule["suspicion"],
        missing=tuple(rule["missing"]),
        exception=rule.get("exception"),
        disclaimer=rule.get("disclaimer"),
        stop=rule.get("stop_conversation", False),
        alert=rule.get("alert", False),
    )


def _name(action: Action) -> str:
    return action.name.lower()
