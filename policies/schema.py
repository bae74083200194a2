"""What a policy file may say: `ostiary/v1`, as pydantic models.

Shapes only. What the parts mean together (does the category exist, do the bands make
sense) is checked in `consistency.py`. A key that is not here is refused: a rule whose
condition we skipped would be a different rule.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from policies.agent_schema import FlowEntry, LimitEntry, ResultsEntry, ToolsEntry
from policies.rule_schema import OnUnavailable, RuleEntry, ScopeEntry, Words
from policies.words import (
    ActionName,
    CategoryId,
    Line,
    Moment,
    Name,
    Part,
    RuleId,
    SanctionName,
    Severity,
    Span,
    Text,
    Version,
)


class Reference(Part):
    """Where the written usage policy says it."""

    clause: Line
    """The clause, as the written policy numbers it."""
    url: Line | None = None
    """Where it can be read."""


class Effective(Part):
    """When the policy is meant to be in force."""

    from_: Annotated[Moment | None, Field(alias="from")] = None
    """It comes into force no earlier than this; until then the version before it holds on."""
    until: Moment | None = None
    """It should have been replaced by then. It stays in force, and `/readyz` says so."""


class Metadata(Part):
    """Whose policy it is, and which version."""

    id: RuleId
    """Who it is: stable, and the same in every version."""
    version: Version
    """Major, minor and patch, as in `1.4.2`. One version is one content."""
    owner: Line
    """Who answers for it."""
    description: Text = ""
    """What it is for."""
    effective: Effective = Effective()
    """When it is meant to be in force."""
    references: list[Reference] = []
    """The written policy that it puts into effect."""


class IncludeEntry(Part):
    """Another policy whose rules hold here too; `policy.lock` says which digest."""

    id: RuleId
    """The `metadata.id` of the policy."""
    version: Annotated[str, Field(pattern=r"^[\^~]?[0-9]{1,6}(\.[0-9]{1,6}){0,2}$")]
    """Which version: `1.2.3`, `1.2` for any patch of it, `~1.2.3` for later patches, `^1.2.3`
    for whatever does not change the first number that is not 0."""


class Defaults(Part):
    """What holds for every rule that does not say otherwise."""

    on_unavailable: OnUnavailable = "block"
    """What is done where a classifier that was needed gave no answer: one action, or one for
    each stage. Stages that are not named are blocked."""
    on_unsupported_language: OnUnavailable | None = None
    """The same, where the only reason is a language that the classifiers were not made for."""
    deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 400
    """How long the classifiers may take at a stage, milliseconds, for each 8,000 characters
    begun; a message counts for 64 at least."""
    durability: Literal["before_response", "spool"] = "before_response"
    """A decision is in the log before anything leaves: `before_response` refuses requests while
    the log cannot be written, with `spool` what is to be recorded waits on the gateway's disk,
    up to a limit."""
    judge_deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 5000
    """How long each rung of judges may take beside that, milliseconds."""
    max_unscreened_chars: Annotated[int, Field(ge=0, le=100_000)] = 0
    """How many characters of a stream may be ahead of their judgement."""


class CategoryEntry(Part):
    """A harm category as the policy's author sees it."""

    severity: Severity = "medium"
    """How bad it is if it gets through; `lint` asks more of what is `high` or `critical`."""
    rationale: Text = ""
    """Why it is watched."""
    clause: Text = ""
    """The clause of the written policy."""


class ExceptionEntry(Part):
    """For a while and for some, a rule does less than it says."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Stable id, quoted in decisions."""
    rule: RuleId
    """The rule that it is about."""
    scope: ScopeEntry = ScopeEntry()
    """For whom it is."""
    action: ActionName
    """The most that the rule still does: `allow`, `flag` or `warn`."""
    from_: Annotated[Moment, Field(alias="from")]
    """From when on."""
    until: Moment
    """Before when. A day begins at midnight UTC."""
    reason: Annotated[str, Field(min_length=1, max_length=4000)]
    """Why."""
    ticket: Line | None = None
    """Where it was asked for."""
    approved_by: Annotated[list[Line], Field(min_length=2, max_length=20)]
    """Two different people, at least."""


class RedactorEntry(Part):
    """What a redaction hides, and what it puts in its place."""

    types: Annotated[list[Name], Field(min_length=1, max_length=100)]
    """Kinds of finds, such as `email`; others are left."""
    with_: Annotated[
        str, Field(alias="with", pattern=r"^([^{}\"\\\x00-\x1f\x7f]|\{type\})+$", max_length=64)
    ] = "[{type}]"
    """What stands there instead; `{type}` is the kind."""


class StepEntry(Part):
    """From `at` strikes on, `do`; `for` says for how long."""

    at: Annotated[int, Field(ge=1, le=10_000)]
    """From how many strikes on."""
    do: SanctionName
    """What follows."""
    for_: Annotated[Span | None, Field(alias="for")] = None
    """For how long after the strike that reached it; without it, for as long as the count stays
    up. A deactivation without it is for good."""


class StrikesEntry(Part):
    """For how long a strike counts, and what strikes lead to."""

    window: Span
    """For how long a strike counts: `30d`, `12h`, `5m`."""
    ladder: Annotated[list[StepEntry], Field(min_length=1, max_length=20)]
    """Steps, lowest first."""


class EnforcementEntry(Part):
    """What follows for an end user whose requests are stopped again and again."""

    strikes: StrikesEntry
    """The ladder."""


class PolicyDocument(Part):
    """A whole policy file."""

    apiVersion: Literal["ostiary/v1"]
    """The format; always `ostiary/v1`."""
    kind: Literal["Policy"]
    """Always `Policy`."""
    metadata: Metadata
    """Whose it is, and which version."""
    includes: Annotated[list[IncludeEntry], Field(max_length=20)] = []
    """Policies whose rules hold here too."""
    defaults: Defaults = Defaults()
    """What holds where a rule does not say otherwise."""
    categories: dict[CategoryId, CategoryEntry] = {}
    """Kinds of harm, by id."""
    redactors: dict[Name, RedactorEntry] = {}
    """Ways to hide, by name."""
    disclaimers: dict[Name, Words] = {}
    """Texts that can follow a reply, by name; one text, or one for each language with one for
    `default`."""
    rules: Annotated[list[RuleEntry], Field(max_length=1000)] = []
    """What is watched, and what is done. Their order never matters."""
    tools: ToolsEntry | None = None
    """Which functions the model may call, and with which arguments."""
    results: Annotated[list[ResultsEntry], Field(max_length=200)] = []
    """What becomes of tool results on their way to the model."""
    flows: Annotated[list[FlowEntry], Field(max_length=200)] = []
    """What may not be called after what."""
    limits: Annotated[list[LimitEntry], Field(max_length=200)] = []
    """How much an agent may do."""
    exceptions: Annotated[list[ExceptionEntry], Field(max_length=1000)] = []
    """What is let off, for whom and until when."""
    enforcement: EnforcementEntry | None = None
    """What follows for end users who are stopped again and again."""


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
