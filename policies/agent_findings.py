"""Findings on `tools`, `flows` and `limits`: what is allowed there but probably not meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.agent_rules import UNLISTED
from policies.document import Path
from policies.findings import Finding
from policies.resolve import PolicyFile
from policies.testing import PolicyTest
from policies.types import Action


def in_conduct(file: PolicyFile) -> Iterator[Finding]:
    """Yield what is odd about what a file says about agents."""
    tests: dict[str, list[PolicyTest]] = {}
    for test in file.tests:
        tests.setdefault(test.rule, []).append(test)
    actions = {rule.id: rule.bands[0].action for rule in file.policy.rules if rule.factual}
    for path, entry in _written(file.document.value):
        place = file.document.place(path)
        name = str(entry["id"])
        own = tests.get(name if path[0] != "tools" or len(path) > 1 else f"{name}{UNLISTED}", [])
        noun = {"tools": "list", "flows": "flow", "limits": "limit"}[str(path[0])]
        if not any(test.expect > Action.ALLOW for test in own):
            yield Finding(*place, "missing-test", f"{noun} `{name}` has no test that it stops")
        if not any(test.expect is Action.ALLOW for test in own):
            yield Finding(*place, "missing-test", f"{noun} `{name}` has no test that it lets pass")
        stops = actions.get(name, Action.ALLOW) is Action.BLOCK
        if stops and not entry.get("message", {}).get("user"):
            message = f"{noun} `{name}` blocks and tells the user nothing"
            yield Finding(*place, "missing-message", message)
    yield from _loose(file)


def looked_at(file: PolicyFile) -> set[str]:
    """Return the categories that flows of the file look at."""
    flows = file.document.value.get("flows", ())
    return {each["after"]["category"] for each in flows if "category" in each["after"]}


def _loose(file: PolicyFile) -> Iterator[Finding]:
    """An expression for a part of the text lets through whatever stands around it."""
    listed = file.document.value.get("tools", {}).get("listed", ())
    for number, entry in enumerate(listed):
        if entry["actions"] != ["allow"]:
            continue
        for pointer, test in entry.get("arguments", {}).items():
            if "contains" in test and "matches" not in test and "like" not in test:
                path: Path = ("tools", "listed", number, "arguments", pointer)
                message = (
                    f"`{entry['id']}` allows whatever else stands around what `contains` finds "
                    f"in `{pointer}`; `matches` is for the whole text"
                )
                yield Finding(*file.document.place(path, of_key=True), "loose-pattern", message)


def _written(value: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if "tools" in value:
        yield ("tools",), value["tools"]
        for number, each in enumerate(value["tools"].get("listed", ())):
            yield ("tools", "listed", number), each
    for section in ("flows", "limits"):
        for number, each in enumerate(value.get(section, ())):
            yield (section, number), each
