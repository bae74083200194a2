"""What a policy file may say: `ostiary/v1`, as pydantic models.

Shapes only. What the parts mean together (does the category exist, do the bands make
sense) is checked in `load.py`. A key that is not here is refused, and one that is planned
is refused by name: a rule whose condition we skipped would be a different rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

ActionName = Literal["allow", "flag", "warn", "redact", "review", "block"]
StageName = Literal["input", "tool_result", "reasoning", "tool_call", "output"]
Severity = Literal["low", "medium", "high", "critical"]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
RuleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
CategoryId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/-]{0,63}$")]
ClassifierName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=4000)]

# Keys of the full language that this version does not act on yet, by where they stand.
LATER: Mapping[str, frozenset[str]] = {
    "": frozenset({"includes", "exceptions", "redactors", "enforcement"}),
    "metadata": frozenset({"effective"}),
    "defaults": frozenset({"durability"}),
    "rules": frozenset({"scope", "when", "locked", "exemptible"}),
    "mode": frozenset({"canary"}),
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Reference(_Part):
    """Where the written usage policy says it."""

    clause: Line
    url: Line | None = None


class Metadata(_Part):
    """Whose policy it is, and which version."""

    id: RuleId
    version: Annotated[str, Field(pattern=r"^\d{1,6}\.\d{1,6}\.\d{1,6}$")]
    owner: Line
    references: list[Reference] = []


class PerStage(_Part):
    """An action for some of the stages."""

    input: ActionName | None = None
    tool_result: ActionName | None = None
    reasoning: ActionName | None = None
    tool_call: ActionName | None = None
    output: ActionName | None = None


def _shape(value: object) -> str:
    """Tell the two spellings apart: one word for all, or a mapping."""
    return "mapping" if isinstance(value, dict | BaseModel) else "word"


OnUnavailable = Annotated[
    Annotated[ActionName, Tag("word")] | Annotated[PerStage, Tag("mapping")],
    Discriminator(_shape),
]


class Defaults(_Part):
    """What holds for every rule that does not say otherwise."""

    on_unavailable: OnUnavailable = "block"
    on_unsupported_language: OnUnavailable | None = None
    deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 400
    judge_deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 5000
    max_unscreened_chars: Annotated[int, Field(ge=0, le=100_000)] = 0


class CategoryEntry(_Part):
    """A harm category as the policy's author sees it."""

    severity: Severity = "medium"
    rationale: Text = ""
    clause: Text = ""


class Escalate(_Part):
    """Tell somebody, beside the main action."""

    escalate: Line


BandAction = Annotated[
    Annotated[Literal["allow", "flag", "warn", "redact", "review", "block", "strike"], Tag("word")]
    | Annotated[Escalate, Tag("mapping")],
    Discriminator(_shape),
]


class BandEntry(_Part):
    """Scores of at least `gte` take `actions`."""

    gte: Probability
    actions: Annotated[list[BandAction], Field(min_length=1, max_length=8)]


class MessageEntry(_Part):
    """What is said when the rule blocks."""

    user: Text = ""
    developer: Text = ""


class Given(_Part):
    """What an inline test starts from: scores, or a text for the classifiers to score."""

    stage: StageName
    scores: dict[str, Probability] | None = None
    missing: list[str] = []
    unsupported: list[str] = []
    rungs: dict[ClassifierName, Probability | None] = {}
    text: Annotated[str, Field(max_length=20_000)] | None = None


class InlineTestEntry(_Part):
    """One inline test."""

    name: Line
    given: Given
    expect: ActionName


def _number_or_mapping(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "number"


Thresholds = Annotated[dict[ClassifierName, Probability], Field(min_length=1)]
EscalateAt = Annotated[
    Annotated[Probability, Tag("number")] | Annotated[Thresholds, Tag("mapping")],
    Discriminator(_number_or_mapping),
]


class RuleEntry(_Part):
    """One category, watched at some stages."""

    id: RuleId
    category: CategoryId
    classifiers: list[ClassifierName] = []
    escalate_at: EscalateAt | None = None
    stages: Annotated[list[StageName], Field(min_length=1)]
    bands: Annotated[list[BandEntry], Field(min_length=1, max_length=20)]
    on_unavailable: OnUnavailable | None = None
    on_unsupported_language: OnUnavailable | None = None
    mode: Literal["enforce", "shadow"] = "enforce"
    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "content_filter"
    message: MessageEntry = MessageEntry()
    tests: list[InlineTestEntry] = []

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Return who is asked only in doubt, and from which score on."""
        if self.escalate_at is None:
            return {}
        if isinstance(self.escalate_at, dict):
            return self.escalate_at
        return dict.fromkeys(self.classifiers[-1:], self.escalate_at)


class PolicyDocument(_Part):
    """A whole policy file."""

    apiVersion: Literal["ostiary/v1"]  # the file format's own spelling
    kind: Literal["Policy"]
    metadata: Metadata
    defaults: Defaults = Defaults()
    categories: dict[CategoryId, CategoryEntry]
    rules: Annotated[list[RuleEntry], Field(min_length=1, max_length=1000)]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a policy file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ostiary policy",
        **PolicyDocument.model_json_schema(),
    }
