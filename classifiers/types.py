"""What a classifier reads, what it answers, and what counts as a classifier.

Vocabulary only: no I/O, no torch. Everything above this file imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

# Reason codes of a missing answer that the policy tells apart or that lie in the text itself.
UNSUPPORTED_LANGUAGE = "unsupported_language"  # the classifier was not made for this language
TOO_LONG = "too_long"  # the text is longer than the classifier reads


class Source(StrEnum):
    """Where a passage came from. It says who could have written it, so how far to trust it."""

    SYSTEM = "system"  # the operator
    DEVELOPER = "developer"  # the application: instructions, tool descriptions
    USER = "user"  # the end user
    ASSISTANT = "assistant"  # a reply the caller says the model gave earlier
    TOOL = "tool"  # a tool's output: untrusted, whoever passed it on
    ANALYSIS = "analysis"  # the model, thinking
    COMMENTARY = "commentary"  # the model, speaking between tool calls
    CALL = "call"  # the model, calling a tool; the text is the arguments
    FINAL = "final"  # the model, answering


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Step:
    """Something that was said in an exchange, whole or as far as it has come.

    Attributes:
        source: Who said it.
        text: What.
        tool: The function a CALL is addressed to or a TOOL output comes from.
    """

    source: Source
    text: str
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What came before a passage: instructions, task, thoughts, calls and their results.

    It is context. What it holds was judged where it stood, and no span points into it.

    Attributes:
        steps: In order, oldest first. Where the passage is not the beginning of its
            message, the last one is what came before it in that message.
    """

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that must not leave an exchange.

    Attributes:
        text: What. Never shown.
        origin: Who knew it: `canary`, set out by the operator; `instructions`; or the name of
            the function whose result held it, after `tool:`.
    """

    text: str = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Secrets:
    """The secrets of an exchange.

    Attributes:
        known: Those that were noted.
        complete: Whether everything that may hold one was read.
    """

    known: tuple[Secret, ...] = ()
    complete: bool = True


NO_SECRETS = Secrets()


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of text from one source, the unit a classifier reads.

    Attributes:
        source: Who wrote the text.
        text: What is judged.
        before: The text directly before it in the same message, already judged. A
            classifier reads it so that a phrase split between two passages is still
            seen; a match that lies wholly in it is not reported again.
        prompt: The last user message of the exchange, for classifiers that judge a
            reply in its exchange; empty for the prompt itself.
        tool: The function a CALL is addressed to or a TOOL output comes from.
        secrets: What the model was told and must not pass on, for what it does and says.
        trajectory: What came before it in the exchange, for what the model thinks, does and
            says; None where nobody knows.
        probed: By category the highest score of the model's own probes while it said this;
            None where they did not read it.
    """

    source: Source
    text: str
    before: str = ""
    prompt: str = ""
    tool: str | None = None
    trajectory: Trajectory | None = None
    secrets: Secrets = field(default=NO_SECRETS, repr=False)
    probed: Mapping[str, float] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Span:
    """A match inside `Passage.text`, in code points: [start, end).

    `start` is negative where the match began in `Passage.before`.
    """

    start: int
    end: int
    kind: str  # what was found, for `[kind]` in a redaction: `email`, `api_key`


@dataclass(frozen=True, slots=True)
class Verdict:
    """One classifier's answer about one passage in one category.

    Attributes:
        classifier: Name and version, for example `patterns@1`.
        category: Harm category id, for example `violence.weapons`.
        score: Calibrated probability in [0, 1], or None when the classifier gave no
            answer (timeout, out of memory, bad output). None is never a low score.
        spans: Where in the passage it was found, if the classifier can say.
        error: Why there is no score, as a short reason code: `timeout`, `failed`,
            `unsupported_language`.
        rationale: Why the score, in a judge's own words: one line, at most 500 code
            points. It may quote what it judged, so it is content: never log it.
        unread: Where there is no score because what led to the passage was read in part:
            how many code points of that were not.
    """

    classifier: str
    category: str
    score: float | None
    spans: tuple[Span, ...] = ()
    error: str | None = None
    rationale: str | None = None
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one classifier did with the passages of one stage: the coverage receipt.

    Attributes:
        classifier: Name and version.
        digest: SHA-256 of the weights or patterns that were used, hex.
        scanned_chars: Code points that were read.
        unscanned_chars: Code points that were not, because of a deadline, a failure
            or a length bound. Anything but 0 means the decision was partly blind.
        duration_ms: Time taken, milliseconds.
        error: Reason code when it gave no full answer.
    """

    classifier: str
    digest: str
    scanned_chars: int
    unscanned_chars: int
    duration_ms: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """All verdicts on one list of passages: `verdicts[i]` belongs to `passages[i]`.

    Attributes:
        covered: For each category that was asked about, the names of the classifiers
            that were asked. Within it a category without a verdict scored 0; outside
            it nobody was asked, which is a missing answer.
        on_request: For each category, the names of the judges: classifiers that answer
            only if they are asked.
        asked: For each judge that was asked, about which passages and in which
            categories. Within it a category without a verdict scored 0.
    """

    passages: tuple[Passage, ...]
    verdicts: tuple[tuple[Verdict, ...], ...]
    receipts: tuple[Receipt, ...]
    covered: Mapping[str, frozenset[str]] = field(default_factory=dict)
    on_request: Mapping[str, frozenset[str]] = field(default_factory=dict)
    asked: Mapping[str, frozenset[tuple[int, str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What one judge is asked.

    Attributes:
        classifier: Its name and version.
        wanted: For each passage it is asked about, by index, the categories.
    """

    classifier: str
    wanted: Mapping[int, frozenset[str]]


class Classifier(Protocol):
    """Anything that can judge a passage.

    Attributes:
        name: Name and version, unique within a panel: `patterns@1`.
        digest: SHA-256 of what determines its answers (weights, patterns), hex.
        categories: Every category it answers for.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - the class docstring has it

    @property
    def digest(self) -> str: ...  # noqa: D102 - the class docstring has it

    @property
    def categories(self) -> frozenset[str]: ...  # noqa: D102 - the class docstring has it

    async def classify(self, passages: Sequence[Passage]) -> list[list[Verdict]]:
        """Judge each passage.

        Returns:
            One list per passage, in order, with one verdict for each of `categories`
            that the passage scored above 0 in or could not be scored in. A category
            that is left out scored 0.
        """
        ...


@runtime_checkable
class Selective(Classifier, Protocol):
    """A classifier whose work grows with the categories, so that it is told which it needs."""

    async def classify_for(
        self, passages: Sequence[Passage], wanted: Sequence[frozenset[str]]
    ) -> list[list[Verdict]]:
        """Judge each passage in the categories wanted of it; otherwise as `classify`."""
        ...
