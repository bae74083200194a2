"""Made-up policies, requests and classifiers' answers, all from one source of chance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from classifiers.types import Assessment, Passage, Span, Verdict
from policies.apply import apply
from policies.cascade import assess
from policies.circumstances import AgeGroup, Circumstances, Scope
from policies.conditions import compile_condition
from policies.effects import effective, stopping
from policies.evaluate import evaluate
from policies.testing import SOURCE_AT
from policies.trail import NOTHING_YET, Step, Trail
from policies.types import (
    Action,
    Band,
    Mode,
    Policy,
    PolicyException,
    Redactor,
    Rule,
    Rung,
    Stage,
)
from tests.unit.policies.obvious import CONDITIONS, OF_CALLS, UNSUPPORTED, Found, Said, World

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CATEGORIES = "abcd"  # `d` is one that hardly anybody answers for
NUMBERS = (0.0, 0.1, 0.25, 0.5, 0.6, 0.75, 0.9, 1.0)
FALLBACKS = (Action.ALLOW, Action.FLAG, Action.WARN, Action.REVIEW, Action.BLOCK)
KINDS = ("email", "card", "a", "b")
WORDS = {"": "no", "de": "nein", "de-at": "na"}
REDACTORS = {
    "mail": Redactor(frozenset({"email"}), "<mail>"),
    "all": Redactor(frozenset(KINDS)),
    "none": Redactor(frozenset({"phone"}), "***"),
}
DISCLAIMERS = {"careful": WORDS, "same": {"": "no"}, "empty": {"": ""}}

condition = cache(compile_condition)


def some(chance, of):
    """A part of `of`, not empty."""
    return chance.sample(list(of), chance.randint(1, len(of)))


def maybe(chance, percent, value):
    return value() if chance.random() * 100 < percent else None


def a_scope(chance):
    return Scope(
        projects=maybe(chance, 30, lambda: tuple(some(chance, ["shop", "red-*", "*"]))),
        tiers=maybe(chance, 15, lambda: tuple(some(chance, ["free", "pro"]))),
        age_groups=maybe(chance, 15, lambda: tuple(some(chance, ["minor", "adult", "unknown"]))),
        endpoints=maybe(chance, 15, lambda: tuple(some(chance, ["chat", "responses"]))),
        models=maybe(chance, 15, lambda: tuple(some(chance, ["gpt-*", "*-20b", "other"]))),
        locales=maybe(chance, 15, lambda: tuple(some(chance, ["de", "de-AT", "en", "*"]))),
    )


def circumstances(chance):
    return Circumstances(
        project=chance.choice(["shop", "red-team", "default"]),
        tier=chance.choice(["free", "pro"]),
        endpoint=chance.choice(["chat", "responses"]),
        model=chance.choice(["gpt-oss-20b", "gpt-oss-120b", "other"]),
        stream=chance.random() < 0.5,
        tools=tuple(chance.sample(["pay", "browse", "mail"], chance.randint(0, 3))),
        age_group=chance.choice(list(AgeGroup)),
        locale=chance.choice(["", "de", "de-AT", "de-CH", "en-GB"]),
        end_user=chance.choice([None, "u1", "u2", "u3", "u4"]),
        strikes=chance.randint(0, 5),
        access=frozenset(chance.sample(["biology", "cyber"], chance.randint(0, 2))),
    )


def bands(chance):
    """Highest first, and none that is milder than a lower one: as the loader has them."""
    count = chance.randint(1, 3)
    chosen = [chance.choice(list(Action)) for _ in range(count)]
    starts = sorted(chance.sample(NUMBERS, count), reverse=True)
    actions = sorted(
        ((action, action is Action.BLOCK and chance.random() < 0.3) for action in chosen),
        reverse=True,
    )
    return tuple(
        Band(
            gte,
            action,
            strike=chance.random() < 0.3,
            stop=stop,
            alert=chance.random() < 0.2,
            redactor=maybe(chance, 70, lambda: chance.choice(["mail", "all", "none"]))
            if action is Action.REDACT
            else None,
            disclaimer=maybe(chance, 20, lambda: chance.choice(list(DISCLAIMERS))),
        )
        for gte, (action, stop) in zip(starts, actions, strict=True)
    )


def fallbacks(chance):
    return {stage: chance.choice(FALLBACKS) for stage in Stage if chance.random() < 0.8}


def a_rule(chance, name):
    rungs = ()
    classifiers = frozenset()
    if chance.random() < 0.5:
        classifiers = frozenset(
            some(chance, ["r1", "r2", "j1"] if chance.random() < 0.3 else ["r1", "r2"])
        )
        if chance.random() < 0.7:
            judges = chance.sample(["j1", "j2", "gone"], chance.randint(1, 2))
            rungs = tuple(
                Rung(judge, chance.choice(NUMBERS)) for judge in judges if judge not in classifiers
            )
    return Rule(
        id=name,
        category=chance.choice(CATEGORIES),
        stages=frozenset(some(chance, Stage)),
        bands=bands(chance),
        on_unavailable=fallbacks(chance),
        on_unsupported_language=fallbacks(chance) if chance.random() < 0.5 else {},
        classifiers=classifiers,
        rungs=rungs,
        mode=chance.choice([Mode.ENFORCE, Mode.ENFORCE, Mode.SHADOW, Mode.CANARY]),
        canary_percent=chance.choice([0, 5, 50, 100]),
        scope=a_scope(chance) if chance.random() < 0.5 else Scope(),
        when=maybe(chance, 40, lambda: condition(chance.choice([*CONDITIONS, *OF_CALLS]))),
        exemptible=chance.random() < 0.7,
        code=f"code_{name}",
        user_message=WORDS[""],
        user_messages=WORDS,
        developer_messages={"": ""},
    )


def a_fact(chance, name):
    """A rule whose condition alone decides."""
    action = chance.choice([Action.FLAG, Action.WARN, Action.REVIEW, Action.BLOCK])
    return replace(
        a_rule(chance, name),
        bands=(Band(1.0, action, strike=chance.random() < 0.3),),
        on_unavailable=dict.fromkeys(Stage, action),
        on_unsupported_language={},
        classifiers=frozenset(),
        rungs=(),
        when=condition(chance.choice([*CONDITIONS, *OF_CALLS])),
        factual=True,
    )


def a_step(chance, *, new=False):
    scores = {name: chance.choice(NUMBERS) for name in "abc" if chance.random() < 0.8}
    digest = chance.choice(["one", "other"])
    return Step(
        chance.choice(["web", "pay", "mail"]), 10, chance.randint(0, 2), new, digest, scores
    )


def a_trail(chance, stage):
    """What happened before; a call is made at its stage alone, and not always."""
    if chance.random() < 0.2:
        return NOTHING_YET
    steps = [a_step(chance) for _ in range(chance.randint(0, 5))]
    cut = chance.randint(0, len(steps))
    makes = stage is Stage.TOOL_CALL and chance.random() < 0.7
    call = a_step(chance, new=True) if makes else None
    return Trail(tuple(steps[:cut]), tuple(steps[cut:]), chance.choice([0, 50, 200]), call, "{}")


def an_exception(chance, name, rules):
    since = NOW + timedelta(hours=chance.choice([-2, -1, 0, 1]))
    return PolicyException(
        id=name,
        rule=chance.choice(rules),
        action=chance.choice([Action.ALLOW, Action.FLAG, Action.WARN]),
        since=since,
        until=since + timedelta(hours=chance.choice([1, 2, 3])),
        scope=a_scope(chance) if chance.random() < 0.4 else Scope(),
    )


def a_policy(chance, most=6):
    names = [f"rule-{number}" for number in range(chance.randint(1, most))]
    return Policy(
        id="made-up",
        version="1.0.0",
        digest="00",
        rules=tuple(
            a_fact(chance, name) if chance.random() < 0.2 else a_rule(chance, name)
            for name in names
        ),
        exceptions=tuple(
            an_exception(chance, f"EX-{number}", names) for number in range(chance.randint(0, 3))
        ),
        redactors=REDACTORS,
        disclaimers=DISCLAIMERS,
    )


def said(chance, *, judge):
    kind = chance.random()
    if kind < 0.12:
        return Said(None, chance.choice(["timeout", "failed", UNSUPPORTED, UNSUPPORTED]))
    if kind < 0.5:
        return Said()
    score = chance.choice(NUMBERS) if chance.random() < 0.7 else chance.random()
    spans = ()
    if not judge and score > 0 and chance.random() < 0.6:
        spans = tuple(
            Span(start, start + 2, chance.choice(KINDS))
            for start in chance.sample(range(0, 8, 2), chance.randint(1, 2))
        )
    return Said(score, None, spans)


def a_world(chance):
    lengths = (10,) * chance.randint(1, 3)
    readers = {"r1": frozenset("abc"), "r2": frozenset(some(chance, "abd"))}
    if chance.random() < 0.2:
        del readers["r2"]
    judges = {"j1": frozenset("abcd"), "j2": frozenset(some(chance, "abc"))}
    if chance.random() < 0.2:
        del judges["j1"]
    says = {
        (name, passage, category): said(chance, judge=name in judges)
        for name, known in {**readers, **judges}.items()
        for category in sorted(known)
        for passage in range(len(lengths))
    }
    return World(lengths, readers, judges, says)


# --- The real thing on the same world -----------------------------------------------------


def versioned(name):
    return f"{name}@1"


class WorldPanel:
    """Answers as the world does, and only what is asked."""

    def __init__(self, world):
        self.world = world
        self.covered = _by_category(world.readers)
        self.on_request = _by_category(world.judges)

    def _verdicts(self, name, passage, categories):
        for category in sorted(categories):
            said = self.world.asked(name, passage, category)
            if said.score != 0:
                yield Verdict(versioned(name), category, said.score, said.spans, said.reason)

    async def judge(self, passages, deadline_ms):
        verdicts = tuple(
            tuple(
                verdict
                for name, known in self.world.readers.items()
                for verdict in self._verdicts(name, index, known)
            )
            for index in range(len(passages))
        )
        return Assessment(passages, verdicts, (), self.covered, self.on_request)

    async def ask(self, assessment, inquiries, deadline_ms):
        verdicts = list(assessment.verdicts)
        asked = dict(assessment.asked)
        for inquiry in inquiries:
            name = inquiry.classifier.partition("@")[0]
            for index, wanted in inquiry.wanted.items():
                verdicts[index] += tuple(self._verdicts(name, index, wanted))
            asked[inquiry.classifier] = asked.get(inquiry.classifier, frozenset()) | {
                (index, category) for index, wanted in inquiry.wanted.items() for category in wanted
            }
        return Assessment(
            assessment.passages,
            tuple(verdicts),
            (),
            assessment.covered,
            assessment.on_request,
            asked,
        )


def _by_category(names):
    categories = {category for known in names.values() for category in known}
    return {
        category: frozenset(versioned(name) for name, known in names.items() if category in known)
        for category in sorted(categories)
    }


def passages_of(world, stage):
    return tuple(Passage(SOURCE_AT[stage], "x" * length) for length in world.lengths)


def decided(policy, given, now, stage, world, trail=NOTHING_YET):
    """What the product decides: narrowed, asked in rungs, evaluated."""
    narrowed = apply(policy, given, now)
    asking = assess(WorldPanel(world), narrowed, stage, passages_of(world, stage))
    try:
        asking.send(None)  # nobody waits for anything here, so there is no loop to run
    except StopIteration as done:
        return evaluate(narrowed, stage, done.value, given, trail)
    raise AssertionError("a panel that waits")


def comparable(decision):
    acting = [outcome for outcome in decision.outcomes if not outcome.shadow]
    return Found(
        action=decision.action,
        determining=decision.determining_rules,
        strikes=frozenset(outcome.rule for outcome in acting if outcome.strike),
        stops=frozenset(stopping(decision)),
        alerts=frozenset(each.rule for each in acting if each.alert and effective(each)),
        exceptions=frozenset(
            (outcome.rule, outcome.exception)
            for outcome in decision.outcomes
            if outcome.exception and outcome.action > Action.ALLOW
        ),
        disclaimers=decision.disclaimers,
        redactions=frozenset(
            (each.passage, each.span.start, each.span.end, each.span.kind, each.replacement)
            for each in decision.redactions
            if decision.action is Action.REDACT
        ),
        code=decision.code,
        message=decision.user_message,
        shadows=frozenset(
            (outcome.rule, outcome.action)
            for outcome in decision.outcomes
            if outcome.shadow and outcome.action > Action.ALLOW
        ),
    )
