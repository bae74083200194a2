"""What several conditions can be at the same time, where they are simple enough to tell. Pure.

A simple condition compares variables with numbers, texts and lists that stand in it, and joins
that with `&&`, `||` and `!`; or it says that there is more of something than a number. What it
is depends on nothing but where each variable lies among those, so that one request of each
kind tells everything. Others are not looked into.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, product
from math import prod
from typing import cast

from policies.circumstances import ANYBODY, AgeGroup
from policies.conditions import Condition, facts_of
from policies.types import Stage

MOST = 20_000  # requests that are tried
_MOST_TEXTS = 6  # that stand in conditions on lists
_MOST_COUNT = 8  # of the elements of a list

_VARIABLE = r"(?:user\.\w+|request\.\w+|stage|size\(\s*request\.(?:tools|access)\s*\))"
_COMPARES = r"(?:[=!<>]=|[<>]|\bin\b)"
_TOKEN = re.compile(
    rf"\s+|{_VARIABLE}(?![\w.\[])|true\b|false\b|{_COMPARES}|&&|\|\||!|\(|\)|\[|\]|,|\d+"
    r"|'[^'\\]*'|\"[^\"\\]*\""
)
# A variable against a variable, a list that is not behind `in`, an order of texts, and
# comparisons of what is in parentheses: all that needs more than the words in the text.
_NOT_SIMPLE = re.compile(
    rf"{_VARIABLE}\s*{_COMPARES}\s*{_VARIABLE}|(?<!in)\[|\]\s*{_COMPARES}"
    rf"|[<>]=?\s*['\"]|['\"]\s*[<>]|\)\s*(?:[=!<>]=|[<>]|in\b)|(?:[=!<>]=|[<>])\s*[(!]"
)
_SIZE = re.compile(r"size\(\s*(request\.(?:tools|access))\s*\)")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_CHOICES: Mapping[str, Sequence[object]] = {
    "user.age_group": sorted((each.value for each in AgeGroup), reverse=True),
    "request.endpoint": ("responses", "chat", "moderations"),
    "request.stream": (False, True),
}
_LISTS = ("request.tools", "request.access")


@dataclass(frozen=True, slots=True)
class World:
    """One way in which conditions can be.

    Attributes:
        truths: Whether each holds, by text; a text that is not there is not simple.
        facts: A request of which this is so, by variable; as usual where it is left out.
    """

    truths: Mapping[str, bool | None] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)


def worlds(conditions: Sequence[Condition], stage: Stage) -> tuple[World, ...]:
    """Return every way in which the simple ones of `conditions` can be together."""
    every = dict.fromkeys(conditions)
    simple = [each for each in every if each.bound is not None or is_simple(each.text)]
    values = _values(" ".join(each.text for each in simple if each.bound is None))
    if values is not None:
        values.update(_counts([each.bound for each in simple if each.bound is not None]))
    if values is None or prod(len(each) for each in values.values()) > MOST:
        return (World(),)
    found: dict[tuple[bool | None, ...], World] = {}
    for chosen in product(*values.values()):
        facts = dict(zip(values, chosen, strict=True))
        known = {**facts_of(ANYBODY), "stage": stage.value, **facts}
        truths = tuple(_truth(condition, known) for condition in simple)
        if truths not in found:
            texts = (condition.text for condition in simple)
            found[truths] = World(dict(zip(texts, truths, strict=True)), facts)
    return tuple(found.values())


def _truth(condition: Condition, known: Mapping[str, object]) -> bool | None:
    if condition.bound is None:
        return condition.holds(known)
    what, most = condition.bound
    return cast(int, known[what]) > most


def _counts(bounds: Iterable[tuple[str, int]]) -> dict[str, Sequence[object]]:
    """Return of each thing how much of it there can be, as far as bounds tell it apart."""
    found: dict[str, set[int]] = {}
    for what, most in bounds:
        found.setdefault(what, {0}).update((most, most + 1))
    return {what: sorted(counts) for what, counts in found.items()}


def is_simple(text: str) -> bool:
    """Return whether it is known what the condition depends on."""
    plain = re.sub(r"\bin\s*\[", "in[", _SIZE.sub(r"\1", text))
    return not _NOT_SIMPLE.search(plain) and not _TOKEN.sub("", text)


def _values(text: str) -> dict[str, Sequence[object]] | None:
    """Return values of each variable, so that all kinds are there, or None if it is too much."""
    named = set(re.findall(r"(?:user|request)\.\w+", _QUOTED.sub("", text)))
    texts = list(dict.fromkeys(one or other for one, other in _QUOTED.findall(text)))
    numbers = sorted({int(each) for each in re.findall(r"\d+", _QUOTED.sub("", text))})
    counts = sorted({near for n in numbers for near in (n - 1, n, n + 1) if near >= 0} | {0})
    if named & {*_LISTS} and (len(texts) > _MOST_TEXTS or max(counts) > _MOST_COUNT):
        return None
    values: dict[str, Sequence[object]] = {}
    for name in sorted(named):
        if name == "user.strikes":
            values[name] = counts
        elif name in _LISTS:
            sized = name in _SIZE.findall(text)
            values[name] = list(_lists(texts, max(counts) if sized else 0))
        else:
            values[name] = _CHOICES.get(name, ("something-else", *texts))
    return values


def _lists(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """Yield lists of every set of `texts`, and with others up to `most` elements."""
    subsets = chain.from_iterable(combinations(texts, size) for size in range(len(texts) + 1))
    for subset in subsets:
        for count in range(max(most - len(subset), 0) + 1):
            yield [*subset, *(f"other-{number}" for number in range(count))]
