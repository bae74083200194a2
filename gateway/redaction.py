"""Puts redactions into effect: what was found is replaced by `[kind]`, and JSON stays JSON. Pure.

In plain text a span is cut out where it is. In JSON (`gateway.json_parts` says what that is)
only what stands between quotes is cut out, never half an escape and never punctuation; a
number, `true`, `false` or `null` becomes the string `"[kind]"` as a whole. The name of a
member stays as it is if a schema of the prompt has it, or if it looks like one that a
program would use and no span lies wholly in it; else it is content like any other.

What has already left cannot be called back. A number of which a part has left is ended
there; an escape of which a part has left is finished first.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.json_parts import JsonReader, Part, Run
from model_runner.types import Prompt
from policies.types import Redaction

# What is cut out as one, or not at all: two escapes that make one character, an escape.
_UNIT = re.compile(
    r"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\."
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_NAME = re.compile(r"[A-Za-z_$@][A-Za-z0-9_$.:-]{0,47}")
_DIGITS = 4  # a name with more is an account, not a name


@dataclass(frozen=True, slots=True)
class _Cut:
    """A run of text that is to be hidden, one span or several that overlap, and by what."""

    start: int
    end: int
    sign: str


class Redactor:
    """Redacts a reply passage by passage; its messages come one after the other.

    Args:
        prompt: What is replied to; its schemas say which names of members to expect.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._message: int | None = None

    def redact(
        self, message: int, text: str, redactions: Iterable[Redaction], start: int = 0
    ) -> str:
        """Return what may leave of the next passage of a message.

        Args:
            message: Its number; a new number starts a new message.
            text: The passage. Every passage has to pass here, also one without redactions.
            redactions: What was found in it.
            start: How many of its leading code points have already left.
        """
        if message != self._message:
            self._message, self._json = message, _Json()
        spans = [
            _Cut(each.span.start, each.span.end, each.sign)
            for each in redactions
            if each.span.end > start
        ]
        if spans:
            self._json.expected = _declared_names(self._prompt)
        shown = self._json.redact(text, spans, start)
        return _plain(text, spans, start) if shown is None else shown


def redacted(text: str, redactions: Iterable[Redaction]) -> str:
    """Return `text` with every span that was found cut out, as it is kept; JSON may break."""
    cuts = [_Cut(each.span.start, each.span.end, each.sign) for each in redactions]
    return _plain(text, cuts, 0) if cuts else text


def _declared_names(prompt: Prompt) -> frozenset[str]:
    """Return the names of all members that tools and an answer schema declare."""
    names: set[str] = set()
    left: list[object] = [tool.parameters for tool in prompt.tools]
    left.append(prompt.json_schema)
    while left:
        schema = left.pop()
        if isinstance(schema, Mapping):
            properties = schema.get("properties")
            if isinstance(properties, Mapping):
                names.update(map(str, properties))
            left.extend(schema.values())
        elif isinstance(schema, list | tuple):
            left.extend(schema)
    return frozenset(names)


def _plain(text: str, spans: list[_Cut], start: int) -> str:
    for cut in reversed(_merged(spans)):
        text = f"{text[: max(cut.start, start)]}{cut.sign}{text[cut.end :]}"
    return text[start:]


def _merged(spans: Iterable[_Cut]) -> list[_Cut]:
    """Return `spans` in order, those that overlap as one with the sign of the first."""
    merged: list[_Cut] = []
    for cut in sorted(spans, key=lambda each: (each.start, each.end, each.sign)):
        if merged and cut.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = _Cut(last.start, max(last.end, cut.end), last.sign)
        else:
            merged.append(cut)
    return merged


class _Json:
    """One message that may be JSON."""

    def __init__(self) -> None:
        self._reader = JsonReader()
        self._literal = ""  # what has left of the literal that is open
        self._hidden = False  # whether it was replaced, so that the rest of it goes too
        self._keys: Counter[str] = Counter()
        self.expected: frozenset[str] = frozenset()  # names of members that stay

    def redact(self, text: str, spans: list[_Cut], start: int) -> str | None:
        """Return what may leave of the next passage; None if the message is no JSON."""
        runs = self._reader.read(text)
        if not self._reader.valid:
            return None
        merged = _merged(spans)
        shown: list[str] = []
        done = start
        for run in runs:
            shown.append(text[done : run.start])  # punctuation
            if run.part is Part.LITERAL:
                shown.append(self._literal_run(text, run, merged, start))
            elif run.part is Part.KEY:
                shown.append(self._key(text, run, spans, start))
            else:
                shown.append(_quoted(text, run, merged, start))
            done = max(done, run.end)
        shown.append(text[done:])
        return "".join(shown)

    def _literal_run(self, text: str, run: Run, cuts: list[_Cut], start: int) -> str:
        if not run.opened:
            self._literal, self._hidden = "", False
        self._literal += text[run.start : min(run.end, start)]
        left = text[max(run.start, start) : run.end]
        if self._hidden:
            return ""
        found = [cut for cut in cuts if cut.start < run.end and run.start < cut.end]
        end = _end_of(self._literal) if self._literal else ""
        if not found or not left or end is None:
            self._literal += left
            return left
        self._hidden = True
        return end if self._literal else _string(found[0].sign)

    def _key(self, text: str, run: Run, spans: list[_Cut], start: int) -> str:
        """Return a member's name; of names that are hidden no two are the same."""
        said = text[run.start : run.end]
        if said in self.expected:
            return text[max(run.start, start) : run.end]
        name = _NAME.fullmatch(said) and sum(mark.isdigit() for mark in said) <= _DIGITS
        cuts = [cut for cut in spans if not name or _wholly(cut, run)]
        shown = _quoted(text, run, _merged(cuts), start)
        if shown == text[max(run.start, start) : run.end]:
            return shown
        self._keys[shown] += 1
        return shown if self._keys[shown] == 1 else f"{shown} {self._keys[shown]}"


def _wholly(cut: _Cut, run: Run) -> bool:
    """Return whether `cut` lies in a string alone; its quotes may be in it."""
    return run.start - 1 <= cut.start and cut.end <= run.end + 1


def _quoted(text: str, run: Run, cuts: list[_Cut], start: int) -> str:
    """Return what may leave of a string."""
    if not cuts:
        return text[max(run.start, start) : run.end]
    low, until = max(run.start + run.finish, start), run.end - run.begun
    units = [each.span() for each in _UNIT.finditer(text, run.start + run.finish, until)]
    done = _unit(units, low)[1]  # an escape of which a part has left is finished
    shown = [text[max(run.start, start) : done]]
    for cut in cuts:
        if cut.end <= done or until <= cut.start:
            continue
        first = max(_unit(units, cut.start)[0], done)
        last = min(_unit(units, cut.end)[1], until)
        if first < last:
            shown += [text[done:first], _string(cut.sign)[1:-1]]
            done = last
    return "".join([*shown, text[done : run.end]])


def _unit(units: list[tuple[int, int]], at: int) -> tuple[int, int]:
    """Return the unit that `at` is in the middle of; between two units, just `at`."""
    place = bisect_right(units, (at, 0)) - 1
    if place >= 0 and units[place][0] < at < units[place][1]:
        return units[place]
    return at, at


def _string(said: str) -> str:
    return json.dumps(said, ensure_ascii=False)


def _end_of(left: str) -> str | None:
    """Return what makes a number of the part that has left; None if it is `true` or so."""
    return next((end for end in ("", "0") if _NUMBER.fullmatch(left + end)), None)
