"""Credentials, found by the detectors of `detect-secrets`, and by entropy where one is assigned.

Beside the patterns (`classifiers/patterns.py`), which know the newer tokens, this runs the
structured detectors of the `detect-secrets` package: those that know what a token looks
like. Its keyword detector and its entropy detectors fire on prose, so the first is left out
and entropy counts only for what is assigned to a name like `api_token`. Nothing is ever
verified over the network.

Those detectors are Python regular expressions, and some take time that grows with the
square of a line. So each is asked only about short stretches, and only where a cheap RE2
expression found what it starts with. Beyond `LIMIT` nothing is read, and the answer says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

import re2

from classifiers.checksums import no_placeholder, secret_value
from classifiers.normalize import forms
from classifiers.types import TOO_LONG, Passage, Span, Verdict
from classifiers.vocabulary import share

CATEGORY = "secrets.credential"

LIMIT = 1024 * 1024  # code points of one passage
STRETCH = 1024  # code points that a detector reads at once
OVERLAP = 256  # of which it has read so many before: longer than all but a few tokens
MAX_SPANS = 1000  # more are found everywhere
TURN = 4  # stretches read before other requests get a turn

FOUND = 0.97  # a detector found what only a token looks like
LIKELY = 0.85  # or something that looks like a token by its name and its letters
# Bits per character above which what is assigned is no word (detect-secrets' own limits).
BASE64_ENTROPY = 4.5
HEX_ENTROPY = 3.0


@dataclass(frozen=True, slots=True)
class _Detector:
    """One detector of `detect-secrets`.

    Attributes:
        module: Where it lives below `detect_secrets.plugins`.
        plugin: Its class.
        kind: What its spans are called.
        hint: An RE2 expression that matches wherever it could.
        score: How sure a match is.
    """

    module: str
    plugin: str
    kind: str
    hint: str
    score: float = FOUND


_DETECTORS = (
    _Detector(
        "artifactory", "ArtifactoryDetector", "api_key", r"AKC[0-9A-Za-z]|AP[0-9A-F]", LIKELY
    ),
    _Detector(
        "aws",
        "AWSKeyDetector",
        "aws_access_key",
        r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}|(?i:aws.{0,50}['\"][0-9a-z/+]{40}['\"])",
    ),
    _Detector(
        "azure_storage_key", "AzureStorageKeyDetector", "api_key", "AccountKey=[a-zA-Z0-9+/=]{88}"
    ),
    _Detector("basic_auth", "BasicAuthDetector", "password", r"://[^\s@]{1,400}@"),
    _Detector("cloudant", "CloudantDetector", "password", "(?i)cloudant"),
    _Detector("discord", "DiscordBotTokenDetector", "api_key", r"[MNO][0-9A-Za-z_-]{23,25}\."),
    _Detector("github_token", "GitHubTokenDetector", "github_token", "gh[pousr]_"),
    _Detector("gitlab_token", "GitLabTokenDetector", "gitlab_token", r"\bgl[a-z]{2,5}-|GR1348941"),
    _Detector(
        "ibm_cloud_iam",
        "IbmCloudIamDetector",
        "api_key",
        "(?i)(?:ibm|cloud|iam).{0,60}[0-9a-z_-]{44}",
        LIKELY,
    ),
    _Detector(
        "ibm_cos_hmac",
        "IbmCosHmacDetector",
        "api_key",
        "(?i)(?:cos|hmac|secret).{0,60}[0-9a-f]{48}",
        LIKELY,
    ),
    _Detector("mailchimp", "MailchimpDetector", "api_key", "[0-9a-z]{32}-us[0-9]"),
    _Detector("npm", "NpmDetector", "api_key", "_authToken="),
    _Detector("openai", "OpenAIDetector", "api_key", "T3BlbkFJ[0-9A-Za-z]{20}"),
    _Detector("pypi_token", "PypiTokenDetector", "api_key", "pypi-AgE"),
    _Detector("sendgrid", "SendGridDetector", "api_key", r"SG\."),
    _Detector("slack", "SlackDetector", "api_key", r"(?i)xox[abposr]-|hooks\.slack\.com"),
    _Detector(
        "softlayer",
        "SoftlayerDetector",
        "api_key",
        "(?i)(?:softlayer|sl).{0,60}[0-9a-z]{64}",
        LIKELY,
    ),
    _Detector("square_oauth", "SquareOAuthDetector", "api_key", "sq0csp-"),
    _Detector("stripe", "StripeDetector", "api_key", "[rs]k_live_"),
    _Detector(
        "telegram_token", "TelegramBotTokenDetector", "api_key", r"\d{8,10}:[0-9A-Za-z_-]{35}"
    ),
    _Detector("twilio", "TwilioKeyDetector", "api_key", "(?:AC|SK)[a-z0-9]{32}"),
)

# `name = "value"`, where the name is that of a secret and the value one word.
_ASSIGNED = re2.compile(
    r"(?i)(?:key|token|secret|passw(?:or)?d|passphrase|credential|auth)s?[\"'\]]{0,2}"
    r"\s{0,3}(?:=>|:=|=|:)\s{0,3}[\"'`]?([0-9A-Za-z+/=_-]{16,256})"
)
_HEX = re.compile("[0-9a-fA-F]+")
# A key that is meant to be shown around.
_PUBLIC = re.compile("(?i)(?:public|pub|host)[ _-]?$")
_WORD = re.compile("[^\\s\"'<>]+")
# Where a word starts inside an identifier: `sortKey2`, `sort_key`.
_HUMP = re.compile("(?<=[a-z])(?=[A-Z])|[^A-Za-z]+")
NAMED = 0.5  # share of the letters in common words from which on a value is an identifier
SHORTEST = 16  # characters of a token; what is shorter in a match is its prefix (`glpat`)


class Secrets:
    """The classifier of credentials.

    Attributes:
        name: `secrets@1`.
        digest: SHA-256 of the release of `detect-secrets` and of what is asked of it, hex.
        categories: `secrets.credential`.
    """

    name = "secrets@1"
    categories = frozenset({CATEGORY})

    def __init__(self) -> None:
        """Load the detectors.

        Raises:
            ModuleNotFoundError: If `detect-secrets` is not installed.
        """
        asked = f"detect-secrets {version('detect-secrets')}\n{_DETECTORS}\n{_ASSIGNED.pattern}"
        self.digest = hashlib.sha256(asked.encode()).hexdigest()
        self._detectors: list[tuple[_Detector, Any]] = []
        options = re2.Options()
        options.log_errors = False
        # INVARIANT: the first expression is empty and matches every text; RE2 answers
        # "nothing matched" when it runs out of memory.
        self._hints = re2.Set.SearchSet(options)
        self._hints.Add("")
        for detector in _DETECTORS:
            module = import_module(f"detect_secrets.plugins.{detector.module}")
            self._detectors.append((detector, getattr(module, detector.plugin)()))
            self._hints.Add(detector.hint)
        self._hints.Compile()

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage; `Classifier.classify` has the contract."""
        return [await self._passage(passage) for passage in passages]

    async def _passage(self, passage: Passage) -> list[Verdict]:
        before = passage.before[-OVERLAP:]
        # Characters are replaced one for one here, so that spans stay true.
        text = forms(before + passage.text[:LIMIT])[0].text
        found: dict[Span, float] = {}
        for number, start in enumerate(range(0, len(text), STRETCH - OVERLAP)):
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
            if len(found) > MAX_SPANS:
                break
            for first, last, kind, score in self._stretch(text[start : start + STRETCH]):
                span = Span(start + first - len(before), start + last - len(before), kind)
                if span.end > 0 and _by_itself(text, start + first, start + last):
                    found[span] = max(score, found.get(span, 0.0))
        if len(passage.text) > LIMIT:
            return [*_verdict(found), Verdict(self.name, CATEGORY, None, error=TOO_LONG)]
        return _verdict(found)

    def _stretch(self, text: str) -> Iterator[tuple[int, int, str, float]]:
        """Yield where something was found, what it is called and how sure that is."""
        hits = self._hints.Match(text)
        for number in hits or range(1, len(self._detectors) + 1):
            if number == 0:
                continue
            detector, plugin = self._detectors[number - 1]
            for line, offset in _lines(text):
                for start, end in _places(line, plugin, detector):
                    yield offset + start, offset + end, detector.kind, detector.score
        for match in _ASSIGNED.finditer(text):
            if _entropic(match[1]) and not _PUBLIC.search(text[: match.start()][-8:]):
                yield *match.span(1), "api_key", LIKELY


def _verdict(found: dict[Span, float]) -> list[Verdict]:
    if not found:
        return []
    spans = tuple(sorted(found, key=lambda span: (span.start, span.end)))
    return [
        Verdict(
            Secrets.name,
            CATEGORY,
            max(found.values()),
            spans if len(spans) <= MAX_SPANS else (),
        )
    ]


def _lines(text: str) -> Iterator[tuple[str, int]]:
    offset = 0
    for line in text.splitlines(keepends=True):
        yield line.rstrip("\r\n"), offset
        offset += len(line)


def _places(line: str, plugin: Any, detector: _Detector) -> Iterator[tuple[int, int]]:  # noqa: ANN401 - no types
    """Yield where `plugin` finds something that stands by itself and is no placeholder."""
    password = detector.kind == "password"
    real, shortest = (no_placeholder, 4) if password else (secret_value, SHORTEST)
    for expression in plugin.denylist:
        for match in expression.finditer(line):
            start, end = _secret(line, match, shortest)
            if end - start >= shortest and real(line[start:end]):
                yield start, end


def _by_itself(text: str, start: int, end: int) -> bool:
    """Return whether [start, end) is no part of a longer word, such as a base64 image.

    Something that a stretch cut in two is found again, whole, in the next one.
    """
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    return not any(mark.isalnum() for mark in around)


def _secret(line: str, match: re.Match[str], shortest: int) -> tuple[int, int]:
    """Return the secret in a match: its longest group, unless that is only a prefix (`ghp`)."""
    groups = [match.span(number) for number in range(1, match.re.groups + 1)]
    start, end = max(groups, key=lambda span: span[1] - span[0], default=(0, 0))
    if end - start < shortest:
        start, end = match.span()
    # Some expressions take what stands around it along.
    start += len(line[start:end]) - len(line[start:end].lstrip(" \t\"'=:"))
    word = _WORD.match(line, start, end)
    return start, word.end() if word else end


def _entropic(value: str) -> bool:
    """Return whether the letters of `value` are too mixed for a word, an address or a name."""
    if not secret_value(value):
        return False
    counts = [value.count(mark) / len(value) for mark in set(value)]
    if _HEX.fullmatch(value):
        return _entropy(counts) > HEX_ENTROPY
    # A short value cannot reach the limit of a long one.
    limit = min(BASE64_ENTROPY, 0.85 * math.log2(len(value)))
    return _entropy(counts) > limit and share(_HUMP.sub(" ", value)) < NAMED


def _entropy(shares: Sequence[float]) -> float:
    """Return Shannon's entropy, bits per character."""
    return -sum(share * math.log2(share) for share in shares)
