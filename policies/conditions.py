"""Conditions of rules: CEL, behind a small interface of our own. Pure.

The Common Expression Language has no loops without a bound and no side effects. Every name
has a static type, so a misspelt one or a comparison of a number with a text is found when
the policy is loaded. What can still fail when it is asked, such as a look-up of a score that
nobody gave, is `None`: unknown, and never "false".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cel_expr_python import cel

from policies.circumstances import Circumstances

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
    """

    text: str
    _program: Any = field(repr=False, compare=False)
    uses: tuple[str, ...] = field(repr=False, compare=False)

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
    return Condition(text, program, uses)


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


def facts_of(given: Circumstances) -> dict[str, object]:
    """Return what holds for a whole exchange: all `VARIABLES` but the stage and the scores."""
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
def _environment() -> cel.Env:
    return cel.NewEnv(variables=VARIABLES)


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
