"""Whether what a model does or says carries a secret that it was told.

Which secrets there are, the gateway notes: credentials in instructions and in what tools gave
back, and what the operator set out for this. How one is known again, however it is spelled,
is `classifiers.disguises`' business. Where not everything was read that may hold a secret, a
call is not known to carry none: there is no answer.

A secret may be where it belongs. What one function returned and another call of the same
function carries, as it is, is no transfer; carried to another function it is likely one;
hidden, it is one for certain.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

from classifiers import disguises as spelling
from classifiers.disguises import Disguises, Sight, disguises, sight_of
from classifiers.types import NO_SECRETS, TOO_LONG, Passage, Secret, Secrets, Source, Span, Verdict

CATEGORY = "agent.secret_transfer"
CANARY, INSTRUCTIONS, TOOL = "canary", "instructions", "tool:"
UNREAD = "unread_secrets"  # no answer: not everything was read that may hold a secret

LIMIT = 64 * 1024  # code points of one passage
MOST = 200  # secrets of one exchange
TURN = 20  # secrets spelled out before other requests get a turn

OF_CANARY, TOLD, HIDDEN, ELSEWHERE = 1.0, 0.97, 0.95, 0.7


class Carried:
    """The classifier.

    Attributes:
        name: `carried@1`.
        digest: SHA-256 of the code that looks, hex.
        categories: `agent.secret_transfer`.
    """

    name = "carried@1"
    categories = frozenset({CATEGORY})

    def __init__(self) -> None:
        code = b"".join(Path(each).read_bytes() for each in (__file__, spelling.__file__))
        self.digest = hashlib.sha256(code).hexdigest()
        # For as long as the exchange lives.
        self._spelled: WeakKeyDictionary[Secrets, list[Disguises]] = WeakKeyDictionary()

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage; `Classifier.classify` has the contract."""
        return [await self._passage(passage) for passage in passages]

    async def _passage(self, passage: Passage) -> list[Verdict]:
        secrets = passage.secrets
        if secrets == NO_SECRETS:
            return []
        if len(passage.text) > LIMIT:
            return [Verdict(self.name, CATEGORY, None, error=TOO_LONG)]
        now, before = sight_of(passage.before + passage.text), sight_of(passage.before)
        here = sight_of(passage.text)
        best, spans = 0.0, list[Span]()
        for secret, known in zip(secrets.known, await self._spellings(secrets), strict=False):
            if _new(known, now, before, here):
                score = _score(secret, passage)
                best = max(best, score)
                spans += _places(secret.text, passage.text) if score else []
        if best:
            return [Verdict(self.name, CATEGORY, best, tuple(sorted(set(spans), key=_start)))]
        if not secrets.complete or len(secrets.known) > MOST:
            return [Verdict(self.name, CATEGORY, None, error=UNREAD)]
        return []

    async def _spellings(self, secrets: Secrets) -> list[Disguises]:
        """Return how each secret is looked for, `MOST` of them."""
        spelled = self._spelled.get(secrets)
        if spelled is None:
            spelled = []
            for number, secret in enumerate(secrets.known[:MOST]):
                if number % TURN == TURN - 1:
                    await asyncio.sleep(0)
                spelled.append(disguises(secret.text, whole=_whole(secret)))
            self._spelled[secrets] = spelled
        return spelled


def _new(known: Disguises, now: Sight, before: Sight, here: Sight) -> bool:
    """Return whether a secret is there that was not wholly there before."""
    return known.seen_in(now) and (known.seen_in(here) or not known.seen_in(before))


def _whole(secret: Secret) -> bool:
    """Return whether a secret is so short that a part of it says nothing."""
    return not spelling.worth_noting(secret.text)


def _score(secret: Secret, passage: Passage) -> float:
    if secret.origin == CANARY:
        return OF_CANARY
    if secret.origin == INSTRUCTIONS:
        return TOLD
    if not _as_it_is(secret.text, passage.before + passage.text):
        return HIDDEN
    same = passage.source is Source.CALL and secret.origin == f"{TOOL}{passage.tool}"
    return 0.0 if same else ELSEWHERE


def _as_it_is(secret: str, text: str) -> bool:
    quoted = json.dumps(secret)[1:-1]
    return secret in text or quoted in text or json.dumps(secret, ensure_ascii=False)[1:-1] in text


def _places(secret: str, text: str) -> list[Span]:
    """Return where it stands as it is; where it is hidden, all of the passage is hidden."""
    found: list[Span] = []
    at = text.find(secret)
    while at >= 0:
        found.append(Span(at, at + len(secret), "secret"))
        at = text.find(secret, at + len(secret))
    return found


def _start(span: Span) -> tuple[int, int]:
    return span.start, span.end
