"""What `ostiary policy diff` does: compares two policies, and puts the answer into words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.policy_words import (
    TRUTHS,
    answers_in_words,
    circumstances_as_json,
    circumstances_in_words,
    fact,
    moment,
    policy_as_json,
)
from policies.circumstances import ANYBODY
from policies.compare import Cell, Comparison, Relation, compare
from policies.conditions import facts_of
from policies.contrast import Found
from policies.load import read_policy
from policies.types import Decision, Policy
from policies.worlds import is_simple


def diff(before: str, after: str) -> tuple[Policy, Policy, Comparison]:
    """Return two policies, files or built-in ones, and how the second stands to the first.

    Raises:
        PolicyError: If one of them is not a policy.
    """
    one, other = read_policy(before).policy, read_policy(after).policy
    return one, other, compare(one, other)


def headline(before: Policy, after: Policy, comparison: Comparison) -> list[str]:
    """Return the answer all in all, and which rules made it."""
    doubt = "" if comparison.exhaustive else " as far as was tried"
    lines = [
        f"{before.id} {before.version} -> {after.id} {after.version}: "
        f"{comparison.relation.value}{doubt}"
    ]
    for what in ("added", "removed", "changed"):
        names = getattr(comparison, what)
        if names:
            lines.append(f"{what}: {', '.join(names)}")
    return lines


def paragraphs(comparison: Comparison) -> list[list[str]]:
    """Return, for each thing that is different, a line that says it and one for each case.

    Stages at which the same holds of a category are told together.
    """
    together: dict[tuple[str, ...], list[str]] = {}
    for cell in comparison.cells:
        if cases := tuple(_cases(cell)):
            key = (cell.category, cell.relation.value, *cases)
            together.setdefault(key, []).append(cell.stage.value)
    found = [
        [f"{category} at {', '.join(stages)}: {relation}", *cases]
        for (category, relation, *cases), stages in together.items()
    ]
    for each in comparison.settings:
        answer = each.relation.value if each.relation is not Relation.EQUAL else "DIFFERS"
        found.append([f"{each.name}: {answer}", f"{each.before} -> {each.after}"])
    return found


def as_json(before: Policy, after: Policy, comparison: Comparison) -> dict[str, Any]:
    """Return all of it."""
    return {
        "before": policy_as_json(before),
        "after": policy_as_json(after),
        "relation": comparison.relation.value,
        "exhaustive": comparison.exhaustive,
        "rules": {
            "added": list(comparison.added),
            "removed": list(comparison.removed),
            "changed": list(comparison.changed),
        },
        "settings": [
            {
                "name": each.name,
                "before": each.before,
                "after": each.after,
                "relation": each.relation.value,
            }
            for each in comparison.settings
        ],
        "cells": [_cell(cell) for cell in comparison.cells],
    }


def _cases(cell: Cell) -> Iterator[str]:
    for witness in (cell.looser, cell.tighter):
        if witness is not None:
            move = f"{_action(witness.before)} -> {_action(witness.after)}"
            yield f"{move}: {_where(witness)}"
    for effect in cell.effects:
        who = "only the second" if effect.gained else "only the first"
        yield f"EFFECTS DIFFER, {who} {effect.what}: {_where(effect.witness)}"
    if not cell.exhaustive:
        yield "NOT ALL TRIED: there are too many cases"


def _where(witness: Found) -> str:
    situation = witness.situation
    parts = [answers_in_words(witness.answers)]
    if who := circumstances_in_words(situation.given):
        parts.append(who)
    rules = (*situation.before.rules, *situation.after.rules)
    if situation.at is not None and any(rule.exception for rule in rules):
        parts.append(f"at {moment(situation.at)}")
    usual = facts_of(ANYBODY)
    parts += [
        f"{name} {fact(value)}"
        for name, value in witness.facts.items()
        if value != usual.get(name, 0)
    ]
    parts += [
        f"`{text}` {TRUTHS[truth]}" for text, truth in witness.conditions if not is_simple(text)
    ]
    return "; ".join(parts)


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "category": cell.category,
        "stage": cell.stage.value,
        "relation": cell.relation.value,
        "exhaustive": cell.exhaustive,
        "looser": cell.looser and _witness(cell.looser),
        "tighter": cell.tighter and _witness(cell.tighter),
        "effects": [
            {
                "what": effect.what,
                "only": "after" if effect.gained else "before",
                "witness": _witness(effect.witness),
            }
            for effect in cell.effects
        ],
    }


def _witness(witness: Found) -> dict[str, Any]:
    at = witness.situation.at
    return {
        "circumstances": circumstances_as_json(witness.situation.given),
        "at": None if at is None else moment(at),
        "answers": [
            {"by": list(each.by), "score": each.score, "missing": list(each.missing)}
            for each in witness.answers
        ],
        "conditions": dict(witness.conditions),
        "facts": dict(witness.facts),
        "before": _decision(witness.before),
        "after": _decision(witness.after),
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {"action": _action(decision), "determining_rules": list(decision.determining_rules)}


def _action(decision: Decision) -> str:
    return decision.action.name.lower()
