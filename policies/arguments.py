"""Whether the arguments of a call are as a policy says: yes, no, or cannot be told. Pure.

Patterns are RE2, so that no text takes long. Where two readers could disagree, nothing is
told: arguments that are not one JSON object, a value of another type than the test is for, a
list of which some members fit and some do not, and a text that fits for one who reads on past
a line break alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2

from policies.trail import MalformedArguments, read_arguments

_ABSENT = object()
MAX_CHARS = 1_000_000  # of one text that is looked at

# What some reader takes for the end of a line, as `str.splitlines` does; RE2 knows the first.
_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_ONE_BREAK = str.maketrans(dict.fromkeys(_BREAKS, "\n"))
# No name holds one of these, and some reader ends the text at it.
_CONTROLS = re2.compile(r"[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}]")


class BadExpression(ValueError):
    """The text is not an RE2 expression."""


@dataclass(frozen=True, slots=True)
class ArgumentTest:
    """What one argument has to be; what is None is not asked.

    Attributes:
        pointer: Where it is, RFC 6901; a part `*` stands for every member of a list.
        matches: RE2 for the whole text.
        contains: RE2 for some part of it.
        like: Names with `*`, one of which the text is.
        at_least: The smallest number.
        at_most: The largest.
    """

    pointer: str
    matches: str | None = None
    contains: str | None = None
    like: tuple[str, ...] | None = None
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, arguments: Mapping[str, Any]) -> bool | None:
        """Return whether it is so; None if that cannot be told."""
        return _agreed([self._of(value) for value in _at(arguments, _parts(self.pointer))])

    def _of(self, value: object) -> bool | None:
        if value is _ABSENT:
            return False
        if self._asks_text and not isinstance(value, str):
            return None
        if self._asks_number and (isinstance(value, bool) or not isinstance(value, int | float)):
            return None
        return (not self._asks_text or self._of_text(str(value))) and (
            not self._asks_number or self._of_number(value)  # type: ignore[arg-type]  # see above
        )

    @property
    def _asks_text(self) -> bool:
        return any(each is not None for each in (self.matches, self.contains, self.like))

    @property
    def _asks_number(self) -> bool:
        return self.at_least is not None or self.at_most is not None

    def _of_text(self, text: str) -> bool | None:
        if len(text) > MAX_CHARS:
            return None
        return _every(
            [
                self.matches is None or _matches(self.matches, text),
                self.contains is None
                or compiled(self.contains, lines=True).search(text) is not None,
                self.like is None or _like(self.like, text),
            ]
        )

    def _of_number(self, number: float) -> bool:
        return (self.at_least is None or number >= self.at_least) and (
            self.at_most is None or number <= self.at_most
        )


def all_hold(tests: Sequence[ArgumentTest], arguments: str) -> bool | None:
    """Return whether the arguments of a call pass every test; None if that cannot be told."""
    if not tests:
        return True
    try:
        read = read_arguments(arguments)
    except MalformedArguments:
        return None
    return _every([test.holds(read) for test in tests])


def well_formed(arguments: str) -> bool:
    """Return whether the arguments are one JSON object that everybody reads the same."""
    try:
        read_arguments(arguments)
    except MalformedArguments:
        return False
    return True


@lru_cache(maxsize=4096)
def compiled(expression: str, *, lines: bool = False) -> Any:  # noqa: ANN401 - re2 ships no types
    """Return a compiled expression.

    Args:
        expression: RE2.
        lines: Whether a dot is for line breaks too. It is where something is looked for, so
            that a line break hides nothing; not where all of a text is to be as it should, so
            that nothing follows in a second line.

    Raises:
        BadExpression: If it is none.
    """
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = lines
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        raise BadExpression(str(error)[:200]) from error


def _matches(expression: str, text: str) -> bool | None:
    """Return whether a whole text matches; None if only one who reads past line breaks says so."""
    strict = compiled(expression).fullmatch(text.translate(_ONE_BREAK)) is not None
    loose = compiled(expression, lines=True).fullmatch(text) is not None
    return strict if strict is loose else None


def _like(patterns: Sequence[str], text: str) -> bool | None:
    """Return whether a text is one of these names; None if it has what no name has."""
    expressions = (".*".join(re2.escape(part) for part in each.split("*")) for each in patterns)
    if not any(compiled(each, lines=True).fullmatch(text) for each in expressions):
        return False
    return None if _CONTROLS.search(text) else True


def _every(told: Sequence[bool | None]) -> bool | None:
    """Return whether all hold: what is false is not made doubtful by what cannot be told."""
    if False in told:
        return False
    return None if None in told else True


def _agreed(told: Sequence[bool | None]) -> bool | None:
    """Return what all say; None where they do not agree."""
    return told[0] if told and len(set(told)) == 1 else False if not told else None


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _at(value: object, parts: Sequence[str]) -> Iterator[object]:
    """Yield what stands at a place; `_ABSENT` if nothing does."""
    if not parts:
        yield value
    elif parts[0] == "*" and isinstance(value, list):
        for each in value:
            yield from _at(each, parts[1:])
    # Never a member by the name `*`: it would stand for the others, which nobody looked at.
    elif isinstance(value, dict) and parts[0] in value and parts[0] != "*":
        yield from _at(value[parts[0]], parts[1:])
    elif isinstance(value, list) and parts[0].isdecimal() and int(parts[0]) < len(value):
        yield from _at(value[int(parts[0])], parts[1:])
    else:
        yield _ABSENT
