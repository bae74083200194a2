"""The plainest harms, injections, secrets and personal data, found by pattern.

Patterns live in `patterns.toml`, with examples of what each must and must not match.
They are precise rather than complete: what they find is almost surely there, and what
they miss is for the classifiers beside them. All run on RE2, in time linear in the text,
whatever the text is.

A pass over a text has two steps. One `re2.Set` of short hints says which patterns could
match at all, for ordinary text none; only those are then run to find out where.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import re2

from classifiers.checksums import CHECKS, DEAR
from classifiers.decode import Decoded, decoded
from classifiers.normalize import Form, forms
from classifiers.types import TOO_LONG, Passage, Source, Span, Verdict

PATTERNS = Path(__file__).with_name("patterns.toml")

# Of the text before a passage (or a window) this much is read again, code points. Every
# pattern that reaches over a gap is bounded well below it.
OVERLAP = 256
# What stands before a match is looked at this far, code points.
LEAD = 48
# And what follows it this far.
AFTER = 256
# A long text is read in windows, so that other requests get a turn in between.
WINDOW = 16 * 1024
# Beyond this nothing is read, and the answer says so. Code points in one passage.
LIMIT = 4 * 1024 * 1024

# A category found more often than this in one passage is found everywhere: its verdict has
# no spans, which says just that, and its patterns are not looked for any further.
MAX_SPANS = 1000

# When a dear check has failed more often than this in one passage, its pattern is not looked
# for any further, and the answer says that the category was not read to the end.
MAX_FAILED = 1000

# By category: the score, and the spans as a set that keeps its order.
_Found = dict[str, tuple[float, dict[Span, None]]]
_WORD = re.compile(r"\{([a-z_]+)\}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class _Finds:
    """What was found in one passage, and by pattern how often its dear check has failed."""

    found: _Found = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One thing to look for.

    Attributes:
        id: Unique name.
        kind: What a span of it is called, for redaction.
        categories: Where a match counts.
        score: How sure a match is, in (0, 1].
        expression: The compiled expression. Where it has a group called `value`, that is
            what was found; the rest is context.
        hint: An expression that matches wherever `expression` does, and is cheap.
        sources: Whose passages are read for it.
        unless_after: If this follows a match, it is not one ("bomb" + " calorimeter").
        unless_before: Nor if the text before it, up to `LEAD` code points, ends in this.
        check: A test of the matched text, such as a check digit.
        dear: Whether that test takes long.
        matches: Examples that must match.
        misses: Near misses that must not.
    """

    id: str
    kind: str
    categories: tuple[str, ...]
    score: float
    expression: Any  # re2 ships no types
    hint: str
    sources: frozenset[Source] = frozenset(Source)
    unless_after: Any | None = None
    unless_before: Any | None = None
    check: Callable[[str], bool] | None = None
    dear: bool = False
    matches: tuple[str, ...] = ()
    misses: tuple[str, ...] = ()

    def spans(
        self, text: str, read: int, failed: Counter[str] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Find where it matches.

        Args:
            text: Text without lone surrogates, the part already judged first.
            read: How much of it was already judged; a match within it is left out.
            failed: By pattern, how often its dear check has failed; counted on here.

        Yields:
            Start and end in `text`, code points.
        """
        group = self.expression.groupindex.get("value", 0)
        for match in self.expression.finditer(text):
            start, end = match.span(group)
            if end <= read:
                continue
            if self.check is not None and not self.check(text[start:end]):
                if self.dear and failed is not None and self._given_up(failed):
                    return
                continue
            if self.unless_after is not None and _follows(self.unless_after, text, end):
                continue
            lead = text[max(0, start - LEAD) : start]
            if self.unless_before is not None and self.unless_before.search(lead) is not None:
                continue
            yield start, end

    def _given_up(self, failed: Counter[str]) -> bool:
        failed[self.id] += 1
        return failed[self.id] > MAX_FAILED


class Patterns:
    """The pattern classifier.

    Attributes:
        name: `patterns@1`; of a file of one's own, its name and the start of its digest.
        digest: SHA-256 of the pattern file, hex.
        categories: Every category some pattern counts in.
        patterns: All patterns, in file order.
    """

    def __init__(self, source: bytes | None = None, name: str | None = None):
        """Compile the patterns.

        Args:
            source: The content of a pattern file; None means the one we ship.
            name: What to call it, without version; None means `patterns@1`.

        Raises:
            ValueError: If the file is not well formed or an expression does not compile.
        """
        content = PATTERNS.read_bytes() if source is None else source
        self.digest = hashlib.sha256(content).hexdigest()
        self.name = f"{name}@{self.digest[:8]}" if name else "patterns@1"
        self.patterns = _read(content)
        self.categories = frozenset(
            category for pattern in self.patterns for category in pattern.categories
        )
        self._hints = _Hints(self.patterns)

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage; `Classifier.classify` has the contract.

        Waits for nothing unless a text is longer than one window.
        """
        return [await self._passage(passage) for passage in passages]

    def matches(self, source: Source, text: str, read: int) -> Iterator[tuple[Pattern, int, int]]:
        """Find every pattern in a text that is at most a window long.

        Args:
            source: Who wrote it.
            text: What is read, the part already judged first.
            read: How much of it was already judged; a match within it is left out.

        Yields:
            The pattern, and start and end in `text`, code points.
        """
        for form in _readings(text):
            for pattern in self._hints.candidates(form.text):
                if source in pattern.sources:
                    for first, last in islice(
                        pattern.spans(form.text, form.position(read)), MAX_SPANS
                    ):
                        yield pattern, *form.original(first, last)

    async def _passage(self, passage: Passage) -> list[Verdict]:
        finds = _Finds()
        text = passage.text[:LIMIT]
        for start in range(0, len(text), WINDOW):
            if start:
                await asyncio.sleep(0)
            before = _tail(passage.before if start == 0 else text[:start])
            window = text[start : start + WINDOW]
            self._window(passage.source, before, window, start, finds)
        verdicts = [
            Verdict(self.name, category, score, tuple(spans) if len(spans) < MAX_SPANS else ())
            for category, (score, spans) in finds.found.items()
        ]
        unread = self.categories if len(passage.text) > LIMIT else self._given_up(finds.failed)
        return verdicts + [
            Verdict(self.name, category, None, error=TOO_LONG) for category in sorted(unread)
        ]

    def _given_up(self, failed: Counter[str]) -> frozenset[str]:
        """Return the categories of the patterns that were not looked for to the end."""
        if not failed:
            return frozenset()
        given_up = (pattern for pattern in self.patterns if failed[pattern.id] > MAX_FAILED)
        return frozenset(category for pattern in given_up for category in pattern.categories)

    def _window(self, source: Source, before: str, text: str, start: int, finds: _Finds) -> None:
        """Add what is in `text` to `finds`."""
        found, read = finds.found, len(before)
        for form in _readings(before + text):
            for pattern in self._hints.candidates(form.text):
                if source not in pattern.sources:
                    continue
                room = MAX_SPANS - min(_count(found, each) for each in pattern.categories)
                places = pattern.spans(form.text, form.position(read), finds.failed)
                for first, last in islice(places, room):
                    origin, end = form.original(first, last)
                    span = Span(origin - read + start, end - read + start, pattern.kind)
                    _add(found, pattern, span)


def _follows(expression: Any, text: str, end: int) -> bool:  # noqa: ANN401 - re2 ships no types
    # A stretch of the text, because RE2 copies what it is given: once for each match.
    return expression.match(text[end - 1 : end + AFTER], 1) is not None


def read_patterns(path: Path) -> Patterns:
    """Read a pattern file of one's own; it is called as the file is, without its ending.

    Raises:
        ValueError: If it cannot be read or is not well formed; names the file.
    """
    if _NAME.fullmatch(path.stem) is None:
        raise ValueError(f"{path.name}: the name must be of lower-case letters, digits and hyphens")
    try:
        return Patterns(path.read_bytes(), path.stem)
    except OSError as error:
        raise ValueError(f"{path.name}: cannot read the patterns: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


class _Hints:
    """One scan that says which patterns could match.

    INVARIANT: the first expression of the set is empty and matches every text. RE2 answers
    "nothing matched" when it runs out of memory; without that match we would believe it.
    """

    def __init__(self, patterns: tuple[Pattern, ...]):
        self._all = patterns
        self._by_hint: list[list[Pattern]] = [[]]
        options = re2.Options()
        options.max_mem = 64 << 20
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        self._set.Add("")
        numbers: dict[str, int] = {}
        for pattern in patterns:
            if pattern.hint not in numbers:
                numbers[pattern.hint] = self._set.Add(pattern.hint)
                self._by_hint.append([])
            self._by_hint[numbers[pattern.hint]].append(pattern)
        self._set.Compile()

    def candidates(self, text: str) -> Sequence[Pattern]:
        hits = self._set.Match(text)
        if len(hits) == 1:
            return ()
        if not hits:
            return self._all
        return [pattern for number in hits for pattern in self._by_hint[number]]


def _readings(text: str) -> Iterator[Form | Decoded]:
    """Yield the ways to read `text`: as it stands, unmasked, and with its encodings undone."""
    as_it_stands, *unmasked = forms(text)
    yield as_it_stands
    yield from unmasked
    undone = decoded(as_it_stands.text, plain=True)
    if undone.encoding is not None:
        yield undone


def _tail(before: str) -> str:
    """Return the last words of `before`, `OVERLAP` code points at most."""
    if len(before) <= OVERLAP:
        return before
    tail = before[-OVERLAP:]
    # Cut at a space, or half a word would look like a whole one.
    return tail[tail.find(" ") + 1 :]


def _count(found: _Found, category: str) -> int:
    return len(found[category][1]) if category in found else 0


def _add(found: _Found, pattern: Pattern, span: Span) -> None:
    for category in pattern.categories:
        score, spans = found.get(category, (0.0, {}))
        spans[span] = None
        found[category] = max(score, pattern.score), spans


def _read(content: bytes) -> tuple[Pattern, ...]:
    try:
        document = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"the pattern file is not TOML: {error}") from error
    words: dict[str, str] = {}
    for name, expression in document.get("words", {}).items():
        words[name] = spelled_out(expression, words, name)
    patterns = tuple(_pattern(entry, words) for entry in document.get("pattern", []))
    ids = [pattern.id for pattern in patterns]
    for pattern_id in ids:
        if ids.count(pattern_id) > 1:
            raise ValueError(f"two patterns are called `{pattern_id}`")
    return patterns


def _pattern(entry: Mapping[str, Any], words: Mapping[str, str]) -> Pattern:
    name = str(entry.get("id"))
    if unknown := entry.keys() - _NEEDED - _OPTIONAL:
        raise ValueError(f"pattern `{name}` has an unknown key `{min(unknown)}`")
    if missing := _NEEDED - entry.keys():
        raise ValueError(f"pattern `{name}`: `{min(missing)}` is missing")
    if not 0 < entry["score"] <= 1:
        raise ValueError(f"pattern `{name}` has a score outside (0, 1]")
    case = "" if entry.get("case_sensitive", False) else "(?i)"
    after, before = entry.get("unless_after"), entry.get("unless_before")
    check = entry.get("check")
    if check is not None and check not in CHECKS:
        raise ValueError(f"pattern `{name}` asks for an unknown check `{check}`")
    return Pattern(
        id=name,
        kind=str(entry.get("kind", name)),
        categories=tuple(entry["categories"]),
        score=float(entry["score"]),
        expression=compiled(case + spelled_out(entry["expression"], words, name)),
        hint=case + spelled_out(entry["hint"], words, name),
        sources=frozenset(Source(source) for source in entry.get("sources", Source)),
        unless_after=compiled(case + spelled_out(after, words, name)) if after else None,
        unless_before=compiled(f"{case}(?:{spelled_out(before, words, name)})$")
        if before
        else None,
        check=CHECKS[check] if check else None,
        dear=check in DEAR,
        matches=tuple(entry["matches"]),
        misses=tuple(entry["misses"]),
    )


_NEEDED = {"id", "categories", "score", "hint", "expression", "matches", "misses"}
_OPTIONAL = {"kind", "case_sensitive", "sources", "unless_after", "unless_before", "check"}


def spelled_out(expression: str, words: Mapping[str, str], where: str) -> str:
    """Write out the short forms of the pattern file, which its head explains."""

    def word(match: re.Match[str]) -> str:
        if match[1] not in words:
            raise ValueError(f"`{where}` uses an unknown word list `{match[1]}`")
        return words[match[1]]

    one_line = "".join(line.strip() for line in expression.splitlines())
    return _WORD.sub(word, one_line.replace(" ", r"(?:[\s_-]+)").replace("'", "['\u2019]?"))


@cache
def compiled(expression: str) -> Any:  # noqa: ANN401 - re2 ships no types
    """Return an expression compiled. Raises `ValueError` if it is none."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        raise ValueError(f"expression does not compile: {error}") from error
