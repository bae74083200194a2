r"""Undoes the encodings people use to get a text past a classifier, and past nobody else.

Base64, hexadecimal, binary, escapes (`%68`, `\u0068`, `&#104;`), Morse, rotated alphabets
(rot13 and the other 24), reversed text, s p a c e d letters and l33t are read as what they
say. What was encoded is replaced where it stands, and only if what comes out is English
(or, for a caller that asks, plain ASCII): ordinary text, code, keys and gibberish come back
as they are. An encoding inside another is undone too, twice at most.

Every character remembers which run of the original it came from, so that hiding what was
found hides the encoded run. Texts are read up to `LIMIT`; what lies beyond stays as it is.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import re2

from classifiers.sentences import SAMPLE, turned, unmixed
from classifiers.vocabulary import known, natural, spaced

LIMIT = 64 * 1024  # code points
SHORTEST = 12  # characters of what a run says, if it is not English
NESTED = 2  # how many encodings are undone, one inside another
_NUL = "\0"
_ALIGNED = ("rot", "leet")  # encodings of letter by letter
READABLE = 0.5  # which part of the letters of a decoded run must be in common words


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of the original and what it says.

    Attributes:
        start: Where the run starts in the original, code points.
        end: Where it ends, exclusive.
        text: What it says, not empty.
        encoding: How it was encoded.
    """

    start: int
    end: int
    text: str
    encoding: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text with what was encoded in it replaced by what it says.

    Attributes:
        text: As decoded; the original where nothing was encoded.
        encoding: What was undone, joined by `+`; None if nothing was.
        starts: Where each stretch of `text` starts, ascending; empty if nothing moved.
        stretches: For each the run of the original it came from, and whether it was
            decoded as one (or else character by character).
    """

    text: str
    encoding: str | None = None
    starts: tuple[int, ...] = ()
    stretches: tuple[tuple[int, int, bool], ...] = ()

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the original that [start, end), not empty, came from."""
        if not self.starts:
            return start, end
        return self._run(start)[0], self._run(end - 1)[1]

    def position(self, index: int) -> int:
        """Return how many code points of `text` come from runs that end by `index`."""
        if not self.starts or index <= 0:
            return max(index, 0)
        place = bisect_left(self.stretches, index, key=lambda stretch: stretch[0]) - 1
        first, end, whole = self.stretches[place]
        if index < end:
            return self.starts[place] + (0 if whole else index - first)
        return self.starts[place + 1] if place + 1 < len(self.starts) else len(self.text)

    def _run(self, index: int) -> tuple[int, int]:
        place = bisect_right(self.starts, index) - 1
        first, end, whole = self.stretches[place]
        if whole:
            return first, end
        at = first + index - self.starts[place]
        return at, at + 1


def decoded(text: str, *, plain: bool = False, nested: int = NESTED) -> Decoded:
    """Read what is encoded in `text`. Time is linear in the length, up to `LIMIT`.

    Args:
        text: Anything.
        plain: Whether base64, hexadecimal and binary runs are also undone where they say
            something in ASCII that is not English, such as a key. For readers that look
            for exactly such things; for others it is noise.
        nested: How many encodings are undone, one inside another.
    """
    pieces = _pieces(text[:LIMIT], plain=plain, nested=nested)
    return _replaced(text, pieces) if pieces else Decoded(text)


def _pieces(text: str, *, plain: bool, nested: int) -> list[Piece]:
    """Return what is encoded in `text`: runs that do not overlap, in order."""
    found: list[Piece] = []
    starts: list[int] = []
    for piece in chain(
        _escapes(text, plain=plain),
        _runs(text, plain=plain, nested=nested),
        _spaced(text),
        _sentences(text),
        _leet(text),
    ):
        place = bisect_left(starts, piece.start)
        after = starts[place] if place < len(found) else len(text)
        if piece.end <= after and (place == 0 or found[place - 1].end <= piece.start):
            found.insert(place, piece)
            starts.insert(place, piece.start)
    return found


def _replaced(text: str, pieces: list[Piece]) -> Decoded:
    parts: list[str] = []
    starts: list[int] = []
    stretches: list[tuple[int, int, bool]] = []
    done = length = 0
    for piece in [*pieces, Piece(len(text), len(text), "", "")]:
        for first, last, said, whole in (
            (done, piece.start, text[done : piece.start], False),
            (piece.start, piece.end, piece.text, not piece.encoding.startswith(_ALIGNED)),
        ):
            if said:
                starts.append(length)
                stretches.append((first, last, whole))
                parts.append(said)
                length += len(said)
        done = piece.end
    encodings = dict.fromkeys(piece.encoding for piece in pieces)
    return Decoded("".join(parts), "+".join(encodings), tuple(starts), tuple(stretches))


# --------------------------------------------------------------------------- runs

# So many escapes in a row, or in one word, are no longer an ordinary address.
_ESCAPED = re2.compile(
    r"[A-Za-z0-9.,'+-]*(?:%[2-7][0-9A-Fa-f][A-Za-z0-9.,'+-]*){3,}|(?:\\u00[2-7][0-9A-Fa-f]){3,}"
    r"|(?:\\x[2-7][0-9A-Fa-f]){3,}|(?:&#(?:[0-9]{2,3}|x[0-9A-Fa-f]{2});){3,}"
)
# One is enough for a reader who looks for an address: `ada%40example.org`.
_ONCE = re2.compile(
    r"[A-Za-z0-9.,'+-]*(?:(?:%[2-7][0-9A-Fa-f])[A-Za-z0-9.,'+-]*)+"
    r"|[A-Za-z0-9.,'+-]*(?:\\(?:u00|x)[2-7][0-9A-Fa-f][A-Za-z0-9.,'+-]*)+"
    r"|(?:&#(?:[0-9]{2,3}|x[0-9A-Fa-f]{2});)+"
)
_UNICODE = re.compile(r"\\(?:u00|x)([0-9A-Fa-f]{2})")
_PERCENT = re.compile("%([0-9A-Fa-f]{2})")

# An alphabet each, and what it takes to be worth a look.
_BASE64 = re2.compile(
    r"(?:[A-Za-z0-9+/_-]{60,76}\r?\n)+[A-Za-z0-9+/_-]{0,76}={0,2}|[A-Za-z0-9+/_-]{16,}={0,2}"
)
_HEX = re2.compile(r"(?:0x)?[0-9A-Fa-f]{16,}|[0-9A-Fa-f]{2}(?:[ :,-](?:0x)?[0-9A-Fa-f]{2}){7,}")
_BINARY = re2.compile(r"[01]{8}(?: ?[01]{8}){3,}")
_MORSE = re2.compile(r"[.-]{1,5}(?:[ /|]{1,3}[.-]{1,5}){5,}")


def _escapes(text: str, *, plain: bool) -> Iterator[Piece]:
    for start, end in _found(_ONCE if plain else _ESCAPED, text):
        run = text[start:end]
        if "%" in run:
            said, encoding = _PERCENT.sub(_character, run.replace("+", " ")), "url"
        elif run.startswith("&"):
            said, encoding = html.unescape(run), "entities"
        else:
            said, encoding = _UNICODE.sub(_character, run), "escapes"
        # Shorter than what counts as English, but a word all the same.
        word = 3 <= len(said) <= 16 and said.replace(" ", "").isalpha()
        if plain or word or natural(said, READABLE):
            yield Piece(start, end, said, encoding)


def _character(code: re.Match[str]) -> str:
    return chr(int(code[1], 16))


def _runs(text: str, *, plain: bool, nested: int) -> Iterator[Piece]:
    kinds: tuple[tuple[str, Any, Callable[[str], str]], ...] = (
        ("binary", _BINARY, _from_binary),
        ("hex", _HEX, _from_hex),
        ("base64", _BASE64, _from_base64),
        ("morse", _MORSE, _from_morse),
    )
    text = text.replace("\u00b7", ".")  # a dot in Morse, in none of the others
    for encoding, expression, read in kinds:
        strange: list[Piece] = []
        for start, end in _found(expression, text):
            said = read(text[start:end]) or ("" if start else _from_the_middle(text[:end], read))
            if natural(said, READABLE):
                yield Piece(start, end, said, encoding)
            elif len(said) >= SHORTEST:
                strange.append(Piece(start, end, said, encoding))
        for piece, inner in zip(strange, _inside(strange, plain, nested - 1), strict=True):
            if inner.encoding is not None:
                said, encodings = inner.text, f"{encoding}+{inner.encoding}"
                yield Piece(piece.start, piece.end, said, encodings)
            elif plain and encoding != "morse":
                yield piece


def _inside(runs: Sequence[Piece], plain: bool, nested: int) -> Iterator[Decoded]:
    """Decode what each of `runs` says: all in one pass, or many short ones would cost too much.

    What they say holds no NUL, and nothing encoded reaches over one.
    """
    joined = _NUL.join(run.text for run in runs) if nested else ""
    pieces = _pieces(joined, plain=plain, nested=nested) if joined else []
    offset = number = 0
    for run in runs:
        end = offset + len(run.text)
        own: list[Piece] = []
        while number < len(pieces) and pieces[number].end <= end:
            piece = pieces[number]
            own.append(replace(piece, start=piece.start - offset, end=piece.end - offset))
            number += 1
        yield _replaced(run.text, own) if own else Decoded(run.text)
        offset = end + 1


def _found(expression: Any, text: str) -> Iterator[tuple[int, int]]:  # noqa: ANN401 - re2 ships no types
    """Yield where `expression`, of ASCII alone, matches.

    Characters beyond ASCII become question marks, which no expression here has: so code
    points are bytes, and neither an accent nor a lone surrogate costs anything.
    """
    for match in expression.finditer(text.encode("ascii", "replace")):
        yield match.span()


_CONTINUED = bytes(range(0x80, 0xC0))  # no character of UTF-8 starts with one of these


def _text(content: bytes) -> str:
    """Return `content` as text if it is text, or nothing. It may be cut within a character."""
    try:
        said, _ = codecs.utf_8_decode(content.lstrip(_CONTINUED), "strict", False)
    except UnicodeDecodeError:
        return ""
    visible = sum(character.isprintable() or character in "\n\r\t" for character in said)
    return said if visible == len(said) else ""


def _from_base64(run: str) -> str:
    letters = "".join(run.split()).rstrip("=").replace("-", "+").replace("_", "/")
    usable = len(letters) - (len(letters) % 4 == 1)
    try:
        return _text(base64.b64decode(letters[:usable] + "=" * (-usable % 4)))
    except binascii.Error:
        return ""


def _from_the_middle(run: str, read: Callable[[str], str]) -> str:
    """Read a run that the text begins inside of, so that its first group or byte lacks a part."""
    return next((said for by in range(1, 8) if (said := read(run[by:]))), "")


def _from_hex(run: str) -> str:
    digits = re.sub(r"0x|[^0-9A-Fa-f]", "", run)
    return _text(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _from_binary(run: str) -> str:
    digits = run.replace(" ", "")
    return _text(bytes(int(digits[place : place + 8], 2) for place in range(0, len(digits) - 7, 8)))


_CODES = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- "
    "-..- -.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
)
_LETTER_OF = dict(zip(_CODES.split(), "abcdefghijklmnopqrstuvwxyz0123456789", strict=True))


def _from_morse(run: str) -> str:
    words = re.split(r"\s*[/|]\s*|\s{2,}", run.strip())
    letters = [[_LETTER_OF.get(code, "#") for code in word.split()] for word in words]
    said = " ".join("".join(word) for word in letters)
    return said if len(words) > 1 else spaced(said) if said.isalpha() else said


# ------------------------------------------------------------------------ sentences

_SPACED = re2.compile(r"\b[A-Za-z](?:[ .*_-][A-Za-z]\b|(?:  +| ?[/|] ?|[.*_-]{2,})[A-Za-z]\b){5,}")
_SENTENCE = re.compile(r"[^\0\n.:;!?\"`()\[\]{}]{8,2000}")


def _spaced(text: str) -> Iterator[Piece]:
    for start, end in _found(_SPACED, text):
        words = re.split(r"  +| ?[/|] ?|[.*_-]{2,}", text[start:end])
        said = [re.sub(r"[^A-Za-z]", "", word) for word in words]
        whole = " ".join(said if len(said) > 1 else [spaced("".join(said).lower())])
        if natural(whole, 0.75) and len(whole) >= 8:
            yield Piece(start, end, whole, "spaced")


def _sentences(text: str) -> Iterator[Piece]:
    """Find sentences that are English once turned round, rotated or spelled with letters."""
    for sentence in _SENTENCE.finditer(text):
        start, end = sentence.span()
        while end - start >= 8:
            said = text[start:end]
            read = turned(said) if " " in said.strip() and said.isascii() else None
            if read is not None:
                yield Piece(start, end, read[1](said), read[0])
                break
            if end - start <= SAMPLE:
                break
            # Plain words may have been put before what is turned.
            start += said.rfind(" ", 0, SAMPLE) + 1 or SAMPLE


# ------------------------------------------------------------------------------ leet

# A word of letters, and of digits and signs that look like them, with one between two letters.
_MIXED = re2.compile(r"[A-Za-z0134578$@!]*[A-Za-z][0134578$@!]+[A-Za-z][A-Za-z0134578$@!]*")


def _leet(text: str) -> Iterator[Piece]:
    """Find words with a digit for a letter inside; `mp3`, `k8s` and `page5` are none."""
    for start, end in _found(_MIXED, text):
        said = unmixed(text[start:end])
        if len(said) >= 4 and known(said):
            yield Piece(start, end, said, "leet")
