"""What of a policy applies to one exchange. Pure: the clock is an argument.

Done once, when the exchange is admitted, so that a rule is for somebody or not for as long
as it lives. A condition (`when`) is left to `policies.evaluate`, because it may look at what
happens on the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from policies.circumstances import EVERYBODY, Circumstances, language_tags
from policies.types import Action, Band, Mode, Policy, PolicyException, Rule, Stage, Words


def apply(policy: Policy, given: Circumstances, now: datetime) -> Policy:
    """Return the policy with what is not for this exchange taken out.

    Rules out of scope are gone, a canary is either enforced or a shadow, an exception in
    force caps its rule, and messages are in the end user's language. Its identity stays.

    Args:
        policy: A loaded policy, or several united.
        given: Who asks, through what and for whom.
        now: With time zone.
    """
    tags = language_tags(given.locale)
    exceptions: dict[str, list[PolicyException]] = {}
    for each in policy.exceptions:
        exceptions.setdefault(each.rule, []).append(each)
    rules = []
    for rule in policy.rules:
        if rule.scope is EVERYBODY or rule.scope.covers(given):
            mine = exceptions.get(rule.id, [])
            if mine or rule.mode is Mode.CANARY or (tags and _is_translated(rule)):
                rule = _narrowed(rule, mine, given, tags, now)
            rules.append(rule)
    if len(rules) == len(policy.rules) and all(map(_same, rules, policy.rules)) and not tags:
        return policy
    spoken = {name: {"": in_language(words, tags)} for name, words in policy.disclaimers.items()}
    return replace(policy, rules=tuple(rules), disclaimers=spoken)


def _is_translated(rule: Rule) -> bool:
    return len(rule.user_messages) > 1 or len(rule.developer_messages) > 1


def _same(one: Rule, other: Rule) -> bool:
    return one is other


def in_language(words: Words, tags: Iterable[str]) -> str:
    """Return the text in the first of `tags` that there is one in, else the default."""
    return next((words[tag] for tag in tags if tag in words), words.get("", ""))


def in_canary(rule: str, end_user: str | None, percent: int) -> bool:
    """Return whether a rule that is tried on `percent` of the end users is tried on this one.

    The same end user always gets the same answer, and keeps it when the share grows. Who is
    not known is not tried on, unless everybody is.
    """
    if end_user is None:
        return percent >= 100
    drawn = sha256(f"{rule}\0{end_user}".encode("utf-8", "replace")).digest()[:8]
    return int.from_bytes(drawn) * 100 < percent * 2**64  # in whole numbers: nobody is 100


def _narrowed(
    rule: Rule,
    exceptions: list[PolicyException],
    given: Circumstances,
    tags: tuple[str, ...],
    now: datetime,
) -> Rule:
    if rule.mode is Mode.CANARY:
        chosen = in_canary(rule.id, given.end_user, rule.canary_percent)
        rule = replace(rule, mode=Mode.ENFORCE if chosen else Mode.SHADOW)
    if exceptions and (granted := in_force(rule, exceptions, given, now)):
        rule = _capped(rule, granted)
    if tags and _is_translated(rule):
        rule = replace(
            rule,
            user_message=in_language(rule.user_messages, tags),
            developer_message=in_language(rule.developer_messages, tags),
        )
    return rule


def in_force(
    rule: Rule, exceptions: Iterable[PolicyException], given: Circumstances, now: datetime
) -> PolicyException | None:
    """Return the exception that a rule is under, or None; of several the mildest, by id.

    An expired one is as if it were not there, and a rule may be out of reach of them all.
    """
    granted = [
        each
        for each in exceptions
        if rule.exemptible
        and each.rule == rule.id
        and each.since <= now < each.until
        and each.scope.covers(given)
    ]
    return min(granted, key=lambda each: (each.action, each.id), default=None)


def _capped(rule: Rule, granted: PolicyException) -> Rule:
    """Return the rule doing at most what the exception says, without strikes and alerts."""
    cap = granted.action
    return replace(
        rule,
        bands=tuple(_capped_band(band, cap) for band in rule.bands),
        on_unavailable={
            stage: min(rule.on_unavailable.get(stage, Action.BLOCK), cap) for stage in Stage
        },
        on_unsupported_language={
            stage: min(action, cap) for stage, action in rule.on_unsupported_language.items()
        },
        exception=granted.id,
    )


def _capped_band(band: Band, cap: Action) -> Band:
    if band.action <= cap:
        return replace(band, strike=False, stop=False, alert=False)
    return replace(band, action=cap, strike=False, stop=False, alert=False, redactor=None)
