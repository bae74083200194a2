"""How each classifier of a panel is doing, from the answers it gave.

Passive: nobody is probed. A judge that failed `DOWN_AFTER` times running is down for
`DOWN_FOR_S` seconds and is not asked meanwhile, so that an outage costs each request the
next rung and not the whole deadline; the first request after that tries it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from classifiers.types import TOO_LONG, UNSUPPORTED_LANGUAGE, Receipt

DOWN_AFTER = 3  # failures running
DOWN_FOR_S = 10.0  # after the last of them
# Failures that lie in the text. Whoever sends it must not get a classifier called broken.
_IN_THE_TEXT = frozenset({UNSUPPORTED_LANGUAGE, TOO_LONG})
# Failures that lie in the classifier. What a caller can provoke is not among them, or one
# could turn a judge off for everyone: nonsense for an answer, by what a text says; no turn,
# by asking much; being late, by a long text.
_OUTAGES = frozenset({"timeout", "failed", "unavailable"})
_LONG = 8_000  # code points, from which on being late may lie in the text


class State(StrEnum):
    """How a classifier is doing."""

    UNTRIED = "untried"  # not asked yet
    OK = "ok"
    FAILING = "failing"  # it gave no answer the last time
    DOWN = "down"  # nor several times before that


@dataclass(frozen=True, slots=True)
class Standing:
    """How one classifier is doing.

    Attributes:
        classifier: Name and version.
        judge: Whether it is asked only on request.
        state: How it is doing.
        since: When it last began to fail, Unix time, seconds; None while it does not.
        error: Why it gave no answer the last time, as a reason code, or None.
    """

    classifier: str
    judge: bool
    state: State
    since: float | None = None
    error: str | None = None


class Record:
    """What is remembered of one classifier's answers."""

    __slots__ = ("_clock", "_error", "_last", "_outages", "_since", "_tried", "classifier", "judge")

    def __init__(self, classifier: str, *, judge: bool, clock: Callable[[], float]):
        self.classifier = classifier
        self.judge = judge
        self._clock = clock
        self._tried = False
        self._error: str | None = None
        self._since: float | None = None
        self._last = 0.0
        self._outages = 0

    def note(self, receipt: Receipt) -> None:
        """Remember an answer, or that there was none."""
        self._tried = True
        error = receipt.error
        if error is None or receipt.scanned_chars or error in _IN_THE_TEXT:
            self._error = self._since = None
            self._outages = 0
            return
        self._last = self._clock()
        self._since = self._since if self._error else self._last
        self._error = error
        lies_in_length = error == "timeout" and receipt.unscanned_chars > _LONG
        self._outages += error in _OUTAGES and not lies_in_length

    @property
    def down(self) -> bool:
        """Whether it is not worth asking now."""
        return self._outages >= DOWN_AFTER and self._clock() < self._last + DOWN_FOR_S

    def standing(self) -> Standing:
        """Return how it is doing now."""
        if self.down:
            state = State.DOWN
        elif self._error:
            state = State.FAILING
        else:
            state = State.OK if self._tried else State.UNTRIED
        return Standing(self.classifier, self.judge, state, self._since, self._error)
