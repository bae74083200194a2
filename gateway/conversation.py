"""By what a conversation is known again. Pure: what may be known, and what is no proof.

A conversation has no id of its own: the caller sends all of it each time. What stopped one
leaves marks, and a request that carries one of them goes on with it. docs/consequences.md
states the rule; in short:

* Ids that the gateway gave out (of items and calls, and inside sealed thoughts) decide where
  the last turn of the model has any; where only earlier turns have some, and none of them is
  of the stopped conversation, it is another one.
* Otherwise what was said does, as keyed digests at the end of each message of the caller:
  `prefix`, every word up to there; `reply`, the same whatever the model's last turn was;
  `turns`, whatever the model's turns were, left out too, for the same end user or key and a
  while;
  `replied`, every word up to the end of the model's turn, for the same end user or key: a
  conversation that was stopped after its reply had left;
  `opening`, where the model had said nothing yet and the caller goes on all the same;
  `start`, the same with a reply in between that we did not give to this opening since, for a
  while: what we did give is `cleared`.
* An opening alone proves nothing: other conversations begin with the same words.

Instructions, tools and sampling are not looked at, nor how text is spaced or cut into messages,
nor what says nothing, nor what the model is said to have said before the caller did. A digest
says nothing about the text to whoever lacks the key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby

import orjson

from model_runner.types import Channel, Delta, Message, Role

LEAST_TURNS_CHARS = 24  # code points of the caller's that could not be the same by chance
_ISSUED = re.compile(r"(?:req|resp|rs|msg|fc|call)_([0-9a-f]{32})(?:[0-9a-f]{4})?")
_ANYTHING = b"anything"


class Kind(StrEnum):
    """What a mark was made of; the strongest first."""

    ISSUED = "issued"
    EARLIER = "earlier"  # an id of a turn before the last; proves nothing by itself
    PREFIX = "prefix"
    REPLIED = "replied"
    REPLY = "reply"
    TURNS = "turns"
    OPENING = "opening"
    START = "start"
    CLEARED = "cleared"  # the one that proves that it is another conversation


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that a conversation is known by: 32 bytes, of some kind."""

    kind: Kind
    digest: bytes


@dataclass(frozen=True, slots=True)
class History:
    """A conversation as it was sent.

    Attributes:
        messages: Before anything was redacted.
        issued: Exchanges whose ids came with it, 32 hex digits each, and at which message.
    """

    messages: tuple[Message, ...] = ()
    issued: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Marks of a conversation at the end of one message of the caller.

    Attributes:
        issued: Exchanges that the model's last turn before it has ids of.
        earlier: Those that the turns before that one have.
        said: What was said up to there.
        begun: Behind the first reply of all: the opening, and what it is with that reply.
    """

    issued: frozenset[str]
    earlier: frozenset[str]
    said: tuple[Mark, ...]
    begun: tuple[Mark, Mark] | None = None


@dataclass(frozen=True, slots=True)
class _Heard:
    """A message of the caller."""

    result_of: str | None  # which tool's result it is; None for words
    plain: bytes


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one side says before the other does."""

    of_model: bool
    said: tuple[bytes, ...]  # of the model: digests; none of what it said before the caller did
    heard: tuple[_Heard, ...]  # of the caller
    chars: int
    issued: frozenset[str]


@dataclass(slots=True)
class _Chain:
    """Running digests; what a conversation is up to some place.

    Words of the caller that follow each other are one text, however it is cut into messages;
    in `any_replies` also across turns of the model.
    """

    exact: bytes = b""
    any_reply: bytes = b""
    any_replies: hashlib._Hash = field(default_factory=hashlib.sha256)
    replies: int = 0
    chars: int = 0  # of the caller's
    _words: hashlib._Hash | None = None  # of the caller's, if those were last
    _before: tuple[bytes, bytes] = (b"", b"")  # `exact` and `any_reply` ahead of them

    def reply(self, turn: _Turn) -> None:
        """Go over a turn of the model."""
        self.replies += 1
        self.any_reply = _next(self.exact, _ANYTHING)
        self._words = None
        for said in turn.said:
            self.exact = _next(self.exact, said)

    def hear(self, heard: _Heard) -> None:
        """Go over a message of the caller."""
        if heard.result_of is not None:
            self._words = None
            said = _digest(Role.TOOL, heard.result_of, heard.plain)
            self.any_replies.update(b"\0" + said)
        else:
            self.any_replies.update(heard.plain + b" ")
            if self._words is None:
                self._words, self._before = hashlib.sha256(), (self.exact, self.any_reply)
            self._words.update(heard.plain + b" ")
            self.exact, self.any_reply = self._before
            said = self._words.digest()
        self.exact = _next(self.exact, said)
        self.any_reply = _next(self.any_reply, said)


def issued_ids(*values: object) -> Iterator[str]:
    """Yield the exchange of each value that is an id which the gateway gives out."""
    for value in values:
        if isinstance(value, str) and (found := _ISSUED.fullmatch(value)):
            yield found[1]


def evidence(history: History, key: bytes, asker: str) -> list[Evidence]:
    """Return what a conversation can be known by, at each message of the caller.

    Args:
        history: The conversation as it was sent.
        key: Of the project, 32 bytes.
        asker: The end user's pseudonym, or what stands for the key.
    """
    found: list[Evidence] = []
    chain, issued, earlier = _Chain(), frozenset[str](), frozenset[str]()
    behind: tuple[Mark, ...] = ()  # what is known by the turn of the model just before
    begun: tuple[Mark, Mark] | None = None
    for turn in _turns(history):
        if turn.of_model and not turn.said:
            issued = turn.issued
            continue
        if turn.of_model:
            start = _start(chain, key, asker)
            chain.reply(turn)
            earlier, issued = earlier | issued, turn.issued
            behind = tuple(_replied(chain, turn, key, asker))
            after = _mark(Kind.CLEARED, key, asker, chain.exact)
            begun = (start, after) if start else None
            continue
        chain.chars += turn.chars
        for place, heard in enumerate(turn.heard, 1):
            chain.hear(heard)
            goes_on = place < len(turn.heard)
            marks = tuple(_marks(chain, key, asker, goes_on=goes_on))
            if chain.replies == 0:  # those of the model may have been left out
                marks += tuple(_all_turns(chain, key, asker))
            found.append(Evidence(issued, earlier, (*behind, *marks), begun))
            behind, begun = (), None
    return found


def opening(history: History, key: bytes, asker: str) -> Mark | None:
    """Return what an opening is known by; None if the model has spoken, or it is too short."""
    turns = [turn for turn in _turns(history) if turn.said or turn.heard]
    if len(turns) != 1:
        return None
    return _start(_heard(turns), key, asker)


def cleared(history: History, reply: Sequence[Message], key: bytes, asker: str) -> Mark:
    """Return what an opening is known by together with the reply that we gave to it."""
    chain = _heard(_turns(history))
    chain.reply(_turn(reply, frozenset(), of_model=True))
    return _mark(Kind.CLEARED, key, asker, chain.exact)


def _heard(turns: Sequence[_Turn]) -> _Chain:
    """Return the digests at the end of these turns."""
    chain = _Chain()
    for turn in turns:
        if turn.said:
            chain.reply(turn)
        elif turn.heard:
            chain.chars += turn.chars
            for heard in turn.heard:
                chain.hear(heard)
    return chain


def marks_of_stop(
    history: History, exchange: str, key: bytes, asker: str, reply: Sequence[Message] = ()
) -> tuple[Mark, ...]:
    """Return what a conversation that was stopped is known by from now on.

    Args:
        history: The conversation as it was when it was stopped.
        exchange: The exchange in which it was, 32 hex digits.
        key: Of the project.
        asker: As in `evidence`.
        reply: What of the model's answer had left for the caller when it was stopped.
    """
    turns = _turns(history)
    while turns and turns[-1].of_model:  # a reply that the caller had begun
        turns.pop()
    chain = _heard(turns)
    issued = next((turn.issued for turn in reversed(turns) if turn.of_model), frozenset())
    earlier = frozenset(each for turn in turns for each in turn.issued) - issued
    given = [Mark(Kind.ISSUED, issued_digest(each)) for each in sorted({*issued, exchange})]
    given += [Mark(Kind.EARLIER, earlier_digest(each)) for each in sorted(earlier)]
    marks = tuple(_marks(chain, key, asker, goes_on=True))
    if (start := _start(chain, key, asker)) is not None:
        marks += (start,)
    answer = _turn(reply, frozenset(), of_model=True)
    if any(message.text for message in reply):
        chain.reply(answer)
        marks += tuple(_replied(chain, answer, key, asker))
    return (*given, *marks)


def replied(released: Sequence[Delta]) -> list[Message]:
    """Return what has left for the caller as messages of the model."""
    return [
        Message(
            Role.ASSISTANT, "".join(piece.text for piece in said), said[0].channel, said[0].tool
        )
        for said in (list(group) for _, group in groupby(released, lambda piece: piece.message))
    ]


def issued_digest(exchange: str) -> bytes:
    """Return what an exchange's id is looked up by."""
    return hashlib.sha256(exchange.encode()).digest()


def earlier_digest(exchange: str) -> bytes:
    """Return what an exchange of an earlier turn is looked up by."""
    return hashlib.sha256(b"earlier\0" + exchange.encode()).digest()


def project_key(secret: bytes, project: str) -> bytes:
    """Return the key of a project's digests."""
    return hmac.digest(secret, b"conversations\0" + project.encode(), "sha256")


def _marks(chain: _Chain, key: bytes, asker: str, *, goes_on: bool) -> Iterator[Mark]:
    """Yield the marks at a place; `goes_on` is whether the caller says more in this turn."""
    if chain.replies == 0:
        if goes_on:
            yield _mark(Kind.OPENING, key, asker, chain.exact)
        return
    yield _mark(Kind.PREFIX, key, "", chain.exact)
    if chain.replies > 1:
        yield _mark(Kind.REPLY, key, "", chain.any_reply)
    yield from _all_turns(chain, key, asker)


def _all_turns(chain: _Chain, key: bytes, asker: str) -> Iterator[Mark]:
    """Yield the mark of all that the caller said, if it could not be so by chance."""
    if chain.chars >= LEAST_TURNS_CHARS:
        yield _mark(Kind.TURNS, key, asker, chain.any_replies.digest())


def _start(chain: _Chain, key: bytes, asker: str) -> Mark | None:
    """Return the mark of an opening, if it is one and could not be the same by chance."""
    if chain.replies or chain.chars < LEAST_TURNS_CHARS:
        return None
    return _mark(Kind.START, key, asker, chain.exact)


def _replied(chain: _Chain, turn: _Turn, key: bytes, asker: str) -> Iterator[Mark]:
    """Yield the mark at the end of a turn of the model, if it could not be so by chance."""
    if chain.chars + turn.chars >= LEAST_TURNS_CHARS:
        yield _mark(Kind.REPLIED, key, asker, chain.exact)


def _mark(kind: Kind, key: bytes, asker: str, chained: bytes) -> Mark:
    named = b"\0".join((kind.value.encode(), asker.encode(), chained))
    return Mark(kind, hmac.digest(key, named, "sha256"))


def _turns(history: History) -> list[_Turn]:
    issued: dict[int, set[str]] = {}
    for place, exchange in history.issued:
        issued.setdefault(place, set()).add(exchange)
    spoken = [
        (place, message)
        for place, message in enumerate(history.messages)
        if message.role not in {Role.SYSTEM, Role.DEVELOPER}
        and _says_something(message, sealed=place in issued)
    ]
    turns: list[_Turn] = []
    for of_model, group in groupby(spoken, lambda pair: pair[1].role is Role.ASSISTANT):
        said = list(group)
        named = frozenset(name for place, _ in said for name in issued.get(place, ()))
        turn = _turn([message for _, message in said], named, of_model=of_model)
        turns.append(turn if turns or not of_model else replace(turn, said=()))
    return turns


def _says_something(message: Message, *, sealed: bool) -> bool:
    """Return whether a message is more than a blank, or a thought that is not one of ours."""
    if message.channel is Channel.ANALYSIS:
        return sealed
    return message.role is Role.TOOL or message.tool is not None or not _is_blank(message.text)


def _turn(messages: Sequence[Message], issued: frozenset[str], *, of_model: bool) -> _Turn:
    if of_model:
        return _Turn(True, tuple(_model_said(messages)), (), _chars(messages), issued)
    heard = tuple(
        _Heard(each.tool or "" if each.role is Role.TOOL else None, _plain(each.text))
        for each in messages
    )
    return _Turn(False, (), heard, _chars(messages), frozenset())


def _chars(messages: Sequence[Message]) -> int:
    return sum(len(each.text) for each in messages if each.channel is not Channel.ANALYSIS)


def _model_said(messages: Sequence[Message]) -> Iterator[bytes]:
    """Yield a digest of the model's words, as one text whichever way they came; its calls."""
    heard = [message for message in messages if message.channel is not Channel.ANALYSIS]
    words = " ".join(message.text for message in heard if message.tool is None)
    yield _digest(Role.ASSISTANT, None, _plain(words))
    for message in heard:
        if message.tool is not None:
            yield _digest(Role.ASSISTANT, message.tool, _plain(_arguments(message.text)))


def _arguments(text: str) -> str:
    """Return a call's arguments in the one way there is to write them, if they are JSON."""
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return text


def _plain(text: str) -> bytes:
    words = unicodedata.normalize("NFKC", text).split()
    return " ".join(words).encode("utf-8", "surrogatepass")


def _is_blank(text: str) -> bool:
    return not text[:256].strip() and not _plain(text)


def _digest(role: Role, tool: str | None, plain: bytes) -> bytes:
    named = f"{role.value}\0{tool or ''}\0".encode("utf-8", "surrogatepass")
    return hashlib.sha256(named + plain).digest()


def _next(chained: bytes, said: bytes) -> bytes:
    return hashlib.sha256(chained + said).digest()
