"""What a decision was taken on, as an entry holds it, and back: for `ostiary policy replay`.

Scores and reason codes of each classifier, the circumstances, and the name of the entry that
says who was there to answer. No content: of the functions that a model may call only those
are named that the policy's own conditions name, the others are counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.audit.entry import Entry, exact
from gateway.exchange import Exchange
from policies.circumstances import ANYBODY, AgeGroup, Circumstances
from policies.replay import Answers, Cast, answers_of
from policies.types import Decision, Policy

_MAX_NAME = 128  # code points
_LITERAL = re.compile(r"'([^'\\]{1,128})'|\"([^\"\\]{1,128})\"")
_PLAIN = ("tier", "model", "locale", "strikes")  # circumstances that are recorded as they are

Names = Mapping[str, frozenset[str]]


def panel_recorded(covered: Names, on_request: Names) -> Entry:
    """Who answers for which categories, from here on; decisions name this entry."""
    body = {"panel": {"classifiers": _by_name(covered), "judges": _by_name(on_request)}}
    return Entry("panel.recorded", body)


def cast_of(body: Mapping[str, Any]) -> Cast:
    """Return who was there to answer, from the body of that entry."""
    panel = body["panel"]
    return Cast(_by_category(panel["classifiers"]), _by_category(panel["judges"]))


def _by_name(names: Names) -> list[dict[str, Any]]:
    """Return each classifier with its categories: they are many, the classifiers few."""
    found: dict[str, list[str]] = {}
    for category, classifiers in names.items():
        for name in classifiers:
            found.setdefault(name, []).append(category)
    return [{"id": name, "categories": sorted(found[name])} for name in sorted(found)]


def _by_category(entries: Sequence[Mapping[str, Any]]) -> Names:
    found: dict[str, set[str]] = {}
    for entry in entries:
        for category in entry["categories"]:
            found.setdefault(category, set()).add(entry["id"])
    return {category: frozenset(names) for category, names in found.items()}


def taken_on(exchange: Exchange, decision: Decision, panel: str | None) -> dict[str, Any]:
    """Return what a decision was taken on; `panel` is the id of the entry that says who answered.

    `passages` tells how many there were, also where the rows of `verdicts` had to be omitted.
    """
    return {
        "panel": panel,
        "passages": len(decision.verdicts),
        "verdicts": recorded_verdicts(decision),
        "circumstances": recorded_circumstances(exchange),
    }


def recorded_verdicts(decision: Decision) -> list[dict[str, Any]]:
    """Return what each classifier said, for an entry: a row per passage, 0 for nothing."""
    return [
        {
            "classifier": answers.classifier,
            "categories": list(answers.categories),
            "asked": answers.asked,
            "scores": [
                [exact(said) if isinstance(said, float | int) else said for said in row]
                for row in answers.rows
            ],
        }
        for answers in answers_of(decision.verdicts, decision.asked)
    ]


def answers_in(verdicts: Sequence[Mapping[str, Any]]) -> list[Answers]:
    """Return what `recorded_verdicts` recorded."""
    return [
        Answers(each["classifier"], each["categories"], each["scores"], each["asked"])
        for each in verdicts
    ]


def recorded_circumstances(exchange: Exchange) -> dict[str, Any]:
    """Return what a policy may look at beside what every entry of an exchange has."""
    given = exchange.circumstances
    body: dict[str, Any] = {
        name: value[:_MAX_NAME] if isinstance(value, str) else value
        for name in _PLAIN
        if (value := getattr(given, name)) != getattr(ANYBODY, name)
    }
    if given.age_group is not ANYBODY.age_group:
        body["age_group"] = given.age_group.value
    if given.access:
        body["access"] = sorted(given.access)
    if given.tools:
        named = _named_in(exchange.policy)
        body["tools"] = {
            "count": len(given.tools),
            "named": [name for name in given.tools if name in named],
        }
    return body


def circumstances_in(entry: Mapping[str, Any]) -> Circumstances:
    """Return the circumstances of a recorded decision.

    A function that is only counted is there without its name.
    """
    said, tools = entry["circumstances"], entry["circumstances"].get("tools")
    return Circumstances(
        project=entry["actor"]["project"],
        endpoint=entry["request"]["endpoint"],
        stream=entry["request"]["stream"],
        end_user=entry["actor"]["safety_identifier"],
        age_group=AgeGroup(said.get("age_group", ANYBODY.age_group)),
        access=frozenset(said.get("access", ())),
        tools=(*tools["named"], *[""] * (tools["count"] - len(tools["named"]))) if tools else (),
        **{name: said[name] for name in _PLAIN if name in said},
    )


def _named_in(policy: Policy) -> frozenset[str]:
    """Return the texts that the conditions of a policy compare something with."""
    return frozenset(
        single or double
        for rule in policy.rules
        if rule.when is not None
        for single, double in _LITERAL.findall(rule.when.text)
    )
