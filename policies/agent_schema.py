"""What a policy may say about what agents do: `tools`, `flows` and `limits`. Shapes only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from policies.rule_schema import (
    BandAction,
    InlineTestEntry,
    MessageEntry,
    RuleMode,
    ScopeEntry,
)
from policies.words import ActionName, CategoryId, Part, Patterns, Probability, RuleId

Actions = Annotated[list[BandAction], Field(min_length=1, max_length=8)]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Period = Literal["conversation", "turn", "reply"]
Pointer = Annotated[str, Field(pattern=r"^(/([^~/]|~0|~1)*)+$", max_length=400)]
Expression = Annotated[str, Field(min_length=1, max_length=2000)]
Like = Annotated[str, Field(min_length=1, max_length=500)]
Number = Annotated[float, Field(strict=False, allow_inf_nan=False)]


class ConductEntry(Part):
    """What every part of `flows`, `limits` and `tools.listed` may say."""

    id: RuleId
    """Stable id, quoted in decisions."""
    scope: ScopeEntry = ScopeEntry()
    """For whom it is."""
    mode: RuleMode = "enforce"
    """`enforce`, `shadow` (decided and recorded only), or a canary."""
    locked: bool = False
    """A policy that includes this one may only tighten it."""
    exemptible: bool = True
    """Exceptions may touch it."""
    message: MessageEntry = MessageEntry()
    """What is said when it stops something."""
    tests: list[InlineTestEntry] = []
    """What it must do, checked before the policy is in force."""


class AfterEntry(Part):
    """What has to have happened before: a result, or a call."""

    result_of: Patterns | None = None
    """A result of one of these functions; `*` stands for any characters."""
    call_of: Patterns | None = None
    """Instead: a call of one of these functions."""
    category: CategoryId | None = None
    """Only if it scored in this category. A score that nobody could give counts as reached."""
    gte: Probability | None = None
    """From which score on."""
    within: Period = "conversation"
    """Since when: in the whole `conversation`, in this `turn` (since the last message of the
    user), or in this `reply` alone."""


class FlowEntry(ConductEntry):
    """After one thing, calls of some functions are stopped."""

    after: AfterEntry
    """What has to have happened before."""
    calls_to: Patterns
    """The functions whose calls it is about; `*` stands for any characters."""
    actions: Actions = ["block"]
    """What is done about them."""
    on_unsupported_language: ActionName | None = None
    """Instead, where what came before was not scored because of its language alone, and what came
    of scores is too low; without it as in `defaults`, and then as if it had scored high."""
    code: Code = "data_flow_denied"
    """The error code that the caller sees."""


class LimitEntry(ConductEntry):
    """How much of something there may be; exactly one of the five measures."""

    per: Period = "conversation"
    """In the whole `conversation`, in one `turn` (since the last message of the user), or in one
    `reply`."""
    tools: Patterns | None = None
    """Only calls, or results, of these functions count."""
    calls: Count | None = None
    """Most calls."""
    same_call: Count | None = None
    """Most calls of one function with the same arguments."""
    result_chars: Count | None = None
    """Most characters of results, together."""
    one_result_chars: Count | None = None
    """Most characters of one result."""
    reasoning_chars: Count | None = None
    """Most characters of thought, in one reply; a token is about four."""
    actions: Actions = ["block"]
    """What is done about what goes beyond."""
    code: Code = "agent_limit_reached"
    """The error code that the caller sees."""


class ArgumentEntry(Part):
    """What an argument has to be; everything that is given has to agree."""

    matches: Expression | None = None
    """The whole text is one that this expression (RE2) matches."""
    contains: Expression | None = None
    """The expression (RE2) matches somewhere in the text."""
    like: Annotated[list[Like], Field(min_length=1, max_length=200)] | None = None
    """The text is one of these; `*` stands for any characters but control characters."""
    at_least: Number | None = None
    """It is a number, and no smaller."""
    at_most: Number | None = None
    """It is a number, and no larger."""


class ToolEntry(ConductEntry):
    """Functions, and what is done about calls of them."""

    tools: Patterns
    """Their names; `*` stands for any characters."""
    arguments: Annotated[dict[Pointer, ArgumentEntry], Field(max_length=50)] = {}
    """What the arguments have to be, by JSON pointer (`/to`, `/to/0`, `/to/*` for every member
    of a list)."""
    actions: Actions
    """What is done about a call whose arguments are so; `allow` for nothing."""
    otherwise: Actions | None = None
    """What is done about the other calls of them; without it, what is done about functions that
    are not listed."""
    code: Code = "tool_call_denied"
    """The error code that the caller sees."""


class ResultsEntry(Part):
    """What becomes of the results of some functions; of several entries the strictest counts."""

    tools: Patterns
    """Of which functions; `*` stands for any characters."""
    cut_at: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """How many characters the model reads of each; a line says that there were more."""
    spotlight: Literal["none", "delimit", "mark", "encode"] = "none"
    """How it is set apart for the model: between marks that nobody can foresee, also with a sign
    for every space, or in base64."""


class ToolsEntry(Part):
    """Which functions the model may call, and with which arguments."""

    id: RuleId
    """Stable id: `ID.unlisted` and `ID.malformed` are quoted in decisions."""
    unlisted: Actions = ["block"]
    """What is done about calls of functions that are not listed."""
    malformed: Actions = ["block"]
    """What is done about arguments that are not one JSON object, or name a member twice."""
    listed: Annotated[list[ToolEntry], Field(max_length=500)] = []
    """The functions. Of several that fit a call the strictest counts, whatever the order."""
    offered: Literal["all", "listed"] = "all"
    """Whether the model is told of functions that are not listed."""
    locked: bool = False
    """A policy that includes this one may only tighten `unlisted` and `malformed`."""
    message: MessageEntry = MessageEntry()
    """What is said when `unlisted` or `malformed` stop a call."""
    tests: list[InlineTestEntry] = []
    """What the list must do, checked before the policy is in force."""
