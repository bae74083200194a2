"""Parts of rules, from a parsed file: bands, texts, scopes, fallbacks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policies.circumstances import EVERYBODY, Scope
from policies.rule_schema import BandEntry, MessageEntry, PerStage, ScopeEntry, SpecialAction
from policies.types import Action, Band, Stage, Words
from policies.words import BESIDE


def resolved(given: str | PerStage | None, fallback: Mapping[Stage, Action]) -> dict[Stage, Action]:
    """Return what is given for each stage, where nothing is the fallback, and then block."""
    own = _per_stage(given)
    return {stage: own.get(stage, fallback.get(stage, Action.BLOCK)) for stage in Stage}


def _per_stage(given: str | PerStage | None) -> Mapping[Stage, Action]:
    if given is None:
        return {}
    if isinstance(given, str):
        return dict.fromkeys(Stage, Action[given.upper()])
    named = given.model_dump(exclude_none=True)
    return {Stage(stage): Action[action.upper()] for stage, action in named.items()}


def band_of(entry: BandEntry) -> Band:
    """Return the band; without a main action it is `flag`."""
    words = [action for action in entry.actions if isinstance(action, str)]
    special = {
        key: value
        for action in entry.actions
        if isinstance(action, SpecialAction)
        for key, value in action.given.items()
    }
    main = [Action[word.upper()] for word in words if word not in BESIDE]
    stop = "stop_conversation" in words
    mildest = Action.BLOCK if stop else Action.FLAG
    if "redact" in special:
        main.append(Action.REDACT)
    return Band(
        gte=entry.gte,
        action=main[0] if main else mildest,
        strike="strike" in words,
        escalate=special.get("escalate"),
        redactor=special.get("redact"),
        disclaimer=special.get("disclaim"),
        stop=stop,
        alert="alert" in words,
    )


def messages_of(entry: MessageEntry) -> dict[str, Any]:
    """Return the fields of a rule that hold its messages."""
    user, developer = words_of(entry.user), words_of(entry.developer)
    return {
        "user_message": user[""],
        "developer_message": developer[""],
        "user_messages": user,
        "developer_messages": developer,
    }


def words_of(given: str | Mapping[str, str]) -> Words:
    """Return texts by language tag, in lower case; the default's tag is empty."""
    if isinstance(given, str):
        return {"": given}
    named = {"" if tag == "default" else tag.casefold(): text for tag, text in given.items()}
    return {"": "", **named}


def scope_of(entry: ScopeEntry) -> Scope:
    """Return the scope; one that leaves nobody out is always the same object."""
    scope = Scope(**{name: _tuple(value) for name, value in entry})
    return EVERYBODY if scope == EVERYBODY else scope


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
