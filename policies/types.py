"""The policy vocabulary: rules in, one decision out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from classifiers.types import Receipt, Source, Span, Verdict
from policies.circumstances import EVERYBODY, Scope
from policies.conditions import Condition
from policies.ladder import Ladder
from policies.terms import NO_TERMS, Terms

Words = Mapping[str, str]  # a text by language tag; the default's tag is empty


class Stage(StrEnum):
    """The five places where an exchange is judged, in the order they happen."""

    INPUT = "input"
    TOOL_RESULT = "tool_result"
    REASONING = "reasoning"
    TOOL_CALL = "tool_call"
    OUTPUT = "output"


STAGE_OF: Mapping[Source, Stage] = {
    Source.SYSTEM: Stage.INPUT,
    Source.DEVELOPER: Stage.INPUT,
    Source.USER: Stage.INPUT,
    Source.ASSISTANT: Stage.INPUT,
    Source.TOOL: Stage.TOOL_RESULT,
    Source.ANALYSIS: Stage.REASONING,
    Source.CALL: Stage.TOOL_CALL,
    Source.COMMENTARY: Stage.OUTPUT,
    Source.FINAL: Stage.OUTPUT,
}


class Action(IntEnum):
    """What to do with an exchange, mildest first, so `max()` picks the strictest."""

    ALLOW = 0
    FLAG = 1  # release it and mark the record
    WARN = 2  # release it and tell the caller
    REDACT = 3  # replace the matched spans, then release it
    REVIEW = 4  # hold it for a human; until one decides, nothing is released
    BLOCK = 5  # release nothing of it


class Mode(StrEnum):
    """Whether a rule acts on what it finds."""

    ENFORCE = "enforce"
    SHADOW = "shadow"  # decided and recorded, never enforced
    CANARY = "canary"  # enforced for a share of the end users, shadow for the others


@dataclass(frozen=True, slots=True)
class Band:
    """Scores of at least `gte` take `action`.

    Attributes:
        gte: Probability in [0, 1].
        action: The main action.
        strike: Whether it counts against the end user.
        escalate: Who is told, or None.
        stop: Whether it stops the whole conversation; the action is BLOCK then.
        alert: Whether the project is told by an alert.
        redactor: Which of the policy's redactors REDACT uses; None hides what was found.
        disclaimer: Which of the policy's disclaimers is put behind the reply, or None.
    """

    gte: float
    action: Action
    strike: bool = False
    escalate: str | None = None
    redactor: str | None = None
    disclaimer: str | None = None
    stop: bool = False
    alert: bool = False


@dataclass(frozen=True, slots=True)
class Redactor:
    """What a redaction hides, and what it puts in its place.

    Attributes:
        types: Kinds of spans, such as `email`; others are left as they are.
        replacement: May hold `{type}`; no quote, backslash or control character, so that
            what was JSON stays JSON.
    """

    types: frozenset[str]
    replacement: str = "[{type}]"


@dataclass(frozen=True, slots=True)
class Rung:
    """A judge that a rule asks while it is in doubt.

    Attributes:
        classifier: Its name, without version.
        escalate_at: It is asked about a passage that the rung before scored at least
            this, a probability in [0, 1], or could not score.
    """

    classifier: str
    escalate_at: float


@dataclass(frozen=True, slots=True)
class Rule:
    """One category, watched at some stages.

    Attributes:
        id: Stable id, quoted in decisions and in the decision log.
        category: Harm category id this rule watches.
        stages: Where it applies.
        bands: Highest `gte` first.
        classifiers: Names (without version) whose verdicts count; empty means any.
        on_unavailable: What to do at each stage when no classifier could answer.
        on_unsupported_language: The same, where the only reason is that the text is in a
            language they were not made for; a stage that is not listed takes
            `on_unavailable`.
        rungs: Who is asked after `classifiers`, in order. The last one that answered
            about a passage is the one that counts; see `policies.cascade`.
        mode: Whether it acts.
        canary_percent: For which share of the end users a CANARY acts, 0 to 100.
        scope: For whom; see `policies.apply`.
        when: A further condition on the request, or None.
        factual: Whether the condition alone decides: nobody is asked, and the score is 1
            where it holds.
        locked: Whether a policy that includes this one may only tighten it.
        exemptible: Whether an exception may make it milder.
        exception: The id of the exception that does so for this exchange, or None.
        origin: The id of the policy that wrote it.
        code: The error code a caller sees when this rule blocks.
        user_message: What the end user is told when this rule blocks.
        developer_message: What the application's developer is told.
        user_messages: The former by language.
        developer_messages: The latter by language.
        least: The lowest score that could make it do, or ask, anything; derived.
    """

    id: str
    category: str
    stages: frozenset[Stage]
    bands: tuple[Band, ...]
    on_unavailable: Mapping[Stage, Action]
    classifiers: frozenset[str] = frozenset()
    on_unsupported_language: Mapping[Stage, Action] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = ()
    mode: Mode = Mode.ENFORCE
    canary_percent: int = 100
    scope: Scope = EVERYBODY
    when: Condition | None = None
    factual: bool = False
    locked: bool = False
    exemptible: bool = True
    exception: str | None = None
    origin: str = ""
    code: str = "content_filter"
    user_message: str = ""
    developer_message: str = ""
    user_messages: Words = field(default_factory=dict)
    developer_messages: Words = field(default_factory=dict)
    least: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note once what every decision asks."""
        starts = [band.gte for band in self.bands]
        starts += [rung.escalate_at for rung in self.rungs[:1]]
        object.__setattr__(self, "least", min(starts, default=math.inf))


@dataclass(frozen=True, slots=True)
class Category:
    """A harm category as the policy's author sees it."""

    id: str
    severity: str = "medium"  # low, medium, high, critical
    rationale: str = ""
    clause: str = ""


@dataclass(frozen=True, slots=True)
class PolicyException:
    """For a while and for some, a rule does less than it says.

    Attributes:
        id: Stable id, quoted in decisions.
        rule: The id of the rule.
        action: The most that the rule may still do.
        since: From when on.
        until: Before when.
        scope: For whom.
        reason: Why.
        ticket: Where it was asked for.
        approved_by: Two people or more.
    """

    id: str
    rule: str
    action: Action
    since: datetime
    until: datetime
    scope: Scope = EVERYBODY
    reason: str = ""
    ticket: str = ""
    approved_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Included:
    """Another policy whose rules are part of this one.

    Attributes:
        id: Its id.
        version: The version that was taken.
        digest: Its digest, hex.
    """

    id: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A set of rules, identified by the digest of its resolved form.

    Attributes:
        id: `metadata.id` of the file.
        version: `metadata.version`, semantic.
        digest: SHA-256 of the RFC 8785 JSON of the resolved policy, hex.
        rules: Included ones first, then in file order; the order never changes a decision.
        categories: By id.
        exceptions: In file order, those of included policies too.
        redactors: By name. `disclaimers` too, each by language.
        ladders: What strikes lead to; the harshest counts.
        effective_from: Before this it is not to come into force, or None.
        effective_until: From here on it should have been replaced, or None.
        includes: Whose rules it has taken, those that they include too.
        deadline_ms: How long classifiers may take per 8,000 code points begun, milliseconds.
        judge_deadline_ms: How long each rung of judges may take beside that, milliseconds.
        on_unsupported_language: What the defaults say for rules that a caller adds.
        max_unscreened_chars: The leak budget of a stream, code points released and not judged.
        terms: What it does with tools and results before anything is decided.
        spools: Whether records may wait on disk while the log cannot be written.
        rules_at: The rules of each stage, in file order; `choosy_at` those that name classifiers.
    """

    id: str
    version: str
    digest: str
    rules: tuple[Rule, ...]
    categories: Mapping[str, Category] = field(default_factory=dict)
    exceptions: tuple[PolicyException, ...] = ()
    redactors: Mapping[str, Redactor] = field(default_factory=dict)
    disclaimers: Mapping[str, Words] = field(default_factory=dict)
    ladders: tuple[Ladder, ...] = ()
    effective_from: datetime | None = None
    effective_until: datetime | None = None
    includes: tuple[Included, ...] = ()
    deadline_ms: int = 400
    max_unscreened_chars: int = 0
    judge_deadline_ms: int = 5000
    spools: bool = False
    on_unsupported_language: Mapping[Stage, Action] = field(default_factory=dict)
    terms: Terms = NO_TERMS
    rules_at: Mapping[Stage, tuple[Rule, ...]] = field(init=False, repr=False, compare=False)
    choosy_at: Mapping[Stage, tuple[Rule, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the rules by stage once, because every decision asks for them."""
        by_stage: dict[Stage, list[Rule]] = {stage: [] for stage in Stage}
        choosy: dict[Stage, list[Rule]] = {stage: [] for stage in Stage}
        for rule in self.rules:
            for stage in rule.stages:
                by_stage[stage].append(rule)
                if rule.classifiers or rule.rungs:
                    choosy[stage].append(rule)
        for name, found in (("rules_at", by_stage), ("choosy_at", choosy)):
            object.__setattr__(self, name, {stage: tuple(each) for stage, each in found.items()})


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one rule made of one stage; only rules that did not simply allow are kept.

    A rule whose judge found nothing in what looked suspicious has not simply allowed.

    Attributes:
        rule: The rule's id.
        category: Its category.
        score: The highest score that counted, or None when there was no answer.
        action: What it calls for.
        shadow: Whether it was decided but not enforced.
        unavailable: Whether the action is the rule's `on_unavailable`.
        strike: Whether it counts against the end user.
        escalate: Who is told, or None.
        classifier: Name and version of the classifier whose score it is: the active
            rung. None if nobody scored above 0.
        suspicion: The highest score that a later rung overruled, or None.
        missing: Why answers that it needed did not come, as reason codes, in order;
            `condition` where its own condition could not be told.
        exception: The exception that made it milder, or None.
        disclaimer: What is put behind the reply, by name, or None.
        stop: Whether it stops the conversation.
        alert: Whether it raises an alert.
    """

    rule: str
    category: str
    score: float | None
    action: Action
    shadow: bool = False
    unavailable: bool = False
    strike: bool = False
    escalate: str | None = None
    classifier: str | None = None
    suspicion: float | None = None
    missing: tuple[str, ...] = ()
    exception: str | None = None
    disclaimer: str | None = None
    stop: bool = False
    alert: bool = False


@dataclass(frozen=True, slots=True)
class Redaction:
    """A span of one passage to be replaced; `passage` indexes the judged passages."""

    passage: int
    span: Span
    replacement: str = "[{type}]"

    @property
    def sign(self) -> str:
        """What stands in the span's place."""
        return self.replacement.replace("{type}", self.span.kind)


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a policy at one stage, with the rules that determined it.

    Attributes:
        stage: Where it was taken.
        action: The strictest action called for by an enforced rule.
        determining_rules: Ids of the enforced rules that called for `action`, in policy
            order; empty for ALLOW.
        outcomes: Every rule that matched or could not be answered, shadow rules too.
        policy_id: The policy's id.
        policy_version: The policy's version.
        policy_digest: The policy's digest.
        receipts: What was read by which classifier, and what was not.
        redactions: What to replace before release, when `action` is REDACT.
        code: The error code a caller sees when blocked.
        user_message: What the end user is told when blocked.
        developer_message: What the developer is told when blocked.
        scores: The highest score seen per category, for the `moderation` surface. Where a
            judge answered about a passage, its answer stands for those it was asked after.
        unscored: Categories with an answer missing, and why; a score that stands in
            `scores` all the same is a lower bound.
        verdicts: What the classifiers said about each passage, scores of 0 left out.
        covered: Who is asked about everything, by category.
        on_request: Who is asked only where it is wanted, by category.
        asked: Who of them was asked about what; see `Assessment`.
        disclaimers: Texts to put behind the reply, in policy order.
    """

    stage: Stage
    action: Action
    determining_rules: tuple[str, ...]
    outcomes: tuple[RuleOutcome, ...]
    policy_id: str
    policy_version: str
    policy_digest: str
    receipts: tuple[Receipt, ...] = ()
    redactions: tuple[Redaction, ...] = ()
    code: str = "content_filter"
    user_message: str = ""
    developer_message: str = ""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    unscored: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[tuple[Verdict, ...], ...] = ()
    covered: Mapping[str, frozenset[str]] = field(default_factory=dict)
    on_request: Mapping[str, frozenset[str]] = field(default_factory=dict)
    asked: Mapping[str, frozenset[tuple[int, str]]] = field(default_factory=dict)
    disclaimers: tuple[str, ...] = ()

    @property
    def released(self) -> bool:
        """Whether the judged text may go on, redacted or not."""
        return self.action < Action.REVIEW
