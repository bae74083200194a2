"""Conditions of rules: CEL, behind a small interface of our own. Pure.

The Common Expression Language has no loops without a bound and no side effects. Every name
has a static type, so a misspelt one or a comparison of a number with a text is found when
the policy is loaded. What can still fail when it is asked, such as a look-up of a score that
nobody gave, is `None`: unknown, and never "false".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cel_expr_python import cel

from policies.circumstances import Circumstances
from policies.trail import Trail, cel_types, pool

MAX_CHARS = 2000

_TEXT, _TEXTS = cel.Type.STRING, cel.Type.List(cel.Type.STRING)

# Everything a condition may look at, and of which type it is.
VARIABLES: Mapping[str, cel.Type] = {
    "user.strikes": cel.Type.INT,
    "user.age_group": _TEXT,
    "request.project": _TEXT,
    "request.tier": _TEXT,
    "request.endpoint": _TEXT,
    "request.model": _TEXT,
    "request.locale": _TEXT,
    "request.stream": cel.Type.BOOL,
    "request.tools": _TEXTS,
    "request.access": _TEXTS,
    "stage": _TEXT,
    "score": cel.Type.DOUBLE,
    "scores": cel.Type.Map(_TEXT, cel.Type.DOUBLE),
    **cel_types(),
}


class ConditionError(ValueError):
    """The text is not a condition.

    Attributes:
        offset: Where in the text, in code points from 0.
        name: What it looks at that there is not, or None.
    """

    def __init__(self, message: str, offset: int = 0, name: str | None = None):
        super().__init__(message)
        self.offset = offset
        self.name = name


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition; two are equal if their texts are.

    Attributes:
        text: As it was written.
        uses: Which of `VARIABLES` it may look at.
        of_call: Whether it looks at the call that is being made, so that it is about nothing
            else.
        bound: Where it holds if something is more than a number: what, and the number.
    """

    text: str
    _program: Any = field(repr=False, compare=False)
    uses: tuple[str, ...] = field(repr=False, compare=False)
    of_call: bool = field(default=False, repr=False, compare=False)
    bound: tuple[str, int] | None = field(default=None, repr=False, compare=False)

    @property
    def of_trail(self) -> bool:
        """Whether it looks at what happened so far."""
        return self.of_call or not _ON_TRAIL.isdisjoint(self.uses)

    def holds(self, facts: Mapping[str, object]) -> bool | None:
        """Return whether it holds, or None if that cannot be told.

        Args:
            facts: A value for each of `VARIABLES`; see `facts_of`.
        """
        used = {name: facts[name] for name in self.uses if name in facts}
        try:
            answer = self._program.eval(data=used)
        except RuntimeError:  # it ran for too long
            return None
        return bool(answer.value()) if answer.type() == cel.Type.BOOL else None


def compile_condition(text: str) -> Condition:
    """Return the condition that `text` means.

    Raises:
        ConditionError: If it is too long, not CEL, names what there is not, or is not
            either true or false.
    """
    if len(text) > MAX_CHARS:
        raise ConditionError(f"a condition has at most {MAX_CHARS} characters")
    try:
        program = _environment().compile(text)
    except RuntimeError as error:  # the only thing that the library raises
        raise _explained(str(error)) from error
    if program.return_type() != cel.Type.BOOL:
        kind = str(program.return_type().name()).lower()
        raise ConditionError(f"a condition is either true or false; this is of type {kind}")
    words = set(_WORD.findall(text))
    # By the last part of the name alone: one too many costs a little, and none is left out.
    uses = tuple(name for name in VARIABLES if name.rpartition(".")[2] in words)
    return Condition(text, program, uses, "call" in uses and _needs_call(text))


def _needs_call(text: str) -> bool:
    """Return whether a condition looks at `call`, and not at something of the same name."""
    try:
        _environment("call").compile(text)
    except RuntimeError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Assumption:
    """Stands for a program, and for its answer."""

    answer: bool | None

    def eval(self, data: Mapping[str, object]) -> _Assumption:
        return self

    def type(self) -> Any:  # noqa: ANN401 - the library ships no types
        return cel.Type.DYN if self.answer is None else cel.Type.BOOL

    def value(self) -> bool | None:
        return self.answer


def assumed(text: str, answer: bool | None) -> Condition:
    """Return a condition that gives this answer whatever it is asked, to compare policies."""
    return Condition(text, _Assumption(answer), ("score",))  # so that each rule asks its own


@dataclass(frozen=True, slots=True)
class _Told:
    """Stands for a program that is not CEL."""

    tell: Callable[[Trail], bool | None]

    def eval(self, data: Mapping[str, object]) -> _Assumption:
        trail = data.get("trail")
        return _Assumption(self.tell(trail) if isinstance(trail, Trail) else None)


def told(
    text: str,
    tell: Callable[[Trail], bool | None],
    *,
    of_call: bool,
    bound: tuple[str, int] | None = None,
) -> Condition:
    """Return a condition on what happened so far that is told without CEL.

    Args:
        text: What it says, in words; two conditions with the same text are taken to be equal.
        tell: Whether it holds, None if that cannot be told.
        of_call: Whether it is about the call that is being made.
        bound: What has to be more than which number, if that is all it says.
    """
    return Condition(text, _Told(tell), ("trail",), of_call, bound)


def facts_of(given: Circumstances) -> dict[str, object]:
    """Return what holds for a whole exchange: those of `VARIABLES` that are of the request."""
    return {
        "user.strikes": given.strikes,
        "user.age_group": given.age_group.value,
        "request.project": given.project,
        "request.tier": given.tier,
        "request.endpoint": given.endpoint,
        "request.model": given.model,
        "request.locale": given.locale,
        "request.stream": given.stream,
        "request.tools": list(given.tools),
        "request.access": sorted(given.access),
    }


@cache
def _environment(*without: str) -> cel.Env:
    known = {name: kind for name, kind in VARIABLES.items() if name not in without}
    return cel.NewEnv(descriptor_pool=pool(), variables=known)


_ON_TRAIL = frozenset({"trajectory", "trail"})


_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACE = re.compile(r"<input>:(\d+):(\d+): (.*)")
_UNKNOWN = re.compile(r"undeclared reference to '\.?([^']*)'")


def _explained(message: str) -> ConditionError:
    """Return the library's first complaint in our words and at its place."""
    found = _PLACE.search(message)
    if found is None:
        return ConditionError("this is not a CEL expression")
    offset = max(int(found[2]) - 1, 0) if found[1] == "1" else 0
    if unknown := _UNKNOWN.search(found[3]):
        return ConditionError(f"unknown name `{unknown[1][:80]}`", offset, unknown[1])
    reason = found[3].partition(" [INVALID_ARGUMENT]")[0].partition(" expecting ")[0].strip()
    return ConditionError(reason[:1].lower() + reason[1:200], offset)
