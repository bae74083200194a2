"""What led to a passage, as the monitor reads it: task, rules, results, and orders in results.

Pure, and in time linear in the text. What a step holds is read once, as long as it lives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import re2

from classifiers.types import Source, Step, Trajectory

_GIVES_RULES = frozenset({Source.SYSTEM, Source.DEVELOPER})
_GIVES_ORDERS = _GIVES_RULES | {Source.USER}

# A sentence of a tool's output that speaks to whoever reads it with a will of its own.
_ORDER = re2.compile(
    r"(?i)\b(?:(?:ai|llm|language model)s?[ -]?(?:assistants?|agents?|readers?|models?)?\b"
    r"[^.!?\n]{0,40}(?:must|should|please|have to|need to|are asked|:)|"
    r"(?:assistants?|agents?|attention assistant|note to (?:the )?(?:ai|assistant|agent))\b ?[:,]|"
    r"hello assistant|you must (?:also|first|now)|"
    r"(?:ignore|disregard|forget) (?:all |any |your |the |previous |prior )+|"
    r"(?:system|admin) (?:override|notice|note)|important[:!]|"
    r"do not (?:mention|tell|bother|inform)|"
    r"please (?:forward|send|transfer|e-?mail|run|execute|upload|delete|reply with|visit|call)|"
    r"(?:this is|it is|only valid if)\b[^.!?\n]{0,40}\b(?:security check|you also)|to continue,)"
)
_SENTENCE = re2.compile(r"[^.!?\n<>]+(?:[.!?](?:\S)[^.!?\n<>]*)*")
_MAIL = re2.compile(r"(?i)[\w.+-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_HOST = re2.compile(r"(?i)\b(?:https?://|ftp://|@|ssh )([a-z0-9-]+(?:\.[a-z0-9-]+)+)")
_NUMBER = re2.compile(
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\+?\d[\d ()-]{6,20}\d|"
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3}\b)?"
)
_WORD = re2.compile(r"[a-zA-Z][a-zA-Z0-9]{3,}")
_COMMON = frozenset(
    {"about", "after", "agent", "agents", "also", "assistant", "assistants", "been", "before"}
    | {"could", "does", "first", "from", "have", "here", "important", "into", "just", "more"}
    | {"must", "note", "only", "other", "please", "should", "such", "than", "that", "their"}
    | {"them", "then", "there", "these", "they", "this", "those", "user", "were", "what", "when"}
    | {"which", "will", "with", "would", "your"}
)
_STEM = 6  # letters by which two words are taken for the same

_FORBIDS = re2.compile(r"(?i)\b(?:never|do not|don't|must not|may not|not allowed|forbidden)\b")
_ON_CONDITION = re2.compile(r"(?i)\b(?:without|unless|outside|except|before|until|if)\b")
_NAMED = re2.compile(r"`([A-Za-z0-9_-]{1,64})`")
_DELEGATES = re2.compile(
    r"(?i)\b(?:follow(?:ing)? (?:it|them|this|that|the|what)|as (?:described|its?|the \w+) |"
    r"do what (?:it|the|they)|according to|(?:described|written|listed|asked for) in|"
    r"(?:read|work on|handle|resolve) the (?:ticket|issue)|instructions in)"
)


@dataclass(frozen=True, slots=True)
class Order:
    """An order that a tool's output gives, and what it is about."""

    places: frozenset[str]
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Context:
    """A trajectory, sorted.

    Attributes:
        told: What the user, the operator and the application said, in order.
        results: What tools gave back, in order.
        thoughts: What was thought since the last result, or the last word of the user.
        chars: How many code points all of it has.
    """

    told: tuple[Step, ...] = ()
    results: tuple[Step, ...] = ()
    thoughts: tuple[Step, ...] = ()
    chars: int = 0

    @property
    def asked(self) -> str:
        """What the user said."""
        return "\n".join(step.text for step in self._asking())

    @property
    def rules(self) -> str:
        """What the operator and the application said."""
        return "\n".join(step.text for step in self.told if step.source in _GIVES_RULES)

    @property
    def delegates(self) -> bool:
        """Whether the user wants done what some text says."""
        return _DELEGATES.search(_clean(self.asked)) is not None

    def asked_words(self) -> frozenset[str]:
        """Return the words of the user."""
        return frozenset().union(*(_read(step).words for step in self._asking()))

    def asked_places(self) -> frozenset[str]:
        """Return the addresses that the user named."""
        return frozenset().union(*(_read(step).places for step in self._asking()))

    def trusted_words(self) -> frozenset[str]:
        """Return the words of all who may give orders."""
        return frozenset().union(*(_read(step).words for step in self.told))

    def trusted_places(self) -> frozenset[str]:
        """Return the addresses that somebody named who may give orders."""
        return frozenset().union(*(_read(step).places for step in self.told))

    def named_places(self) -> frozenset[str]:
        """Return the addresses that anybody named, or that a tool gave back."""
        return frozenset().union(*(_read(step).places for step in (*self.told, *self.results)))

    def orders(self) -> list[Order]:
        """Return the orders that tools' outputs give to whoever reads them."""
        return [order for step in self.results for order in _read(step).orders]

    def _asking(self) -> list[Step]:
        return [step for step in self.told if step.source is Source.USER]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a step holds, read once as long as it lives."""

    words: frozenset[str]
    places: frozenset[str]
    orders: tuple[Order, ...]


def context_of(trajectory: Trajectory | None) -> Context:
    """Return what led to a passage."""
    steps = trajectory.steps if trajectory else ()
    thoughts: list[Step] = []
    for step in reversed(steps):
        if step.source in (Source.TOOL, Source.USER):
            break
        if step.source is Source.ANALYSIS:
            thoughts.append(step)
    return Context(
        told=tuple(step for step in steps if step.source in _GIVES_ORDERS),
        results=tuple(step for step in steps if step.source is Source.TOOL),
        thoughts=tuple(reversed(thoughts)),
        chars=sum(len(step.text) for step in steps),
    )


def places(text: str) -> frozenset[str]:
    """Return the addresses in `text`: of mail, hosts and machines, accounts, telephones."""
    text = _clean(text)
    found = {match.group(0).lower() for match in _MAIL.finditer(text)}
    found |= {match.group(1).lower() for match in _HOST.finditer(text)}
    numbers = (re.sub(r"[^0-9A-Za-z.]", "", match.group(0)) for match in _NUMBER.finditer(text))
    return frozenset(found | {number.lower() for number in numbers if len(number) >= 7})


def words(text: str) -> frozenset[str]:
    """Return the words of `text` that say something, shortened to their stems."""
    text = _clean(text)
    found = (match.group(0).lower() for match in _WORD.finditer(text))
    return frozenset(word[:_STEM] for word in found if word not in _COMMON)


_readings: WeakKeyDictionary[Step, _Reading] = WeakKeyDictionary()


def _read(step: Step) -> _Reading:
    known = _readings.get(step)
    if known is None:
        text = _clean(step.text)
        gives = step.source is Source.TOOL and _ORDER.search(text) is not None
        found = tuple(_read_orders(text)) if gives else ()
        known = _readings[step] = _Reading(words(text), places(text), found)
    return known


def _read_orders(text: str) -> list[Order]:
    """Each order, with the sentence after it: what is wanted often stands in the next one."""
    sentences = [match.group(0) for match in _SENTENCE.finditer(text)]
    found = []
    for index, sentence in enumerate(sentences):
        if _ORDER.search(sentence):
            whole = " ".join(sentences[index : index + 2])
            found.append(Order(places(whole), words(whole)))
    return found


def forbidden_tools(rules: str) -> dict[str, bool]:
    """Return the tools that the rules forbid by name, and whether on a condition."""
    text = _clean(rules)
    found: dict[str, bool] = {}
    for match in _SENTENCE.finditer(text):
        sentence = match.group(0)
        if _FORBIDS.search(sentence):
            conditional = _ON_CONDITION.search(sentence) is not None
            found |= {name.group(1): conditional for name in _NAMED.finditer(sentence)}
    return found


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
