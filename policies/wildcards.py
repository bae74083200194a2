"""One name for each way in which a set of patterns can match. Pure.

Patterns are names with `*` for any run of characters. Two names that are matched by the same
patterns are the same to whoever looks at nothing else, so a comparison needs one of each kind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

MOST_STEPS = 4_000_000  # of one pattern by one character: a second or two

Positions = frozenset[int]  # how far into a pattern a name may have come
State = tuple[Positions, ...]  # for each pattern


def kinds_of_names(patterns: Sequence[str], preferred: Iterable[str]) -> tuple[list[str], bool]:
    """Return a name for each set of `patterns` that some name matches, and nothing else does.

    Args:
        patterns: May be none; then one name stands for all.
        preferred: Names to choose first.

    Returns:
        The names, and whether they are all there can be.
    """
    found: dict[tuple[bool, ...], str] = {}
    plain = (pattern.replace("*", "x") for pattern in patterns)
    for name in (*preferred, *plain):
        found.setdefault(_matches(patterns, name), name)
    letters = sorted({letter for pattern in patterns for letter in pattern} - {"*"})
    alphabet = [_fresh(letters), *letters]
    most = MOST_STEPS // max(1, len(patterns) * len(alphabet))
    names = _names(patterns, alphabet)
    for name, state in islice(names, most):
        found.setdefault(_accepted(patterns, state), name)
    return list(found.values()), next(names, None) is None


def _names(patterns: Sequence[str], alphabet: Sequence[str]) -> Iterator[tuple[str, State]]:
    """Yield the shortest name that leads to each state, the empty one apart."""
    start = tuple(_closed({0}, pattern) for pattern in patterns)
    waiting: deque[tuple[str, State]] = deque([("", start)])
    seen: set[State] = set()
    while waiting:
        name, state = waiting.popleft()
        for letter in alphabet:
            after = _step(patterns, state, letter)
            if after not in seen:
                seen.add(after)
                waiting.append((name + letter, after))
                yield name + letter, after


def _fresh(letters: Sequence[str]) -> str:
    """Return a character that is in no pattern, a readable one if there is one."""
    readable = (letter for letter in "xzqwykvjbfghmnpudcolrtsaie0" if letter not in letters)
    return next(readable, "\N{DOTTED CIRCLE}")


def _matches(patterns: Sequence[str], name: str) -> tuple[bool, ...]:
    state = tuple(_closed({0}, pattern) for pattern in patterns)
    for letter in name:
        state = _step(patterns, state, letter)
    return _accepted(patterns, state)


def _accepted(patterns: Sequence[str], state: State) -> tuple[bool, ...]:
    return tuple(
        len(pattern) in positions for pattern, positions in zip(patterns, state, strict=True)
    )


def _step(patterns: Sequence[str], state: State, letter: str) -> State:
    after = []
    for pattern, positions in zip(patterns, state, strict=True):
        reached = set()
        for position in positions:
            here = pattern[position : position + 1]
            if here == "*":
                reached.add(position)
            elif here == letter:
                reached.add(position + 1)
        after.append(_closed(reached, pattern))
    return tuple(after)


def _closed(positions: set[int], pattern: str) -> Positions:
    """Add what a `*` that stands for nothing leads to."""
    reached = set(positions)
    for position in sorted(positions):
        while pattern[position : position + 1] == "*":
            position += 1
            reached.add(position)
    return frozenset(reached)
