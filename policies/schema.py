"""What a policy file may say: `ostiary/v1`, as pydantic models.

Shapes only. What the parts mean together (does the category exist, do the bands make
sense) is checked in `consistency.py`. A key that is not here is refused: a rule whose
condition we skipped would be a different rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

# As Python's `datetime.fromisoformat` reads it, with the time zone said: always UTC.
MOMENT = r"^[0-9]{4}-[0-9][0-9]-[0-9][0-9](T[0-9][0-9]:[0-9][0-9](:[0-9][0-9])?Z)?$"

ActionName = Literal["allow", "flag", "warn", "redact", "review", "block"]
StageName = Literal["input", "tool_result", "reasoning", "tool_call", "output"]
AgeGroupName = Literal["minor", "adult", "unknown"]
EndpointName = Literal["responses", "chat", "moderations"]
SanctionName = Literal["warn", "throttle", "suspend", "deactivate"]
Severity = Literal["low", "medium", "high", "critical"]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
RuleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
CategoryId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/-]{0,63}$")]
ClassifierName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=4000)]

Version = Annotated[str, Field(pattern=r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}$")]
Moment = Annotated[str, Field(pattern=MOMENT)]  # UTC, as in `2026-12-01T00:00:00Z`
Span = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[mhd]$")]  # minutes, hours or days
Pattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._:/@*-]{0,127}$")]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
LanguageTag = Annotated[str, Field(pattern=r"^(default|[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3})$")]
# `default` is no language that somebody speaks: seven letters are for nobody, so it is refused.
Locale = Annotated[str, Field(pattern=r"^(\*|[A-Za-z]{2,6}(-[A-Za-z0-9]{1,8}){0,3})$")]


class Part(BaseModel):
    """A part of a file: strict, and without keys that we do not know."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Reference(Part):
    """Where the written usage policy says it."""

    clause: Line
    url: Line | None = None


class Effective(Part):
    """When the policy is meant to be in force."""

    from_: Annotated[Moment | None, Field(alias="from")] = None
    until: Moment | None = None


class Metadata(Part):
    """Whose policy it is, and which version."""

    id: RuleId
    version: Version
    owner: Line
    description: Text = ""
    effective: Effective = Effective()
    references: list[Reference] = []


class IncludeEntry(Part):
    """Another policy whose rules hold here too; `policy.lock` says which digest."""

    id: RuleId
    version: Annotated[str, Field(pattern=r"^[\^~]?[0-9]{1,6}(\.[0-9]{1,6}){0,2}$")]


class PerStage(Part):
    """An action for some of the stages."""

    input: ActionName | None = None
    tool_result: ActionName | None = None
    reasoning: ActionName | None = None
    tool_call: ActionName | None = None
    output: ActionName | None = None


class ScopeEntry(Part):
    """For whom: every field that is given has to agree. `*` stands for anything."""

    projects: Patterns | None = None
    tiers: Patterns | None = None
    age_groups: Annotated[list[AgeGroupName], Field(min_length=1)] | None = None
    endpoints: Annotated[list[EndpointName], Field(min_length=1)] | None = None
    models: Patterns | None = None
    locales: Annotated[list[Locale], Field(min_length=1, max_length=200)] | None = None


def _shape(value: object) -> str:
    """Tell the two spellings apart: one word for all, or a mapping."""
    return "mapping" if isinstance(value, dict | BaseModel) else "word"


OnUnavailable = Annotated[
    Annotated[ActionName, Tag("word")] | Annotated[PerStage, Tag("mapping")],
    Discriminator(_shape),
]


class Defaults(Part):
    """What holds for every rule that does not say otherwise."""

    on_unavailable: OnUnavailable = "block"
    on_unsupported_language: OnUnavailable | None = None
    deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 400
    durability: Literal["before_response"] = "before_response"
    judge_deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 5000
    max_unscreened_chars: Annotated[int, Field(ge=0, le=100_000)] = 0


class CategoryEntry(Part):
    """A harm category as the policy's author sees it."""

    severity: Severity = "medium"
    rationale: Text = ""
    clause: Text = ""


class SpecialAction(Part):
    """An action with a name in it; exactly one of them."""

    escalate: Line | None = None  # tell somebody, beside the main action
    redact: Name | None = None  # as the main action, by one of `redactors`
    disclaim: Name | None = None  # put one of `disclaimers` behind the reply

    @property
    def given(self) -> dict[str, str]:
        """Return what was written, by key."""
        return self.model_dump(exclude_none=True)


BandAction = Annotated[
    Annotated[Literal["allow", "flag", "warn", "redact", "review", "block", "strike"], Tag("word")]
    | Annotated[SpecialAction, Tag("mapping")],
    Discriminator(_shape),
]


class BandEntry(Part):
    """Scores of at least `gte` take `actions`."""

    gte: Probability
    actions: Annotated[list[BandAction], Field(min_length=1, max_length=8)]


Translations = dict[LanguageTag, Text]
Words = Annotated[
    Annotated[Text, Tag("word")] | Annotated[Translations, Tag("mapping")],
    Discriminator(_shape),
]


class MessageEntry(Part):
    """What is said when the rule blocks: one text, or one for each language."""

    user: Words = ""
    developer: Words = ""


class Canary(Part):
    """Enforce the rule for a share of the end users, and watch it for the others."""

    canary: Annotated[int, Field(ge=0, le=100)]


RuleMode = Annotated[
    Annotated[Literal["enforce", "shadow"], Tag("word")] | Annotated[Canary, Tag("mapping")],
    Discriminator(_shape),
]


class CircumstancesEntry(Part):
    """Who asks in a test, and through what."""

    project: Pattern | None = None
    tier: Pattern | None = None
    age_group: AgeGroupName | None = None
    endpoint: EndpointName | None = None
    model: Pattern | None = None
    locale: LanguageTag | None = None
    stream: bool | None = None
    tools: list[Line] | None = None
    access: list[Name] | None = None
    end_user: Line | None = None
    strikes: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class Given(Part):
    """What an inline test starts from: scores, or a text for the classifiers to score."""

    stage: StageName
    circumstances: CircumstancesEntry = CircumstancesEntry()
    at: Moment | None = None
    scores: dict[str, Probability] | None = None
    missing: list[str] = []
    unsupported: list[str] = []
    rungs: dict[ClassifierName, Probability | None] = {}
    text: Annotated[str, Field(max_length=20_000)] | None = None


class InlineTestEntry(Part):
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


class RuleEntry(Part):
    """One category, watched at some stages."""

    id: RuleId
    category: CategoryId
    classifiers: list[ClassifierName] = []
    escalate_at: EscalateAt | None = None
    stages: Annotated[list[StageName], Field(min_length=1)]
    bands: Annotated[list[BandEntry], Field(min_length=1, max_length=20)]
    on_unavailable: OnUnavailable | None = None
    on_unsupported_language: OnUnavailable | None = None
    scope: ScopeEntry = ScopeEntry()
    when: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    mode: RuleMode = "enforce"
    locked: bool = False
    exemptible: bool = True
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


class ExceptionEntry(Part):
    """For a while and for some, a rule does less than it says."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    rule: RuleId
    scope: ScopeEntry = ScopeEntry()
    action: ActionName
    from_: Annotated[Moment, Field(alias="from")]
    until: Moment
    reason: Annotated[str, Field(min_length=1, max_length=4000)]
    ticket: Line | None = None
    approved_by: Annotated[list[Line], Field(min_length=2, max_length=20)]


class RedactorEntry(Part):
    """What a redaction hides, and what it puts in its place."""

    types: Annotated[list[Name], Field(min_length=1, max_length=100)]
    with_: Annotated[
        str, Field(alias="with", pattern=r"^([^{}\"\\\x00-\x1f\x7f]|\{type\})+$", max_length=64)
    ] = "[{type}]"


class StepEntry(Part):
    """From `at` strikes on, `do`; `for` says for how long."""

    at: Annotated[int, Field(ge=1, le=10_000)]
    do: SanctionName
    for_: Annotated[Span | None, Field(alias="for")] = None


class StrikesEntry(Part):
    """For how long a strike counts, and what strikes lead to."""

    window: Span
    ladder: Annotated[list[StepEntry], Field(min_length=1, max_length=20)]


class EnforcementEntry(Part):
    """What follows for an end user whose requests are stopped again and again."""

    strikes: StrikesEntry


class PolicyDocument(Part):
    """A whole policy file."""

    apiVersion: Literal["ostiary/v1"]  # the file format's own spelling
    kind: Literal["Policy"]
    metadata: Metadata
    includes: Annotated[list[IncludeEntry], Field(max_length=20)] = []
    defaults: Defaults = Defaults()
    categories: dict[CategoryId, CategoryEntry] = {}
    redactors: dict[Name, RedactorEntry] = {}
    disclaimers: dict[Name, Words] = {}
    rules: Annotated[list[RuleEntry], Field(max_length=1000)] = []
    exceptions: Annotated[list[ExceptionEntry], Field(max_length=1000)] = []
    enforcement: EnforcementEntry | None = None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a policy file, for editors."""
    said = _untitled(PolicyDocument.model_json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:ostiary:policy:v1",
        "title": "Ostiary policy, ostiary/v1",
        **said,
    }


def _untitled(part: Any) -> Any:  # noqa: ANN401 - JSON
    """Leave out the titles that pydantic makes of names: an editor shows them, and twice."""
    if isinstance(part, list):
        return [_untitled(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        key: _untitled(value)
        for key, value in part.items()
        if not (key == "title" and isinstance(value, str))
    }
