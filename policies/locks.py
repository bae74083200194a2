"""Whether one rule asks for at least as much as another, whatever happens. Pure.

It guards locks: where a policy replaces a locked rule of another one, the new rule must pass
here. It looks at what the rules say and not at samples, so it errs to the safe side: two
rules that cannot be compared this way, such as two different conditions, do not pass.
"""

from __future__ import annotations

from collections.abc import Iterator

from policies.circumstances import Scope
from policies.types import Action, Band, Mode, Rule


def loosened(old: Rule, new: Rule) -> str | None:
    """Return in which respect `new` may ask for less than `old`, or None if in none."""
    return next(_loosened(old, new), None)


def _loosened(old: Rule, new: Rule) -> Iterator[str]:
    if new.category != old.category:
        yield f"it watches `{new.category}` instead of `{old.category}`"
    if missing := sorted(old.stages - new.stages):
        yield f"it leaves out stage `{missing[0]}`"
    if not _as_active(old, new):
        yield "it is enforced for fewer end users"
    if not _covers(new.scope, old.scope):
        yield "it is for fewer requests"
    yield from _conditions(old, new)
    if new.classifiers != old.classifiers or new.rungs != old.rungs:
        yield "it listens to other classifiers"
    if new.factual != old.factual:
        yield "it asks classifiers, or asks none, where the locked one does not"
    if new.exemptible and not old.exemptible:
        yield "exceptions may touch it"
    yield from _fallbacks(old, new)
    yield from _bands(old, new)


def _as_active(old: Rule, new: Rule) -> bool:
    return _share(new) >= _share(old)


def _share(rule: Rule) -> int:
    """Return for how many percent of the end users a rule acts."""
    return {Mode.ENFORCE: 100, Mode.SHADOW: 0}.get(rule.mode, rule.canary_percent)


def _covers(wide: Scope, narrow: Scope) -> bool:
    """Return whether everybody in `narrow` is in `wide`, as far as the names alone tell."""
    return all(
        theirs is None or (ours is not None and set(ours) <= set(theirs))
        for ours, theirs in (
            (narrow.projects, wide.projects),
            (narrow.tiers, wide.tiers),
            (narrow.age_groups, wide.age_groups),
            (narrow.endpoints, wide.endpoints),
            (narrow.models, wide.models),
            (narrow.locales, wide.locales),
        )
    )


def _fallbacks(old: Rule, new: Rule) -> Iterator[str]:
    for stage in sorted(old.stages):
        before = old.on_unavailable.get(stage, Action.BLOCK)
        after = new.on_unavailable.get(stage, Action.BLOCK)
        if after < before:
            yield f"without an answer at `{stage}` it does `{_name(after)}`, not `{_name(before)}`"
        unread = old.on_unsupported_language.get(stage, before)
        if new.on_unsupported_language.get(stage, after) < unread:
            yield f"it does less about a language that nobody reads at `{stage}`"


def _conditions(old: Rule, new: Rule) -> Iterator[str]:
    """Where a condition cannot be told, its rule does its `on_unavailable`."""
    if new.when is not None and new.when != old.when:
        yield "it has a condition that the locked one does not have"
    if old.when is None or new.when is not None:
        return
    mildest = min(band.action for band in new.bands)
    for stage in sorted(old.stages):
        doubtful = old.on_unavailable.get(stage, Action.BLOCK)
        least = min(mildest, new.on_unsupported_language.get(stage, mildest))
        if least < doubtful:
            yield (
                f"where the condition that it drops cannot be told, at `{stage}` it does "
                f"`{_name(least)}`, not `{_name(doubtful)}`"
            )


def _bands(old: Rule, new: Rule) -> Iterator[str]:
    for score in sorted({band.gte for band in (*old.bands, *new.bands)}):
        before, after = _reached(old, score), _reached(new, score)
        if before is None:
            continue
        if after is None or after.action < before.action:
            does = _name(after.action if after else Action.ALLOW)
            yield f"at {score:g} it does `{does}`, not `{_name(before.action)}`"
        elif (lost := _lost_beside(before, after)) is not None:
            yield f"at {score:g} it {lost}"
        elif before.disclaimer and after.disclaimer != before.disclaimer:
            yield f"at {score:g} it does not put `{before.disclaimer}` behind the reply"
        elif after.action is Action.REDACT and after.redactor not in (None, before.redactor):
            yield f"at {score:g} it redacts by `{after.redactor}`"


def _lost_beside(before: Band, after: Band) -> str | None:
    """Return what a band does not do any more beside its action, if there is anything."""
    if before.strike and not after.strike:
        return "counts no strike"
    if before.escalate and after.escalate != before.escalate:
        return f"does not tell `{before.escalate}`"
    if before.stop and not after.stop:
        return "does not stop the conversation"
    return "raises no alert" if before.alert and not after.alert else None


def _reached(rule: Rule, score: float) -> Band | None:
    """Return the band that counts, as `policies.evaluate` chooses it."""
    reached = [band for band in rule.bands if score >= band.gte]
    return max(reached, key=lambda band: (band.action, band.gte), default=None)


def _name(action: Action) -> str:
    return action.name.lower()
