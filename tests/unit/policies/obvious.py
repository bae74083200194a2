"""A second evaluator of the policy language: slow, and as plain as its documentation.

Written from docs/policies.md and what the modules promise, not from their code, to be held
against it. It knows what every classifier would answer, so it need not ask in rungs; it
looks at one rule and one passage at a time and remembers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from classifiers.types import Span
from policies.apply import in_canary
from policies.effects import STOPPED
from policies.types import Action, Mode, Stage

UNSUPPORTED = "unsupported_language"
NOT_THERE = "not_asked"


@dataclass(frozen=True)
class Said:
    """What one classifier says about one passage in one category."""

    score: float | None = 0.0
    reason: str | None = None
    spans: tuple[Span, ...] = ()


NOTHING = Said()


@dataclass(frozen=True)
class World:
    """Every classifier with the categories it knows, and everything it would say.

    `says` is by name (without version), passage and category; what is not in it is NOTHING.
    """

    lengths: tuple[int, ...]  # of the passages
    readers: Mapping[str, frozenset[str]]
    judges: Mapping[str, frozenset[str]]
    says: Mapping[tuple[str, int, str], Said] = field(default_factory=dict)

    def readers_of(self, category):
        return [name for name, known in self.readers.items() if category in known]

    def knows(self, name, category):
        return category in self.readers.get(name, ()) or category in self.judges.get(name, ())

    def asked(self, name, passage, category):
        """What somebody answers who is asked; whoever is not there has no answer."""
        if not self.knows(name, category):
            return Said(None, NOT_THERE)
        return self.says.get((name, passage, category), NOTHING)


@dataclass(frozen=True)
class Found:
    """What there is to compare with."""

    action: Action
    determining: tuple[str, ...]
    strikes: frozenset[str]
    stops: frozenset[str]
    alerts: frozenset[str]
    exceptions: frozenset[tuple[str, str]]
    disclaimers: tuple[str, ...]
    redactions: frozenset[tuple[int, int, int, str, str]]
    code: str
    message: str
    shadows: frozenset[tuple[str, Action]]


# A condition's text is one of these; its truth is told without CEL. None: it cannot be told.
Truth = Callable[["Asking"], bool | None]


@dataclass(frozen=True)
class Asking:
    """What a condition looks at."""

    given: object
    stage: Stage
    score: float | None  # None where an answer is missing
    scores: Mapping[str, float]
    trail: object


def some_of(steps, truth):
    """Whether it is so of one: one that is, is enough; one that cannot be told leaves a doubt."""
    told = [truth(step) for step in steps]
    return True if True in told else None if None in told else False


def opposite(truth):
    return None if truth is None else not truth


def of_web(step):
    return step.tool == "web" and above(step.scores.get("a"), 0.5)


def above(score, bound):
    return None if score is None else score >= bound


def both(*truths):
    return False if False in truths else None if None in truths else True


def either(one, other):
    if one is True or other is True:
        return True
    return None if one is None or other is None else False


CONDITIONS: Mapping[str, Truth] = {
    "user.strikes >= 3": lambda of: of.given.strikes >= 3,
    "user.age_group == 'minor'": lambda of: of.given.age_group == "minor",
    "!('biology' in request.access)": lambda of: "biology" not in of.given.access,
    "size(request.tools) > 1 || request.stream": lambda of: (
        len(of.given.tools) > 1 or of.given.stream
    ),
    "'pay' in request.tools": lambda of: "pay" in of.given.tools,
    "request.model.startsWith('gpt') && request.endpoint == 'chat'": lambda of: (
        of.given.model.startswith("gpt") and of.given.endpoint == "chat"
    ),
    "request.locale == '' || request.tier == 'pro'": lambda of: (
        of.given.locale == "" or of.given.tier == "pro"
    ),
    "stage == 'input'": lambda of: of.stage == Stage.INPUT,
    "score >= 0.6": lambda of: above(of.score, 0.6),
    "scores['b'] >= 0.5": lambda of: above(of.scores.get("b"), 0.5),
    "scores['c'] >= 0.25 || request.stream": lambda of: either(
        above(of.scores.get("c"), 0.25), of.given.stream
    ),
    "scores['nobody'] > 0.1": lambda of: None,
    "user.strikes / 0 == 1": lambda of: None,
    "trajectory.results.exists(r, r.tool == 'web' && r.scores['a'] >= 0.5)": lambda of: some_of(
        of.trail.results, of_web
    ),
    "!trajectory.results.exists(r, r.tool == 'web' && r.scores['a'] >= 0.5)": lambda of: opposite(
        some_of(of.trail.results, of_web)
    ),
    "trajectory.calls.exists(c, c.turns_ago == 0 && c.scores['b'] > 0.25)": lambda of: some_of(
        of.trail.calls, lambda c: c.turns_ago == 0 and above(c.scores.get("b"), 0.2500001)
    ),
    "size(trajectory.calls) > 1 || trajectory.reasoning_chars > 100": lambda of: (
        len(of.trail.calls) > 1 or of.trail.reasoning_chars > 100
    ),
    "stage == 'tool_call' && scores['a'] > 0.3 && size(trajectory.results) > 0": lambda of: both(
        of.stage == Stage.TOOL_CALL, above(of.scores.get("a"), 0.3000001), len(of.trail.results) > 0
    ),
}

# Those about the call that is being made, and about nothing else.
OF_CALLS: Mapping[str, Truth] = {
    "call.tool == 'pay'": lambda of: of.trail.call.tool == "pay",
    "call.scores['a'] >= 0.5": lambda of: above(of.trail.call.scores.get("a"), 0.5),
    "trajectory.calls.exists(c, c.digest == call.digest)": lambda of: some_of(
        of.trail.calls, lambda c: c.digest == of.trail.call.digest
    ),
    'call.tool in ["pay"] && trajectory.results.exists('
    's, s.tool.matches("^we.*$") && s.scores["a"] >= 0.5)': lambda of: both(
        of.trail.call.tool == "pay", some_of(of.trail.results, of_web)
    ),
}


def decide(policy, given, now, stage, world, trail):
    """What the policy says at a stage, rule by rule."""
    rules = [rule for rule in policy.rules if stage in rule.stages and in_scope(rule.scope, given)]
    if trail.call is None:
        rules = [rule for rule in rules if rule.when is None or rule.when.text not in OF_CALLS]
    scores = scores_seen(world)
    spoken = []
    for rule in rules:
        exception = exception_for(policy, rule, given, now)
        said = what_it_does(rule, exception, stage, world)
        if said is not None and rule.when is not None:
            said = on_condition(
                rule, said, exception, Asking(given, stage, said.known, scores, trail)
            )
        if said is not None:
            spoken.append((rule, said, exception))
    acting = [each for each in spoken if acts(each[0], given)]
    action = max((said.action for _, said, _ in acting), default=Action.ALLOW)
    called = [(rule, said) for rule, said, _ in acting if said.action == action > Action.ALLOW]
    stopping = [rule for rule, said in called if said.stop]
    first = next(iter(stopping + [rule for rule, _ in called]), None)
    return Found(
        action=action,
        determining=tuple(
            rule.id for rule, said, _ in acting if said.action == action > Action.ALLOW
        ),
        strikes=frozenset(rule.id for rule, said, _ in acting if said.strike),
        stops=frozenset(rule.id for rule, said, _ in acting if said.stop),
        alerts=frozenset(rule.id for rule, said, _ in acting if said.alert),
        exceptions=frozenset(
            (rule.id, exception.id)
            for rule, said, exception in spoken
            if exception is not None and said.action > Action.ALLOW
        ),
        disclaimers=disclaimers(policy, given, acting),
        redactions=frozenset(
            hidden
            for rule, said, _ in acting
            if said.action == Action.REDACT == action
            for hidden in redacted(policy, rule, world)
        ),
        code=STOPPED if stopping else first.code if first else "content_filter",
        message=spoken_in(first.user_messages, given.locale) if first else "",
        shadows=frozenset(
            (rule.id, said.action)
            for rule, said, _ in spoken
            if not acts(rule, given) and said.action > Action.ALLOW
        ),
    )


# --- For whom -----------------------------------------------------------------------------


def in_scope(scope, given):
    return (
        one_of(scope.projects, given.project)
        and one_of(scope.tiers, given.tier)
        and one_of(scope.age_groups, given.age_group)
        and one_of(scope.endpoints, given.endpoint)
        and one_of(scope.models, given.model)
        and (
            scope.locales is None
            or any(
                tag == "*" or f"{given.locale}-".lower().startswith(f"{tag}-".lower())
                for tag in scope.locales
            )
        )
    )


def one_of(patterns, name):
    return patterns is None or any(like(pattern, str(name)) for pattern in patterns)


def like(pattern, name):
    before, star, after = pattern.partition("*")  # the patterns made here have one at most
    if not star:
        return name == pattern
    return len(name) >= len(before + after) and name.startswith(before) and name.endswith(after)


def acts(rule, given):
    if rule.mode is Mode.CANARY:
        return in_canary(rule.id, given.end_user, rule.canary_percent)
    return rule.mode is Mode.ENFORCE


def exception_for(policy, rule, given, now):
    if not rule.exemptible:
        return None
    fitting = [
        each
        for each in policy.exceptions
        if each.rule == rule.id
        and now >= each.since
        and now < each.until
        and in_scope(each.scope, given)
    ]
    return sorted(fitting, key=lambda each: (each.action, each.id))[0] if fitting else None


# --- What a rule takes from the answers ---------------------------------------------------


@dataclass
class Reading:
    """Of one passage: the score that counts, and why answers are missing."""

    score: float
    missing: set[str]


def read(rule, passage, world):
    voters = rule.classifiers or world.readers_of(rule.category)
    answers = [world.asked(name, passage, rule.category) for name in voters]
    missing = {said.reason or "failed" for said in answers if said.score is None}
    if not voters:
        missing.add(NOT_THERE)
    known = max((said.score for said in answers if said.score is not None), default=0.0)
    kept = 0.0  # what no judge may overrule, because it was too low to be put to one
    in_doubt = False  # whether it was high enough for a judge who has not answered yet
    for rung in rule.rungs:
        if not missing and known < rung.escalate_at:
            break
        in_doubt = in_doubt or known >= rung.escalate_at
        if not in_doubt:
            kept = max(kept, known)
        said = world.asked(rung.classifier, passage, rule.category)
        if said.score is None:
            missing.add(said.reason or "failed")
        else:
            known, missing, in_doubt = max(said.score, kept), set(), False
    return Reading(known, missing)


def scores_seen(world):
    """The highest score of each category by those who read everything, if none is missing."""
    found = {}
    for category in {category for known in world.readers.values() for category in known}:
        heard = [
            world.asked(name, passage, category)
            for name in world.readers_of(category)
            for passage in range(len(world.lengths))
        ]
        if all(said.score is not None for said in heard):
            found[category] = max(said.score for said in heard)
    return found


@dataclass
class Doing:
    """What a rule calls for. `known` is its score, None where an answer is missing."""

    action: Action
    strike: bool
    disclaimer: str | None
    known: float | None
    stop: bool = False
    alert: bool = False


def band_of(rule, score):
    return next((band for band in rule.bands if score >= band.gte), None)  # the highest first


def what_it_does(rule, exception, stage, world):
    """What the rule calls for, its condition apart; None if it has nothing to say."""
    if rule.factual:
        band = band_of(rule, 1.0)
        strike = band.strike and exception is None
        return Doing(capped(band.action, exception), strike, band.disclaimer, 1.0)
    readings = [read(rule, passage, world) for passage in range(len(world.lengths))]
    score = max(reading.score for reading in readings)
    missing = set().union(*(reading.missing for reading in readings))
    band = band_of(rule, score)
    if band is None and not missing:
        return None
    actions = [band.action] if band else []
    actions += [without_an_answer(rule, stage, reason) for reason in missing]
    return Doing(
        capped(max(actions), exception),
        bool(band and band.strike and exception is None),
        band.disclaimer if band else None,
        None if missing else score,
        bool(band and band.stop and exception is None),
        bool(band and band.alert and exception is None),
    )


def without_an_answer(rule, stage, reason):
    unavailable = rule.on_unavailable.get(stage, Action.BLOCK)
    if reason == UNSUPPORTED:
        return rule.on_unsupported_language.get(stage, unavailable)
    return unavailable


def capped(action, exception):
    return action if exception is None else min(action, exception.action)


def on_condition(rule, said, exception, asking):
    holds = {**CONDITIONS, **OF_CALLS}[rule.when.text](asking)
    if holds is None:
        unavailable = capped(rule.on_unavailable.get(asking.stage, Action.BLOCK), exception)
        return Doing(max(said.action, unavailable), said.strike, said.disclaimer, said.known)
    return said if holds else None


# --- What follows -------------------------------------------------------------------------


def spoken_in(words, locale):
    parts = locale.lower().split("-") if locale else []
    for count in range(len(parts), 0, -1):
        if "-".join(parts[:count]) in words:
            return words["-".join(parts[:count])]
    return words.get("", "")


def disclaimers(policy, given, acting):
    texts = []
    for _, said, _ in acting:
        words = policy.disclaimers.get(said.disclaimer, {}) if said.disclaimer else {}
        text = spoken_in(words, given.locale)
        if text and text not in texts:
            texts.append(text)
    return tuple(texts)


def redacted(policy, rule, world):
    """What a rule that redacts hides: where its classifiers found it, or the whole passage."""
    floor = min(band.gte for band in rule.bands if band.action is Action.REDACT)
    for passage, length in enumerate(world.lengths):
        reading = read(rule, passage, world)
        whole = Span(0, length, rule.category)
        if reading.score < floor:
            continue
        band = band_of(rule, reading.score)
        redactor = policy.redactors.get(band.redactor) if band and band.redactor else None
        for span in [whole] if floor <= 0 else spans(rule, passage, floor, whole, world):
            if redactor is None or span.kind in redactor.types or span.kind == rule.category:
                text = redactor.replacement if redactor else "[{type}]"
                yield passage, span.start, span.end, span.kind, text


def spans(rule, passage, floor, whole, world):
    found = []
    for name in rule.classifiers or world.readers_of(rule.category):
        said = world.asked(name, passage, rule.category)
        if said.score is not None and said.score >= floor:
            found += said.spans or (whole,)
    return found or [whole]
