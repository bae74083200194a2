r"""Knows a secret again in what a model writes, however it is spelled. Pure, in bounded time.

A text is read in a few ways: as it stands, with its escapes undone (JSON, URL, `\x41`, lists of
character codes), and decoded (`classifiers.decode`). Of each only letters and digits are
looked at, so that a secret in pieces is whole again, once without regard to case. In it are
looked for the secret, the secret turned round, rotated by 13, in hexadecimal, in base32 and in
base64 at each of its three alignments, and several of these one inside another.

What is looked for is cut into short runs. A secret has been found if most of its runs have
been: it may be in several pieces, in any order, and lack a part. One of words has to be there
as a whole, or an ordinary sentence would have it.
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import re2

from classifiers.decode import decoded
from classifiers.vocabulary import share

SHORTEST = 12  # letters and digits of a secret that is looked for
SHORTEST_CANARY = 8  # of one that an operator sets out; all of it has to be found
RUN = 6  # letters and digits that are looked for at once
FOUND = 0.75  # which share of its runs makes a secret found
WORDS = 0.5  # share of the letters in common words from which on a secret is made of words
LEAST_DIFFERENT = 5  # different letters and digits

_BREAK = re.compile(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z]+")
_NOISE = re.compile(r"[^0-9A-Za-z]+")
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|%([0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"\\[nrtbf]")
_PREFIX = re.compile(r"\\x|0[xX]|\\u00|%|&#[xX]?")
_CODES = re2.compile(r"(?:\b(?:3[2-9]|[4-9][0-9]|1[01][0-9]|12[0-6])\b[^0-9A-Za-z]{1,8}){8,}")
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Sight:
    """A text, as far as secrets can be found in it.

    Attributes:
        folded: Every run of letters and digits, without regard to case.
        exact: Every run, as it is.
    """

    folded: frozenset[str]
    exact: frozenset[str]


@dataclass(frozen=True, slots=True)
class Disguises:
    """A secret, in every spelling that is looked for.

    Attributes:
        folded: Spellings that are looked for without regard to case, the plain one first.
        exact: Those whose case matters.
        share: Which share of the runs of one has to be found.
    """

    folded: tuple[tuple[str, ...], ...]
    exact: tuple[tuple[str, ...], ...]
    share: float

    def seen_in(self, sight: Sight) -> bool:
        """Return whether the secret is in the text."""
        return any(self._found(runs, sight.folded) for runs in self.folded) or any(
            self._found(runs, sight.exact) for runs in self.exact
        )

    def _found(self, runs: tuple[str, ...], there: frozenset[str]) -> bool:
        covered = at = 0  # letters that are in a run that was found; runs overlap
        for place, run in enumerate(runs):
            if run in there:
                covered += place + RUN - max(at, place)
                at = place + RUN
        return covered >= self.share * (len(runs) + RUN - 1)


def worth_noting(text: str, *, canary: bool = False) -> bool:
    """Return whether a secret is long and mixed enough to be known again, and by no accident."""
    plain = _NOISE.sub("", text)
    return len(plain) >= (SHORTEST_CANARY if canary else SHORTEST) and (
        len(set(plain)) >= LEAST_DIFFERENT
    )


def disguises(text: str, *, whole: bool = False) -> Disguises:
    """Return the spellings of a secret.

    Args:
        text: The secret; see `worth_noting`.
        whole: Whether all of it has to be found.
    """
    plain = text.encode("utf-8", "replace")
    rotated = codecs.encode(text, "rot13").encode("utf-8", "replace")
    forms = (plain, plain[::-1], rotated, rotated[::-1])
    folded = dict.fromkeys(
        spelled.casefold() for form in forms for spelled in (_letters(form), form.hex())
    )
    folded.update(dict.fromkeys(each.casefold() for each in _base32(plain)))
    exact = dict.fromkeys(spelled for form in forms for spelled in _base64(form))
    for inner in (base64.b64encode(plain), plain.hex().encode()):
        exact.update(dict.fromkeys(_base64(inner)))
    return Disguises(
        tuple(_runs(each) for each in folded if len(each) >= SHORTEST_CANARY),
        tuple(_runs(each) for each in exact if len(each) >= SHORTEST_CANARY),
        1.0 if whole or _of_words(text) else FOUND,
    )


def _of_words(text: str) -> bool:
    return share(_BREAK.sub(" ", text)) >= WORDS


def sight_of(text: str) -> Sight:
    """Return a text as secrets are looked for in it."""
    readings = dict.fromkeys(_readings(text))
    squeezed = dict.fromkeys(_NOISE.sub("", reading) for reading in readings)
    return Sight(
        frozenset(run for each in squeezed for run in _runs(each.casefold())),
        frozenset(run for each in squeezed for run in _runs(each)),
    )


def _readings(text: str) -> Iterator[str]:
    yield text
    unescaped = _ESCAPE.sub(_character, _CONTROL.sub("", text))
    yield unescaped
    yield _PREFIX.sub("", text)
    yield decoded(unescaped, plain=True).text
    ascii_text = text.encode("ascii", "replace") + b" "
    for codes in _CODES.finditer(ascii_text):
        yield "".join(chr(int(number)) for number in _NUMBER.findall(codes.group().decode()))


def _character(code: re.Match[str]) -> str:
    return chr(int(code[1] or code[2] or code[3], 16))


def _runs(text: str) -> tuple[str, ...]:
    return tuple(text[at : at + RUN] for at in range(len(text) - RUN + 1))


def _letters(form: bytes) -> str:
    return _NOISE.sub("", form.decode("utf-8", "replace"))


def _base64(form: bytes) -> Iterator[str]:
    """Yield the part of the encoding that is the same whatever stands around, by alignment."""
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + form).decode().rstrip("=")
        bits = 8 * (shift + len(form))
        first = -(-8 * shift // 6)
        yield _NOISE.sub("", encoded[first : bits // 6])


def _base32(form: bytes) -> Iterable[str]:
    for shift in range(5):
        encoded = base64.b32encode(b"\0" * shift + form).decode().rstrip("=")
        bits = 8 * (shift + len(form))
        yield encoded[-(-8 * shift // 5) : bits // 5]
