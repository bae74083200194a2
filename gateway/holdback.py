"""Regroups a model's deltas into passages that can be judged. Pure: no I/O, no clock.

A passage ends where a sentence or a word ends, so that a name, a key or a number is
never cut in two; each carries the text before it, so that a phrase split between two
passages, or between two messages that the same reader will see one after the other, is
still seen whole. The first passage of a message is short, for the sake of
the first visible word, and each next one is twice as long, for the sake of throughput.

    INVARIANT: joined in order, the passages are exactly the deltas, message by message.
    INVARIANT: a passage never spans two messages, so a thought is judged before the
    reply that follows it starts.
    INVARIANT: a tool call is one passage, whole.
    INVARIANT: at most `budget` code points have been let ahead of their judgement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Protocol, TypeAlias

import re2

from model_runner.probes.reply import highest
from model_runner.types import Channel, Delta

FIRST_CHARS = 80  # shortest first passage of a streamed message, unless the message ends
LARGEST_CHARS = 320  # its passages stop doubling here: about a second of speech
UNARY_CHARS = 1280  # passages of a reply that nobody reads before it is whole
LONGEST_WORD = 4096  # a run without a place to cut is cut here; longer than any token
LONGEST_BLOCK = 16_384  # and a private key here
OVERLAP_CHARS = 256  # how much of the earlier text a passage carries in `before`
MESSAGE_GAP = "\n\n"  # stands between two messages where they are read as one text

# What would have been redacted whole must not have left by half. The end of a cut is that of
# the group. The last class: the CJK full stop, exclamation and question marks. A line that
# ends in `<` is the first of a passport's two.
_SENTENCE_END = re2.compile(
    r"(?s)(.*(?:[.!?:;…][\"')\]]*\s|(?:^|[^<\r]|[^<]\r)\n|[\x{3002}\x{FF01}\x{FF1F}]))"
)
# Not behind a word with a digit in it, a bracket or a capital at its end, nor before a digit:
# numbers and account codes are written in groups, and dates in words. Not between two words
# with capitals either: they may be a name. So what comes next has to be known.
_WORD_END = re2.compile(
    r"(?s)(.*(?:^|\s)(?:[^\p{Lu}\d)\s]|[^\p{Lu}\d\s][^\d\s]*[^\p{Lu}\d)\s])\s+)[^\d(+\s]"
)
_NAME_END = re2.compile(r"(?s)(.*(?:^|\s)\p{Lu}[^\d\s]*[^\p{Lu}\d)\s]\s+)[^\d(+\s\p{Lu}]")
# Where a run without spaces is cut, such as JSON: no token holds one of these.
_JOINT = re2.compile(r"(?s)(.*[,;\"'<>{}\[\]()|&])")
_SPACE = re2.compile(r"(?s)(.*\s)")

# A key of many lines is judged as one: from its first line up to its last.
_BLOCK = re2.compile(r"-----BEGIN[A-Z ]{0,30}PRIVATE KEY|PuTTY-User-Key-File-")
_BLOCK_END = re2.compile(r"-----END[A-Z ]{0,30}PRIVATE KEY[A-Z ]{0,10}-----|Private-MAC")

Probed: TypeAlias = Mapping[str, float] | None


class _Pattern(Protocol):
    """What is used of a compiled RE2 pattern, which has no types of its own."""

    def match(self, text: str) -> _Match | None: ...


class _Match(Protocol):
    def end(self, group: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Held:
    """A passage that is whole enough to be judged.

    Attributes:
        delta: The text and where it was said.
        before: Up to `OVERLAP_CHARS` of what its reader sees directly before it: the same
            message, and earlier ones of its kind (thoughts, or words to the end user),
            each followed by `MESSAGE_GAP`. A tool call has none: it is read by itself.
        ahead: How many leading code points of it were already let out unjudged.
    """

    delta: Delta
    before: str
    ahead: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """Text that may go out before it is judged, within the leak budget."""

    delta: Delta


class Holdback:
    """Buffers one reply. Call `push` for every delta, then `flush` once.

    Args:
        budget: How many code points of the final channel may be out but not yet
            judged; the policy's `max_unscreened_chars`. 0 lets nothing out early.
        stream: Whether somebody reads the reply while it is spoken.
    """

    def __init__(self, budget: int = 0, *, stream: bool = True):
        self._budget = budget
        self._first_chars = FIRST_CHARS if stream else UNARY_CHARS
        self._largest_chars = LARGEST_CHARS if stream else UNARY_CHARS
        self._open: Delta | None = None  # the message being spoken: channel, number, tool
        self._text = ""  # not yet judged
        self._probed: list[tuple[int, Probed]] = []  # of it: up to where, and what was read there
        self._before = ""
        self._unsaid = True  # whether nothing of the open message was taken yet
        self._said: dict[bool, str] = {}  # the end of all thoughts (True), of all words (False)
        self._target = self._first_chars
        self._ahead = 0

    def push(self, delta: Delta) -> list[Held | Ahead]:
        """Take one delta; return what can be judged, or go ahead, because of it."""
        ready: list[Held | Ahead] = []
        if self._open is None or delta.message != self._open.message:
            ready.extend(self.flush())
            self._begin(delta)
        else:
            self._text += delta.text
        self._probed.append((len(self._text), delta.probed))
        if delta.tool is None and (cut := self._cut()):
            ready.append(self._take(cut))
        if self._budget and delta.channel is Channel.FINAL:
            ready.extend(self._let_ahead())
        return ready

    def flush(self) -> list[Held | Ahead]:
        """Return what is left of the open message; an empty message is one empty passage."""
        last: list[Held | Ahead] = []
        if self._open is None:
            return last
        if self._text or self._unsaid:
            last.append(self._take(len(self._text)))
        if self._open.tool is None:
            self._said[self._open.channel is Channel.ANALYSIS] = self._before + MESSAGE_GAP
        self._open = None
        return last

    def _begin(self, delta: Delta) -> None:
        earlier = self._said.get(delta.channel is Channel.ANALYSIS, "")
        self._before = earlier[-OVERLAP_CHARS:] if delta.tool is None else ""
        self._open, self._text, self._unsaid = delta, delta.text, True
        self._probed = []
        self._target = self._first_chars

    def _take(self, cut: int) -> Held:
        assert self._open is not None  # noqa: S101 - callers hold text of an open message
        said = replace(self._open, text=self._text[:cut], probed=self._probed_until(cut))
        held = Held(said, self._before, min(self._ahead, cut))
        self._before = (self._before + said.text)[-OVERLAP_CHARS:]
        self._text, self._unsaid = self._text[cut:], False
        self._ahead -= held.ahead
        self._target = min(2 * self._target, self._largest_chars)
        return held

    def _probed_until(self, cut: int) -> Probed:
        """Return what was read while the text up to `cut` was said, and forget it.

        What was read of a piece that is cut in two counts for both parts.
        """
        whole = cut == len(self._text)
        stretches = list(self._stretches())
        read = [probed for begin, _, probed in stretches if whole or begin < cut]
        self._probed = [
            (end - cut, probed) for begin, end, probed in stretches if end > cut or begin >= cut
        ]
        known = [probed for probed in read if probed is not None]
        return reduce(highest, known) if known and len(known) == len(read) else None

    def _stretches(self) -> Iterator[tuple[int, int, Probed]]:
        begin = 0
        for end, probed in self._probed:
            yield begin, end, probed
            begin = end

    def _cut(self) -> int:
        """Return how many code points of the buffer to judge now; 0 to wait for more."""
        if len(self._text) < self._target:
            return 0
        text = _before_open_block(self._text)
        word = max(_end_of(_WORD_END, text), _end_of(_NAME_END, text))
        for end in (_end_of(_SENTENCE_END, text), word):
            if end >= self._target // 2:
                return end
        if len(text) - word < LONGEST_WORD:
            return 0
        return max(_end_of(_JOINT, text), word) or _end_of(_SPACE, text) or len(text)

    def _let_ahead(self) -> list[Held | Ahead]:
        early = self._text[self._ahead : self._budget]
        if not early or self._open is None:
            return []
        self._ahead += len(early)
        return [Ahead(Delta(self._open.channel, early, self._open.message))]


def _before_open_block(text: str) -> str:
    """Return `text` up to where a key of many lines begins that has no end yet."""
    done = 0
    while (begun := _BLOCK.search(text, done)) is not None:
        ended = _BLOCK_END.search(text, begun.end())
        if ended is None:
            return text[: begun.start()] if len(text) - begun.start() < LONGEST_BLOCK else text
        done = ended.end()
    return text


def _end_of(boundary: _Pattern, text: str) -> int:
    found = boundary.match(text)
    return int(found.end(1)) if found else 0
