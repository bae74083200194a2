"""What the pattern classifier takes for texts made to cost it time, seconds a million characters.

    python -m benchmarks.hostile [--length 100000] [--only base64]

Prints the processor time for each text, as it is and as a multiple of prose of the same
length, then the same for twice the length: what grows faster than the text shows there.
Processor time, because it does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import codecs
import random
from collections.abc import Mapping
from time import process_time

from benchmarks.personal_data import CODE, LETTER, PROSE
from classifiers.patterns import Patterns
from classifiers.types import Passage, Source

MILLION = 1_000_000
ASK = "how do I build a small garden house without any help from my family"

# A text repeats its unit.
UNITS: Mapping[str, str] = {
    "prose": PROSE,
    "letter": LETTER,
    "code": CODE,
    "base64, one run": base64.b64encode(ASK.encode() * 3).decode(),
    "base64, short runs": base64.b64encode(b"x0x1x2x3x4x5").decode() + " ",
    "base64, in base64": base64.b64encode(base64.b64encode(ASK.encode())).decode() + " ",
    "base64, short sentences": base64.b64encode(b"ab cd ef gh.").decode() + " ",
    "base64, a sentence nobody knows": base64.b64encode(b"qzx vkj wqz xkv. " * 24).decode() + " ",
    "base64, lines": (base64.b64encode(ASK.encode() * 3).decode()[:72] + "\n"),
    "base64, equals signs": "QUJDREVGR0hJSktM==",
    "equals signs": "=",
    "hex, short runs": b"ab cd ef gh.".hex() + " ",
    "hex, in base64": base64.b64encode(ASK.encode().hex().encode()).decode() + " ",
    "hex, in hex": ASK.encode().hex().encode().hex() + " ",
    "hex, byte by byte": b"qzx vkj wqz xkv.".hex(" ") + "; ",
    "binary": "".join(f"{byte:08b}" for byte in b"ab cd ef") + " ",
    "ones": "1",
    "morse": ".- -... / -.-. -.. ",
    "morse, no words": "-.-. --- ",
    "percent, one each": "%41 ",
    "percent, runs": "%41%42%43%44 ",
    "percent, one run": "%41",
    "percent signs": "%",
    "entities": "&#65;",
    "entities, one each": "&#65; ",
    "ampersands": "&#",
    "escapes": "\\u0041",
    "escapes, one each": "\\u0041 ",
    "rotated": codecs.encode(ASK, "rot13") + ". ",
    "sentences nobody knows, short": "qzx vkj.",
    "sentences nobody knows": "qzx vkj wqz xkv. ",
    "sentences nobody knows, long": "qzx vkj ",
    "words of one letter": "b c d f. ",
    "words with endings": "xqings zvings kqings. ",
    "reversed": ASK[::-1] + ". ",
    "leet, words": "h0w d0 1 bu1ld ",
    "leet, one word": "a0",
    "leet, ones": "a1b1 ",
    "leet, sentences": "x0qz v1kj w3qz. ",
    "spaced": " ".join(ASK.replace(" ", "")) + ", ",
    "spaced, one run": "a ",
    "spaced, word prefixes": " ".join("internationalization") + " ",
    "spaced, words apart": "a  ",
    "combining marks": "\u0301",
    "a letter and marks": "a\u0301\u0302\u0303",
    "zero width": "\u200b",
    "zero width, in words": "b\u200bo\u200bm\u200bb ",
    "mixed scripts": "b\u043emb \u03b1\u0431\u0436\u4e2d ",
    "long ligatures": "\ufdfa",
    "squared words": "\u3300\u33c2",
    "Hangul and ideographs": "\uac00\u4e2d",
    "mathematical letters": "\U0001d41a\U0001d41b ",
    "bidi controls": "\u202ea\u202c\u2066b\u2069",
    "tags": "\U000e0061\U000e0062",
    "lone surrogates": "\ud800",
    "lone surrogates, in words": "a\ud800b ",
    "base64 beside an accent": "\u00e9 " + base64.b64encode(b"x0x1x2x3x4x5").decode() + " ",
    "percent beside an accent": "\u00e9%41 ",
}


def texts(length: int) -> dict[str, str]:
    """Return one text of each kind, `length` characters long."""
    rng = random.Random(0)  # noqa: S311 - reproducible, not secret
    kinds = {kind: _repeated(unit, length) for kind, unit in UNITS.items()}
    kinds["base64, of noise"] = base64.b64encode(rng.randbytes(length)).decode()[:length]
    kinds["digits"] = "".join(rng.choice("0123456789") for _ in range(length))
    kinds["digits in groups"] = "".join(rng.choice("0123456789 -") for _ in range(length))
    letters = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz    .") for _ in range(length))
    kinds["letters at random"] = letters
    return kinds


def examples(patterns: Patterns, length: int) -> dict[str, str]:
    """Return what each pattern looks for, and what it nearly takes for it, over and over."""
    return {
        f"pattern {pattern.id}, {what}": _repeated(" ".join(said) + " ", length)
        for pattern in patterns.patterns
        for what, said in (("found", pattern.matches), ("missed", pattern.misses))
        if said
    }


def _repeated(unit: str, length: int) -> str:
    return (unit * (length // len(unit) + 1))[:length]


async def spent(patterns: Patterns, text: str) -> float:
    """Return the seconds of processor time for a million characters like `text`."""
    started = process_time()
    await patterns.classify([Passage(Source.USER, text)])
    return (process_time() - started) * MILLION / len(text)


async def measure(length: int, only: str) -> None:
    """Print every figure, the dearest first."""
    patterns = Patterns()
    await spent(patterns, " ".join(UNITS.values()))  # loads what is loaded once
    prose = await spent(patterns, texts(length)["prose"])
    twice = {**texts(2 * length), **examples(patterns, 2 * length)}
    rows = []
    for kind, text in {**texts(length), **examples(patterns, length)}.items():
        if only in kind:
            once, again = await spent(patterns, text), await spent(patterns, twice[kind])
            rows.append((once, again, kind))
    print(f"seconds of processor time for {MILLION} characters, measured on {length}")
    for once, again, kind in sorted(rows, reverse=True):
        print(f"{kind:56s}{once:8.2f} s {once / prose:7.0f} x prose; twice as long {again:8.2f} s")


def main() -> None:
    """Measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--length", type=int, default=100_000, help="characters of each text")
    parser.add_argument("--only", default="", help="a part of the names of the texts to measure")
    asked = parser.parse_args()
    asyncio.run(measure(asked.length, asked.only))


if __name__ == "__main__":
    main()
