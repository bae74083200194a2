"""Puts the training set together: public and authored, clean of the held-out tests.

Texts are varied a little (typing slips, missing punctuation, a greeting before the
point), so that what is learned is not how a source happens to be written.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

from classifiers.training.example import Example, Kind
from classifiers.training.grammar import authored
from classifiers.training.heldout import HeldOut
from classifiers.training.sources import public

MOST_PUBLIC = 2_000  # examples of one public set
MOST_AUTHORED = 260  # of one authored group
MOST_OF_TOPIC = 4_000  # of the authored groups whose names begin alike
LONGEST = 6_000  # code points of one example that are looked at

_OPENINGS = (
    "Hi, ", "hey ", "Hello! ", "Please help: ", "Quick question. ", "I have a question: ",
    "Hi there, hope you are well. ", "so ", "ok so ", "Thanks for your help earlier. ",
    "You are a helpful assistant. ", "Answer briefly. ", "I need some advice. ", "User: ",
)  # fmt: skip
_ENDINGS = (
    " Thanks!", " please", " Thank you in advance.", " thx", " Explain step by step.",
    " Keep it short.", " I am curious.", " What do you think?", " Any ideas?", "\n\nAssistant:",
)  # fmt: skip


def corpus(folder: Path, held_out: Path, seed: int) -> list[Example]:
    """Return the training set, shuffled; the same for the same seed and files.

    Args:
        folder: Where the public sets lie.
        held_out: The digests of the held-out tests' runs of five words.
        seed: Of every draw.

    Raises:
        OSError: If a file is missing.
        GrammarError: If an authored file cannot be drawn from.
    """
    rng = random.Random(f"{seed}/corpus")  # noqa: S311 - reproducible, not secret
    clean = HeldOut.read(held_out).without([*public(folder, seed), *authored(seed)])
    distinct = _once(clean)
    rng.shuffle(distinct)
    return [_varied(_cut(example, rng), rng) for example in _capped(distinct)]


def set_aside(example: Example) -> bool:
    """Return whether an example calibrates scores rather than teaches: one in twenty-five.

    It goes by the text, so that a run with other data sets the same ones aside.
    """
    return crc32(example.text.encode("utf-8", "replace")) % 25 == 0


def sampled(examples: Iterable[Example], share: float, whole: Collection[str]) -> list[Example]:
    """Keep all of the sources and topics in `whole`, `share` of the rest.

    It goes by the text, like `set_aside`, and independently of it.
    """
    return [
        example
        for example in examples
        if example.source.partition(".")[0] in whole
        or crc32(b"sampled" + example.text.encode("utf-8", "replace")) % 1000 < 1000 * share
    ]


def _once(examples: Iterable[Example]) -> list[Example]:
    """Keep the first of each text: twice the same text would count twice."""
    seen: dict[tuple[str, str], Example] = {}
    for example in examples:
        seen.setdefault((example.prompt.strip().lower(), example.text.strip().lower()), example)
    return list(seen.values())


def _capped(examples: Iterable[Example]) -> list[Example]:
    """Keep the first so many of each source: templates and large sets repeat themselves."""
    kept: Counter[str] = Counter()
    found: list[Example] = []
    for example in examples:
        topic, _, group = example.source.partition(".")
        limits = {example.source: MOST_PUBLIC}
        if group:
            limits = {example.source: MOST_AUTHORED, topic: MOST_OF_TOPIC}
        if all(kept[name] < most for name, most in limits.items()):
            kept.update(limits.keys())
            found.append(example)
    return found


def _cut(example: Example, rng: random.Random) -> Example:
    """Keep a stretch of a long text; what harms is in most of it, or it would not be labelled."""
    spare = len(example.text) - LONGEST
    if spare <= 0:
        return example
    start = rng.choice((0, rng.randrange(spare)))
    return replace(example, text=example.text[start : start + LONGEST])


def _varied(example: Example, rng: random.Random) -> Example:
    text = example.text
    if rng.random() < 0.06:
        text = re.sub(r"[^\w\s]", "", text)
    if rng.random() < 0.08:
        text = _slipped(text, rng)
    if example.kind is Kind.PROMPT and len(text) < 400:
        if rng.random() < 0.08:
            text = rng.choice(_OPENINGS) + text
        if rng.random() < 0.08:
            text += rng.choice(_ENDINGS)
    return replace(example, text=text)


def _slipped(text: str, rng: random.Random) -> str:
    """Swap or drop a letter in about every twentieth word."""
    words = text.split(" ")
    for index, word in enumerate(words):
        if len(word) > 3 and rng.random() < 0.05:
            place = rng.randrange(1, len(word) - 1)
            swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
            words[index] = rng.choice((swapped, word[:place] + word[place + 1 :]))
    return " ".join(words)


def weights(examples: Sequence[Example]) -> list[float]:
    """Return how much each example counts: large sources less, so that none sets the tone.

    What was written by hand comes in small groups, what was drawn from templates in large
    ones, and a template says little new each time.
    """
    sizes = Counter(example.source for example in examples)
    raw = [(60 / max(60, sizes[example.source])) ** 0.4 for example in examples]
    mean = sum(raw) / len(raw)
    return [weight / mean for weight in raw]
