"""Says which part of a JSON text each character belongs to, while the text still arrives. Pure.

A text that starts with `{` or `[` is taken to be JSON until a character comes that JSON has
no place for; from there on it is not, and never was. One document after another (JSON
lines) is JSON too. Nothing is parsed into values, and a text that breaks off is no error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto


class Part(Enum):
    """What a run of a JSON text is; what lies between runs is punctuation and white space."""

    KEY = auto()  # between the quotes of a member's name
    STRING = auto()  # between the quotes of a value
    LITERAL = auto()  # a number, `true`, `false` or `null`


@dataclass(frozen=True, slots=True)
class Run:
    """A run of one part.

    Attributes:
        part: What it is.
        start: Where it starts in the text just read, code points.
        end: Where it ends, exclusive; it goes on in the next text if nothing follows here.
        opened: Whether it goes on from the last run of an earlier text.
        finish: How many leading code points belong to an escape that an earlier text began.
        begun: How many trailing code points belong to one that the next text finishes.
    """

    part: Part
    start: int
    end: int
    opened: bool = False
    finish: int = 0
    begun: int = 0


class _Next(Enum):
    """What may come between two runs."""

    DOCUMENT = auto()
    FIRST_KEY = auto()  # or the end of the object
    KEY = auto()
    COLON = auto()
    FIRST_VALUE = auto()  # or the end of the array
    VALUE = auto()
    MORE = auto()  # a comma, or the end of what is open


_SPACE = re.compile(r"[ \t\r\n]*+")
# Up to the closing quote, or an escape that is not whole or no escape at all.
_STRING = re.compile(r'(?:[^"\\]++|\\u[0-9A-Fa-f]{4}|\\["\\/bfnrt])*+')
_ESCAPE = re.compile(r'\\(?:u[0-9A-Fa-f]{4}|["\\/bfnrt])')
_BEGUN = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?")
_LITERAL = re.compile(r"[-+.0-9A-Za-z]*+")
_NUMBER = re.compile(r"-?(?:[0-9][-+.0-9eE]*)?")
_NAMES = ("true", "false", "null")


class JsonReader:
    """Reads one text in pieces.

    Attributes:
        valid: Whether what was read so far is the beginning of JSON.
        inside: What the last text ended in the middle of, if anything.
    """

    def __init__(self) -> None:
        self.valid = True
        self.inside: Part | None = None
        self._opened = False  # whether a run of it was returned already
        self._next = _Next.DOCUMENT
        self._stack: list[str] = []
        self._literal = ""  # what was read of the literal that is open
        self._escape = ""  # and of the escape

    def read(self, text: str) -> list[Run]:
        """Return the runs in the next piece of the text, in order; none once it is invalid."""
        runs: list[Run] = []
        at = 0
        while self.valid and at < len(text):
            if self.inside is None:
                at = self._punctuation(text, at)
            else:
                part, start = self.inside, at
                finish, opened = self._finish(text), self._opened
                read = self._literal_run if part is Part.LITERAL else self._string_run
                at = read(text, start + finish)
                quoted = self._between() and part is not Part.LITERAL
                begun = min(len(self._escape), at - start - finish)
                runs.append(Run(part, start, at - quoted, opened, finish, begun))
                self._opened = not self._between()
        return runs if self.valid else []

    def _between(self) -> bool:
        return self.inside is None

    def _punctuation(self, text: str, at: int) -> int:
        """Read one mark, and return where what comes after it starts."""
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it always matches
        if at == len(text):
            return at
        mark = text[at]
        if mark in "{[":
            self._open(mark)
        elif mark in "}]":
            self._close(mark)
        elif mark in ",:":
            self._separate(mark)
        else:
            return self._begin(mark, at)
        return at + 1

    def _open(self, mark: str) -> None:
        self._expect(_Next.DOCUMENT, _Next.FIRST_VALUE, _Next.VALUE)
        self._stack.append(mark)
        self._next = _Next.FIRST_KEY if mark == "{" else _Next.FIRST_VALUE

    def _close(self, mark: str) -> None:
        self._expect(_Next.MORE, _Next.FIRST_KEY if mark == "}" else _Next.FIRST_VALUE)
        if not self._stack or self._stack.pop() + mark not in ("{}", "[]"):
            self.valid = False
        self._next = _Next.MORE if self._stack else _Next.DOCUMENT

    def _separate(self, mark: str) -> None:
        self._expect(_Next.MORE if mark == "," else _Next.COLON)
        in_object = bool(self._stack) and self._stack[-1] == "{"
        self._next = _Next.KEY if mark == "," and in_object else _Next.VALUE

    def _begin(self, mark: str, at: int) -> int:
        """Begin a string or a literal."""
        if mark == '"' and self._next in (_Next.FIRST_KEY, _Next.KEY):
            self.inside, self._next = Part.KEY, _Next.COLON
            return at + 1
        self._expect(_Next.FIRST_VALUE, _Next.VALUE)
        self._next = _Next.MORE
        self.inside = Part.STRING if mark == '"' else Part.LITERAL
        return at + 1 if mark == '"' else at

    def _expect(self, *allowed: _Next) -> None:
        self.valid = self.valid and self._next in allowed

    def _finish(self, text: str) -> int:
        """Return how much of `text` belongs to an escape that the text before it began."""
        if not self._escape:
            return 0
        begun = self._escape
        if whole := _ESCAPE.match(begun + text[:6]):
            self._escape = ""
            return whole.end() - len(begun)
        self._escape = begun + text
        self.valid = _BEGUN.fullmatch(self._escape) is not None
        return len(text)

    def _string_run(self, text: str, at: int) -> int:
        """Return where reading goes on: behind the closing quote, if it is here."""
        end = _STRING.match(text, at).end()  # type: ignore[union-attr]  # it always matches
        if end == len(text):
            return end
        if text[end] == '"':
            self.inside = None
            return end + 1
        self._escape = text[end:]
        self.valid = _BEGUN.fullmatch(self._escape) is not None
        return len(text)

    def _literal_run(self, text: str, at: int) -> int:
        end = _LITERAL.match(text, at).end()  # type: ignore[union-attr]  # it always matches
        self._literal += text[at:end]
        self.valid = bool(self._literal) and (
            _NUMBER.fullmatch(self._literal) is not None
            or any(name.startswith(self._literal) for name in _NAMES)
        )
        if end < len(text):
            self.inside, self._literal = None, ""
        return end
