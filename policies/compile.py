"""Turns a parsed policy file into a `Policy`: defaults filled in, words into enums."""

from __future__ import annotations

from collections.abc import Mapping

from policies.document import Document
from policies.schema import BandEntry, Escalate, PerStage, PolicyDocument, RuleEntry
from policies.types import Action, Band, Category, Mode, Policy, PolicyTest, Rule, Stage


def compile_policy(parsed: PolicyDocument, digest: str) -> Policy:
    """Return the policy that a file without contradictions means."""
    defaults = parsed.defaults
    return Policy(
        id=parsed.metadata.id,
        version=parsed.metadata.version,
        digest=digest,
        rules=tuple(_rule(entry, parsed) for entry in parsed.rules),
        categories={
            name: Category(name, entry.severity, entry.rationale, entry.clause)
            for name, entry in parsed.categories.items()
        },
        deadline_ms=defaults.deadline_ms,
        max_unscreened_chars=defaults.max_unscreened_chars,
    )


def compile_tests(parsed: PolicyDocument, document: Document) -> tuple[PolicyTest, ...]:
    """Return the inline tests of all rules, in file order."""
    tests = []
    for number, rule in enumerate(parsed.rules):
        for index, entry in enumerate(rule.tests):
            line, column = document.place(("rules", number, "tests", index))
            test = PolicyTest(
                name=entry.name,
                rule=rule.id,
                stage=Stage(entry.given.stage),
                expect=Action[entry.expect.upper()],
                scores=entry.given.scores or {},
                missing=frozenset(entry.given.missing),
                text=entry.given.text,
                line=line,
                column=column,
            )
            tests.append(test)
    return tuple(tests)


def _rule(entry: RuleEntry, parsed: PolicyDocument) -> Rule:
    fallback = _per_stage(parsed.defaults.on_unavailable)
    own = _per_stage(entry.on_unavailable)
    return Rule(
        id=entry.id,
        category=entry.category,
        stages=frozenset(Stage(stage) for stage in entry.stages),
        bands=tuple(sorted((_band(each) for each in entry.bands), key=lambda band: -band.gte)),
        on_unavailable={
            stage: own.get(stage, fallback.get(stage, Action.BLOCK)) for stage in Stage
        },
        classifiers=frozenset(entry.classifiers),
        mode=Mode(entry.mode),
        code=entry.code,
        user_message=entry.message.user,
        developer_message=entry.message.developer,
    )


def _per_stage(given: str | PerStage | None) -> Mapping[Stage, Action]:
    if given is None:
        return {}
    if isinstance(given, str):
        return dict.fromkeys(Stage, Action[given.upper()])
    named = given.model_dump(exclude_none=True)
    return {Stage(stage): Action[action.upper()] for stage, action in named.items()}


def _band(entry: BandEntry) -> Band:
    words = [action for action in entry.actions if isinstance(action, str)]
    told = [action.escalate for action in entry.actions if isinstance(action, Escalate)]
    main = [Action[word.upper()] for word in words if word != "strike"]
    return Band(
        gte=entry.gte,
        action=main[0] if main else Action.FLAG,
        strike="strike" in words,
        escalate=told[0] if told else None,
    )
