"""Undoes what hides a text from a pattern but not from a reader, or a model.

Invisible characters are dropped, letters that look like Latin ones become Latin, accents
and stacked marks go, and text smuggled in tag characters is read as what it says. Every
character remembers where it came from, so that what is found can be hidden in the original.

Encodings (base64, rot13, leet) are not undone here: telling them from ordinary text takes
more than a table.
"""

# ruff: noqa: RUF001, RUF003 - letters that look like others are what this is about

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from anyascii import anyascii


@dataclass(frozen=True, slots=True)
class Form:
    """A text as it may be read.

    Attributes:
        text: Never holds a lone surrogate.
        origins: For each code point of `text` the index of the one it came from, in
            ascending order; None if nothing moved.
    """

    text: str
    origins: Sequence[int] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the original text that [start, end), not empty, came from."""
        if self.origins is None:
            return start, end
        return self.origins[start], self.origins[end - 1] + 1

    def position(self, index: int) -> int:
        """Return how many code points of this form come from before `index`."""
        return index if self.origins is None else bisect_left(self.origins, index)


def forms(text: str) -> tuple[Form, ...]:
    """Return the ways to read `text`: as it stands, and unmasked where that differs.

    Time is linear in the length, whatever the text.
    """
    read = [Form(_without_surrogates(text))]
    plainest = read[0]
    if not text.isascii():
        unmasked = _unmasked(text)
        if unmasked.text != text:
            read.append(unmasked)
            plainest = unmasked
        if _TAGGED.search(text):
            read.append(_hidden(text))
    if _BREAKS.search(plainest.text):
        read.append(_in_lines(plainest))
    return tuple(read)


def in_lines(text: str) -> str:
    r"""Return `text` with the escapes of line breaks in it, `\n`, as spaces.

    In JSON within text they stick to the next word, which nobody then knows.
    """
    return _BREAKS.sub(" ", text)


def _in_lines(form: Form) -> Form:
    parts: list[str] = []
    origins: list[int] = []
    before = form.origins if form.origins is not None else range(len(form.text))
    done = 0
    for run in _BREAKS.finditer(form.text):
        parts += [form.text[done : run.start()], " "]
        origins += [*before[done : run.start()], before[run.start()]]
        done = run.end()
    parts.append(form.text[done:])
    origins += before[done:]
    return Form("".join(parts), origins)


def normalize(text: str) -> str:
    """Return `text` unmasked."""
    return text if text.isascii() else _unmasked(text).text


def _unmasked(text: str) -> Form:
    pieces: list[str] = []
    origins: list[int] = []
    done = 0
    for mask in _MASKS.finditer(text):
        pieces.append(text[done : mask.start()])
        origins.extend(range(done, mask.start()))
        for index in range(*mask.span()):
            piece = _unmask(text[index])
            pieces.append(piece)
            origins.extend([index] * len(piece))
        done = mask.end()
    pieces.append(text[done:])
    origins.extend(range(done, len(text)))
    return Form("".join(pieces), origins)


@lru_cache(maxsize=32_768)  # more than `_MASKS` has characters
def _unmask(character: str) -> str:
    """Return what one character looks like in ASCII, or itself if it looks like nothing there."""
    if _invisible(character):
        return ""
    if character in _LOOKS_LIKE:
        return _LOOKS_LIKE[character]
    plain = "".join(
        _LOOKS_LIKE.get(part, part)
        for part in unicodedata.normalize("NFKD", character)
        if not unicodedata.combining(part) and not _invisible(part)
    )
    if plain.isascii():
        return plain
    spelled = anyascii(plain) if _drawn_as_latin(plain) else plain
    return spelled if len(spelled) == 1 else plain


def _drawn_as_latin(character: str) -> bool:
    """Return whether `anyascii` goes by looks here; elsewhere it goes by sound."""
    name = unicodedata.name(character, "") if len(character) == 1 else ""
    drawn = ("SQUARED", "NEGATIVE", "REGIONAL INDICATOR", "CIRCLED")
    return "LATIN" in name or name.startswith(drawn) or character.isdigit()


def _invisible(character: str) -> bool:
    """Return whether nothing is drawn: zero width, bidi, tags, stacked marks, surrogates."""
    return unicodedata.category(character) in ("Cf", "Mn", "Me", "Cs") or character in _FILLERS


def _hidden(text: str) -> Form:
    """Return what the tag characters in `text` say, each at its own place."""
    tags = [(match[0], match.start()) for match in _TAGGED.finditer(text)]
    letters = "".join(chr(ord(tag) - 0xE0000) for tag, _ in tags)
    return Form(letters, [place for _, place in tags])


def _without_surrogates(text: str) -> str:
    """Return `text` with lone surrogates replaced one for one; UTF-8 cannot say them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


_BREAKS = re.compile(r"(?:\\+[nrt])+(?=\w)")

# Whatever could be a mask. The rest (ideographs, syllables, private use, ancient scripts)
# looks like no Latin letter and is left alone at no cost.
_MASKS = re.compile(
    "[\u0080-\u33ff\ua000-\uabff\ud800-\udfff\uf900-\uffff\U00013430-\U0001345f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U0001d400-\U0001d7ff"
    "\U0001f100-\U0001f1ff\U000e0000-\U000e0fff]+"
)
_TAGGED = re.compile("[\U000e0020-\U000e007e]")

# Drawn as nothing though they count as letters.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u180e")

# Letters of other scripts that look like a Latin one, from Unicode's confusables.txt
# (UTS 39), kept to those that are used to hide words. Sounds do not count: Cyrillic `р`
# is an `r` to a reader of Russian, and a `p` here.
_LOOKS_LIKE = {
    **dict(zip("аеорсухіјѕһԁԛԝӏвкмнтгбзьпиґ", "aeopcyxijshdqwlbkmhtr63bnur", strict=True)),
    **dict(zip("АВЕЅЗІЈКМНОРСТУХҮԌԜЬ", "ABES3IJKMHOPCTYXYGWb", strict=True)),
    **dict(zip("αβγεηικνορτυχωϲϳ", "abyenikvoptuxwcj", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
    **dict(zip("աոսօցհյզԼՕՍ", "wnuoghjqLOU", strict=True)),  # Armenian
    **dict(zip("ɑɡɩʟᴏꞵƅ", "agilobb", strict=True)),  # Latin, but not the alphabet's
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    **dict.fromkeys("\u2018\u2019\u201b\u02bc\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201f\u2033", '"'),
}
