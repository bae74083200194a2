"""Draws examples from hand-written templates and lists: the authored data.

A file in `authored/` holds groups. Each has hand-written `examples`, all of which are
taken, and `templates` with `{{slots}}`, from which `count` different texts are drawn. A
slot's choices may hold slots again. Within one example a slot has one value wherever it
stands, so a reply can speak of what its prompt asked; `{{name#2}}` is another draw from
the same list. The draw depends on the seed and the group's name alone, so adding a group
moves no other.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from classifiers.training.example import HEADS, Example, Kind

AUTHORED = Path(__file__).parent / "authored"
_SLOT = re.compile(r"\{\{([a-z0-9_]+)(#[0-9]+)?\}\}")
_DEPTH = 12  # slots within slots; more is a loop
_GROUP_KEYS = {
    "name", "kind", "labels", "unknown", "count", "templates", "examples", "slots",
}  # fmt: skip

Text = str | Mapping[str, str]  # a reply stands with its prompt: {prompt = "", text = ""}


class GrammarError(ValueError):
    """An authored file that cannot be drawn from; names the file and the group."""


def authored(seed: int, folder: Path = AUTHORED) -> Iterator[Example]:
    """Draw from every file in `folder`, in the order of their names.

    Raises:
        GrammarError: If a file names an unknown head, key or slot.
    """
    for path in sorted(folder.glob("*.toml")):
        yield from draw(path, seed)


def draw(path: Path, seed: int) -> Iterator[Example]:
    """Draw the examples of one file. Raises `GrammarError`."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    shared = document.get("slots", {})
    for group in document["group"]:
        place = f"{path.name}: group `{group.get('name', '?')}`"
        unknown = set(group) - _GROUP_KEYS
        if unknown:
            raise GrammarError(f"{place}: unknown key `{min(unknown)}`")
        labels = _labels(group, place)
        slots = {**shared, **group.get("slots", {})}
        rng = random.Random(f"{seed}/{group['name']}")  # noqa: S311 - reproducible, not secret
        for prompt, text in _texts(group, slots, rng, place):
            kind = Kind(group.get("kind", "prompt"))
            yield Example(text, kind, prompt, labels, f"authored/{group['name']}")


def _labels(group: Mapping[str, Any], place: str) -> dict[str, float]:
    """Return 1 for the heads that are named, nothing for the unknown, 0 for the rest."""
    named, unknown = set(group.get("labels", ())), set(group.get("unknown", ()))
    for head in named | unknown:
        if head not in HEADS:
            raise GrammarError(f"{place}: unknown head `{head}`")
    if named - {"prompt_injection"}:
        named.add("any")
    return {head: float(head in named) for head in HEADS if head in named or head not in unknown}


def _texts(
    group: Mapping[str, Any], slots: Mapping[str, Sequence[str]], rng: random.Random, place: str
) -> Iterator[tuple[str, str]]:
    seen: dict[tuple[str, str], None] = {}
    for example in group.get("examples", ()):
        seen[_filled(example, {}, rng, place)] = None
    wanted = len(seen) + group.get("count", 0)
    templates = group.get("templates", ())
    # A small grammar runs out of new texts: stop when most draws repeat.
    for _ in range(4 * group.get("count", 0) if templates else 0):
        if len(seen) >= wanted:
            break
        seen[_filled(rng.choice(templates), slots, rng, place)] = None
    yield from seen


def _filled(
    template: Text, slots: Mapping[str, Sequence[str]], rng: random.Random, place: str
) -> tuple[str, str]:
    """Return (prompt, text) with every slot filled."""
    bound: dict[str, str] = {}

    def fill(text: str, depth: int) -> str:
        def value(match: re.Match[str]) -> str:
            name, key = match.group(1), match.group(0)
            if name not in slots or depth > _DEPTH:
                raise GrammarError(f"{place}: unknown or endless slot `{name}`")
            if key not in bound:
                bound[key] = fill(rng.choice(slots[name]), depth + 1)
            return bound[key]

        return _SLOT.sub(value, text)

    if isinstance(template, str):
        return "", fill(template, 0)
    return fill(template.get("prompt", ""), 0), fill(template["text"], 0)
