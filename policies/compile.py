"""Turns a parsed policy file into a `Policy`: defaults filled in, words into enums."""

from __future__ import annotations

from collections.abc import Mapping

from policies.document import Document
from policies.schema import BandEntry, Escalate, PerStage, PolicyDocument, RuleEntry
from policies.types import Action, Band, Category, Mode, Policy, PolicyTest, Rule, Rung, Stage


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
        judge_deadline_ms=defaults.judge_deadline_ms,
        on_unsupported_language=_resolved(
            defaults.on_unsupported_language, _resolved(defaults.on_unavailable, {})
        ),
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
                unsupported=frozenset(entry.given.unsupported),
                rungs=entry.given.rungs,
                text=entry.given.text,
                line=line,
                column=column,
            )
            tests.append(test)
    return tuple(tests)


def _rule(entry: RuleEntry, parsed: PolicyDocument) -> Rule:
    on_unavailable = _resolved(entry.on_unavailable, _resolved(parsed.defaults.on_unavailable, {}))
    thresholds = entry.thresholds
    return Rule(
        id=entry.id,
        category=entry.category,
        stages=frozenset(Stage(stage) for stage in entry.stages),
        bands=tuple(sorted((_band(each) for each in entry.bands), key=lambda band: -band.gte)),
        on_unavailable=on_unavailable,
        on_unsupported_language=_resolved(
            entry.on_unsupported_language,
            _resolved(parsed.defaults.on_unsupported_language, on_unavailable),
        ),
        classifiers=frozenset(name for name in entry.classifiers if name not in thresholds),
        rungs=tuple(
            Rung(name, thresholds[name]) for name in entry.classifiers if name in thresholds
        ),
        mode=Mode(entry.mode),
        code=entry.code,
        user_message=entry.message.user,
        developer_message=entry.message.developer,
    )


def _resolved(
    given: str | PerStage | None, fallback: Mapping[Stage, Action]
) -> dict[Stage, Action]:
    """Return what is given for each stage, where nothing is the fallback, and then block."""
    own = _per_stage(given)
    return {stage: own.get(stage, fallback.get(stage, Action.BLOCK)) for stage in Stage}


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
