"""What a rule may say: `rules` of a policy file, as pydantic models. Shapes only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from policies.words import (
    ActionName,
    AgeGroupName,
    CategoryId,
    ClassifierName,
    EndpointName,
    LanguageTag,
    Line,
    Locale,
    Moment,
    Name,
    Part,
    Pattern,
    Patterns,
    Probability,
    RuleId,
    StageName,
    Text,
    ToolName,
)


class PerStage(Part):
    """An action for some of the stages."""

    input: ActionName | None = None
    """At stage `input`."""
    tool_result: ActionName | None = None
    """At stage `tool_result`."""
    reasoning: ActionName | None = None
    """At stage `reasoning`."""
    tool_call: ActionName | None = None
    """At stage `tool_call`."""
    output: ActionName | None = None
    """At stage `output`."""


class ScopeEntry(Part):
    """For whom: every field that is given has to agree. `*` stands for anything."""

    projects: Patterns | None = None
    """Names of projects; `*` stands for any characters."""
    tiers: Patterns | None = None
    """What the operator calls the plans of projects."""
    age_groups: Annotated[list[AgeGroupName], Field(min_length=1)] | None = None
    """How old the end user is."""
    endpoints: Annotated[list[EndpointName], Field(min_length=1)] | None = None
    """The APIs that the request may come through."""
    models: Patterns | None = None
    """Names of models; `*` stands for any characters."""
    locales: Annotated[list[Locale], Field(min_length=1, max_length=200)] | None = None
    """Language tags; `de` is also for `de-AT`."""


def _shape(value: object) -> str:
    """Tell the two spellings apart: one word for all, or a mapping."""
    return "mapping" if isinstance(value, dict | BaseModel) else "word"


OnUnavailable = Annotated[
    Annotated[ActionName, Tag("word")] | Annotated[PerStage, Tag("mapping")],
    Discriminator(_shape),
]


class SpecialAction(Part):
    """An action with a name in it; exactly one of them."""

    escalate: Line | None = None
    """Tell somebody, beside the main action."""
    redact: Name | None = None
    """The main action: hide what was found, by one of `redactors`."""
    disclaim: Name | None = None
    """Put one of `disclaimers` behind the reply, beside the main action."""

    @property
    def given(self) -> dict[str, str]:
        """Return what was written, by key."""
        return self.model_dump(exclude_none=True)


BandAction = Annotated[
    Annotated[
        Literal[
            "allow",
            "flag",
            "warn",
            "redact",
            "review",
            "block",
            "strike",
            "stop_conversation",
            "alert",
        ],
        Tag("word"),
    ]
    | Annotated[SpecialAction, Tag("mapping")],
    Discriminator(_shape),
]


class BandEntry(Part):
    """Scores of at least `gte` take `actions`."""

    gte: Probability
    """The lowest score of the band, a probability."""
    actions: Annotated[list[BandAction], Field(min_length=1, max_length=8)]
    """One main action, and what goes with it. Without a main action it is `flag`, and `block`
    where `stop_conversation` is."""


Translations = dict[LanguageTag, Text]
Words = Annotated[
    Annotated[Text, Tag("word")] | Annotated[Translations, Tag("mapping")],
    Discriminator(_shape),
]


class MessageEntry(Part):
    """What is said when the rule blocks: one text, or one for each language."""

    user: Words = ""
    """What the end user reads."""
    developer: Words = ""
    """What the application's developer reads."""


class Canary(Part):
    """Enforce the rule for a share of the end users, and watch it for the others."""

    canary: Annotated[int, Field(ge=0, le=100)]
    """For how many of a hundred end users the rule is enforced. The same ones stay in as the
    share grows."""


RuleMode = Annotated[
    Annotated[Literal["enforce", "shadow"], Tag("word")] | Annotated[Canary, Tag("mapping")],
    Discriminator(_shape),
]


class CircumstancesEntry(Part):
    """Who asks in a test, and through what."""

    project: Pattern | None = None
    """Whose key it is."""
    tier: Pattern | None = None
    """The project's plan."""
    age_group: AgeGroupName | None = None
    """The end user's."""
    endpoint: EndpointName | None = None
    """The API."""
    model: Pattern | None = None
    """The model that is asked."""
    locale: LanguageTag | None = None
    """The end user's language tag."""
    stream: bool | None = None
    """Whether the reply is streamed."""
    tools: list[Line] | None = None
    """Names of functions that the model may call."""
    access: list[Name] | None = None
    """Access programs in force."""
    end_user: Line | None = None
    """What stands for the end user; decides about canaries."""
    strikes: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """How many strikes count."""


Origin = Annotated[str, Field(pattern=r"^(canary|instructions|tool:[A-Za-z0-9_-]{1,64})$")]


class StepEntry(Part):
    """Something that happened before, in a test: a result, or a call."""

    result_of: ToolName | None = None
    """A result of this function."""
    call_of: ToolName | None = None
    """Instead: a call of this function."""
    scores: dict[str, Probability] = {}
    """What the classifiers answered, by category; what is not listed scored 0."""
    missing: list[str] = []
    """Categories that nobody could score."""
    unsupported: list[str] = []
    """Categories that were not scored because of the language; of `scores`, what came anyway."""
    text: Annotated[str, Field(max_length=20_000)] | None = None
    """What the real classifiers are to judge, instead of scores."""
    arguments: str = ""
    """Of the call, in JSON."""
    chars: Annotated[int, Field(ge=0)] | None = None
    """How long it is; without it, as long as the arguments."""
    turns_ago: Annotated[int, Field(ge=0)] = 0
    """How many messages of the user came after it."""
    new: bool = False
    """Whether it is of this reply."""
    times: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How often it happened."""


class CallEntry(Part):
    """The call that the model makes in a test."""

    tool: ToolName
    """The function."""
    arguments: Annotated[str, Field(max_length=20_000)] | None = None
    """In JSON; without it, the `text`, or else none."""


class Given(Part):
    """What an inline test starts from: scores, or a text for the classifiers to score."""

    stage: StageName
    """Where it plays."""
    circumstances: CircumstancesEntry = CircumstancesEntry()
    """Who asks, and through what."""
    at: Moment | None = None
    """When it plays, for exceptions; without it none is in force."""
    scores: dict[str, Probability] | None = None
    """What the classifiers answer, by category; what is not listed scored 0."""
    missing: list[str] = []
    """Categories that nobody could score."""
    unsupported: list[str] = []
    """Categories that nobody scored because of the language."""
    rungs: dict[ClassifierName, Probability | None] = {}
    """What the judges of the rule answer; `null` is no answer."""
    text: Annotated[str, Field(max_length=20_000)] | None = None
    """A text for the real classifiers, instead of scores."""
    secrets: dict[Origin, Annotated[list[Line], Field(max_length=20)]] = {}
    """For `text`: secrets that the model was told, by where they came from: `canary`,
    `instructions`, or `tool:NAME`."""
    call: CallEntry | None = None
    """The call that is made, at stage `tool_call`; without it, one of the history is judged."""
    trajectory: Annotated[list[StepEntry], Field(max_length=1000)] = []
    """What happened before, oldest first."""
    reasoning_chars: Annotated[int, Field(ge=0)] = 0
    """How long the model has thought in this reply."""


class InlineTestEntry(Part):
    """One inline test."""

    name: Line
    """What it shows."""
    given: Given
    """What comes in."""
    expect: ActionName
    """The action that the policy takes."""


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
    """Stable id, quoted in decisions."""
    category: CategoryId
    """What it watches."""
    classifiers: list[ClassifierName] = []
    """Whose scores count; without it, everybody who reads everything."""
    escalate_at: EscalateAt | None = None
    """From which score on a judge is asked: for the last of `classifiers`, or for each that is
    named."""
    stages: Annotated[list[StageName], Field(min_length=1)]
    """Where it watches."""
    bands: Annotated[list[BandEntry], Field(min_length=1, max_length=20)]
    """What is done from which score on."""
    on_unavailable: OnUnavailable | None = None
    """As in `defaults`, for this rule."""
    on_unsupported_language: OnUnavailable | None = None
    """As in `defaults`, for this rule."""
    scope: ScopeEntry = ScopeEntry()
    """For whom it is."""
    when: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """A condition in CEL. Where it cannot be told, `on_unavailable` applies."""
    mode: RuleMode = "enforce"
    """`enforce`, `shadow` (decided and recorded only), or a canary."""
    locked: bool = False
    """A policy that includes this one may only tighten the rule."""
    exemptible: bool = True
    """Exceptions may touch it."""
    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "content_filter"
    """The error code that the caller sees."""
    message: MessageEntry = MessageEntry()
    """What is said when it stops something."""
    tests: list[InlineTestEntry] = []
    """What it must do, checked before the policy is in force."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Return who is asked only in doubt, and from which score on."""
        if self.escalate_at is None:
            return {}
        if isinstance(self.escalate_at, dict):
            return self.escalate_at
        return dict.fromkeys(self.classifiers[-1:], self.escalate_at)
