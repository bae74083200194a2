from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.types import UNSUPPORTED_LANGUAGE, Assessment, Passage, Source, Span, Verdict
from policies.cascade import assess, inquiries
from policies.evaluate import evaluate
from policies.types import Action, Band, Mode, Policy, Redaction, Rule, Rung, Stage

GOOD = Passage(Source.USER, "good")
ODD = Passage(Source.USER, "odd")
ALL_BLOCK = dict.fromkeys(Stage, Action.BLOCK)
NO_ANSWER = Verdict("", "", None, error="timeout")
FOREIGN = Verdict("", "", None, error=UNSUPPORTED_LANGUAGE)


class Table:
    """A panel that looks its answers up: (classifier, category, text) -> score or verdict.

    What is not in the table scored 0. Remembers what each judge was asked.
    """

    def __init__(self, answers, always=("patterns", "encoder"), judges=("safeguard", "guard")):
        self.answers, self.always, self.judges = answers, always, judges
        self.asked = []

    async def judge(self, passages, deadline_ms):
        return Assessment(
            tuple(passages),
            tuple(self.verdicts(self.always, passage) for passage in passages),
            (),
            {category: frozenset(f"{n}@1" for n in self.always) for category in CATEGORIES},
            {category: frozenset(f"{n}@1" for n in self.judges) for category in CATEGORIES},
        )

    async def ask(self, assessment, inquiries, deadline_ms):
        verdicts, asked = list(assessment.verdicts), dict(assessment.asked)
        for each in inquiries:
            for index, categories in each.wanted.items():
                name = each.classifier.partition("@")[0]
                passage = assessment.passages[index]
                self.asked.append((name, passage.text, categories))
                verdicts[index] += self.verdicts([name], passage, categories)
                asked[each.classifier] = asked.get(each.classifier, frozenset()) | {
                    (index, category) for category in categories
                }
        return replace(assessment, verdicts=tuple(verdicts), asked=asked)

    def verdicts(self, names, passage, categories=None):
        return tuple(
            Verdict(f"{name}@1", category, answer.score, answer.spans, answer.error)
            if isinstance(answer, Verdict)
            else Verdict(f"{name}@1", category, answer)
            for name in names
            for category in categories or CATEGORIES
            if (answer := self.answers.get((name, category, passage.text), 0.0)) != 0.0
        )


class EagerTable(Table):
    """Asks everybody about everything at once."""

    async def judge(self, passages, deadline_ms):
        first = await super().judge(passages, deadline_ms)
        everything = frozenset((i, c) for i in range(len(passages)) for c in CATEGORIES)
        names = (*self.always, *self.judges)
        return replace(
            first,
            verdicts=tuple(self.verdicts(names, passage) for passage in passages),
            asked={f"{judge}@1": everything for judge in self.judges},
        )


CATEGORIES = ("weapons", "spam")


def rule(rule_id="r1", **changes):
    return Rule(
        **{
            "id": rule_id,
            "category": "weapons",
            "stages": frozenset(Stage),
            "bands": (Band(0.8, Action.BLOCK), Band(0.5, Action.FLAG)),
            "on_unavailable": ALL_BLOCK,
            "classifiers": frozenset({"encoder"}),
            "rungs": (Rung("safeguard", 0.4),),
        }
        | changes
    )


def policy(*rules, **changes):
    return Policy("test", "1.0.0", "00", rules, **changes)


async def decide(table, *rules, passages=(ODD,)):
    mine = policy(*rules)
    return evaluate(mine, Stage.INPUT, await assess(table, mine, Stage.INPUT, passages))


def weapons(encoder=0.0, safeguard=0.0, guard=0.0, text="odd"):
    given = {"encoder": encoder, "safeguard": safeguard, "guard": guard}
    return {(name, "weapons", text): score for name, score in given.items()}


async def test_below_escalate_at_nobody_else_is_asked():
    table = Table(weapons(0.39, 0.9))

    decision = await decide(table, rule())

    assert decision.action is Action.ALLOW
    assert table.asked == []


async def test_from_escalate_at_on_the_judge_is_asked_and_its_answer_counts():
    table = Table(weapons(0.4, 0.9))

    decision = await decide(table, rule())

    (outcome,) = decision.outcomes
    assert decision.action is Action.BLOCK
    assert table.asked == [("safeguard", "odd", {"weapons"})]
    assert (outcome.score, outcome.classifier, outcome.suspicion) == (0.9, "safeguard@1", 0.4)


async def test_a_judge_may_acquit_and_the_record_says_of_what():
    decision = await decide(Table(weapons(0.95, 0.1)), rule())

    (outcome,) = decision.outcomes
    assert decision.action is Action.ALLOW
    assert decision.determining_rules == ()
    assert (outcome.action, outcome.score, outcome.suspicion) == (Action.ALLOW, 0.1, 0.95)
    assert outcome.classifier == "safeguard@1"


async def test_a_judge_that_has_nothing_to_say_acquits_too():
    (outcome,) = (await decide(Table(weapons(0.95, 0.0)), rule())).outcomes

    assert (outcome.action, outcome.classifier) == (Action.ALLOW, "safeguard")


async def test_a_rule_without_the_judge_is_not_bound_by_its_acquittal():
    hard = rule("hard", classifiers=frozenset({"patterns"}), rungs=())
    answers = weapons(0.95, 0.1) | {("patterns", "weapons", "odd"): 1.0}

    decision = await decide(Table(answers), rule(), hard)

    assert decision.action is Action.BLOCK
    assert decision.determining_rules == ("hard",)


async def test_a_rule_that_names_nobody_does_not_count_judges():
    anyone = rule("anyone", classifiers=frozenset(), rungs=())

    decision = await decide(
        Table(weapons(0.45, 1.0)), rule(rungs=(Rung("safeguard", 0.4),)), anyone
    )

    assert decision.determining_rules == ("r1",)


async def test_classifiers_asked_always_count_together():
    both = rule(classifiers=frozenset({"patterns", "encoder"}))
    table = Table({("patterns", "weapons", "odd"): 0.6, ("safeguard", "weapons", "odd"): 0.2})

    decision = await decide(table, both)

    assert table.asked == [("safeguard", "odd", {"weapons"})]
    assert decision.outcomes[0].suspicion == 0.6


async def test_only_the_passage_in_doubt_is_put_to_the_judge():
    table = Table(weapons(0.6, 0.2))

    decision = await decide(table, rule(), passages=(GOOD, ODD, GOOD))

    assert table.asked == [("safeguard", "odd", {"weapons"})]
    assert decision.action is Action.ALLOW


async def test_one_acquittal_does_not_acquit_the_other_passage():
    table = Table(weapons(0.9, 0.1) | weapons(0.6, 0.9, text="good"))

    decision = await decide(table, rule(), passages=(ODD, GOOD))

    assert decision.outcomes[0].score == 0.9
    assert decision.action is Action.BLOCK


async def test_only_the_category_in_doubt_is_put_to_the_judge():
    table = Table(weapons(0.6))

    await decide(table, rule(), rule("r2", category="spam"))

    assert table.asked == [("safeguard", "odd", {"weapons"})]


async def test_two_rules_in_doubt_ask_once():
    table = Table(weapons(0.6))

    await decide(table, rule(), rule("r2", rungs=(Rung("safeguard", 0.5),)))

    assert table.asked == [("safeguard", "odd", {"weapons"})]


@pytest.mark.parametrize("why", [NO_ANSWER, FOREIGN])
async def test_no_answer_from_below_is_a_doubt(why):
    table = Table(weapons(why, 0.1))

    decision = await decide(table, rule())

    assert table.asked == [("safeguard", "odd", {"weapons"})]
    assert decision.action is Action.ALLOW


async def test_a_judge_asked_for_a_gap_does_not_lower_what_was_never_in_doubt():
    both = rule(classifiers=frozenset({"patterns", "encoder"}), rungs=(Rung("safeguard", 0.6),))
    answers = weapons(0.5, 0.0) | {("patterns", "weapons", "odd"): NO_ANSWER}

    decision = await decide(Table(answers), both)

    (outcome,) = decision.outcomes
    assert decision.action is Action.FLAG
    assert (outcome.score, outcome.classifier, outcome.missing) == (0.5, "encoder@1", ())


TWO = rule(rungs=(Rung("safeguard", 0.4), Rung("guard", 0.6)))


@pytest.mark.parametrize(
    ("safeguard", "guard", "asked", "score"),
    [
        pytest.param(0.59, 1.0, ["safeguard"], 0.59, id="the first judge settles it"),
        pytest.param(0.6, 0.9, ["safeguard", "guard"], 0.9, id="in doubt again"),
        pytest.param(NO_ANSWER, 0.1, ["safeguard", "guard"], 0.1, id="the first judge is down"),
        pytest.param(0.7, NO_ANSWER, ["safeguard", "guard"], 0.7, id="the second one is down"),
    ],
)
async def test_rungs_are_asked_in_order(safeguard, guard, asked, score):
    table = Table(weapons(0.5, safeguard, guard))

    decision = await decide(table, TWO)

    assert [name for name, _, _ in table.asked] == asked
    assert decision.outcomes[0].score == score


async def test_when_every_judge_is_down_the_suspicion_below_still_counts():
    lenient = replace(TWO, on_unavailable=dict.fromkeys(Stage, Action.ALLOW))

    decision = await decide(Table(weapons(0.85, NO_ANSWER, NO_ANSWER)), lenient)

    (outcome,) = decision.outcomes
    assert decision.action is Action.BLOCK
    assert (outcome.classifier, outcome.score) == ("encoder@1", 0.85)
    assert (outcome.unavailable, outcome.missing) == (False, ("timeout",))


async def test_when_every_judge_is_down_it_is_unavailable():
    decision = await decide(Table(weapons(0.5, NO_ANSWER, NO_ANSWER)), TWO)

    (outcome,) = decision.outcomes
    assert decision.action is Action.BLOCK
    assert (outcome.unavailable, outcome.missing, outcome.score) == (True, ("timeout",), 0.5)


async def test_half_an_answer_does_not_acquit():
    half = Table(weapons(0.85, 0.1))
    half.verdicts_of = half.verdicts
    half.verdicts = lambda names, passage, categories=None: (
        *half.verdicts_of(names, passage, categories),
        *([Verdict("safeguard@1", "weapons", None, error="too_long")] if categories else []),
    )
    lenient = rule(on_unavailable=dict.fromkeys(Stage, Action.ALLOW))

    decision = await decide(half, lenient)

    assert decision.action is Action.BLOCK
    assert decision.outcomes[0].missing == ("too_long",)


async def test_a_judge_that_is_not_on_the_panel_is_a_missing_answer_only_in_doubt():
    assert (await decide(Table(weapons(0.39), judges=()), rule())).action is Action.ALLOW

    decision = await decide(Table(weapons(0.4), judges=()), rule())

    assert decision.action is Action.BLOCK
    assert decision.outcomes[0].missing == ("not_asked",)


async def test_at_zero_the_judge_is_always_asked():
    table = Table(weapons(0.0, 0.9))

    decision = await decide(table, rule(rungs=(Rung("safeguard", 0.0),)))

    assert decision.action is Action.BLOCK


async def test_a_judge_that_is_named_without_escalate_at_is_always_asked():
    table = Table(weapons(0.0, 0.9))
    always = rule(classifiers=frozenset({"encoder", "safeguard"}), rungs=())

    decision = await decide(table, always, passages=(GOOD, ODD))

    assert {text for _, text, _ in table.asked} == {"good", "odd"}
    assert decision.action is Action.BLOCK


async def test_a_language_nobody_reads_takes_its_own_action():
    marked = rule(on_unsupported_language=dict.fromkeys(Stage, Action.FLAG), rungs=())

    decision = await decide(Table(weapons(FOREIGN)), marked)

    (outcome,) = decision.outcomes
    assert decision.action is Action.FLAG
    assert (outcome.unavailable, outcome.missing) == (True, (UNSUPPORTED_LANGUAGE,))


async def test_a_language_nobody_reads_is_no_excuse_for_another_failure():
    marked = rule(on_unsupported_language=dict.fromkeys(Stage, Action.FLAG))

    decision = await decide(Table(weapons(FOREIGN, NO_ANSWER)), marked)

    assert decision.action is Action.BLOCK
    assert decision.outcomes[0].missing == ("timeout", UNSUPPORTED_LANGUAGE)


async def test_a_judge_that_acquits_leaves_nothing_to_redact():
    hide = rule(bands=(Band(0.5, Action.REDACT),))

    decision = await decide(
        Table(weapons(0.9, 0.1) | weapons(0.9, 0.9, text="good")), hide, passages=(ODD, GOOD)
    )

    assert decision.redactions == (Redaction(1, Span(0, 4, "weapons")),)


async def test_a_judge_that_agrees_leaves_the_spans_to_who_found_them():
    hide = rule(bands=(Band(0.5, Action.REDACT),))
    seen = Verdict("", "", 0.9, (Span(1, 2, "gun"),))

    decision = await decide(Table(weapons(seen, 0.9)), hide)

    assert decision.redactions == (Redaction(0, Span(1, 2, "gun")),)


async def test_the_score_of_a_category_is_the_judge_s_where_it_answered():
    acquitted = await decide(Table(weapons(0.9, 0.1)), rule())
    silent = await decide(Table(weapons(0.9, NO_ANSWER)), rule())

    assert (acquitted.scores, acquitted.unscored) == ({"weapons": 0.1, "spam": 0.0}, {})
    assert (silent.scores, silent.unscored) == ({"weapons": 0.9, "spam": 0.0}, {})


async def test_a_category_with_an_answer_missing_says_so():
    below = {("patterns", "weapons", "odd"): 0.3}
    decision = await decide(
        Table(weapons(FOREIGN) | below, judges=()), rule(classifiers=frozenset())
    )

    assert decision.scores["weapons"] == 0.3
    assert decision.unscored == {"weapons": UNSUPPORTED_LANGUAGE}


async def test_many_short_texts_are_granted_the_deadline_again_too():
    class Timed(Table):
        async def judge(self, passages, deadline_ms):
            self.deadline_ms = deadline_ms
            return await super().judge(passages, deadline_ms)

    panel = Timed({})
    await assess(panel, policy(), Stage.INPUT, (Passage(Source.USER, "a"),) * 2000)
    assert panel.deadline_ms == 400 * 17


async def test_without_judges_on_the_panel_nothing_is_asked_twice():
    table = Table(weapons(0.9), judges=())

    await decide(table, rule())

    assert table.asked == []


@pytest.mark.parametrize(
    ("length", "granted"), [(1, 400), (7_999, 400), (8_000, 800), (80_000, 4_400)]
)
async def test_a_long_text_is_granted_the_deadline_again_and_again(length, granted):
    class Timed(Table):
        async def judge(self, passages, deadline_ms):
            self.deadline_ms = deadline_ms
            return await super().judge(passages, deadline_ms)

    panel = Timed({})
    text = "a" * length
    await assess(panel, policy(), Stage.INPUT, (Passage(Source.USER, text),))
    assert panel.deadline_ms == granted


async def test_a_policy_without_cascades_asks_no_judge():
    table = Table(weapons(0.9))

    await decide(table, rule(classifiers=frozenset(), rungs=()))

    assert table.asked == []


# --- Laws -----------------------------------------------------------------------------------

ANSWERS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, NO_ANSWER, FOREIGN])
TEXTS = ("good", "odd")
NAMES = ("patterns", "encoder", "safeguard", "guard")
PLACES = [(name, category, text) for name in NAMES for category in CATEGORIES for text in TEXTS]
TABLES = st.fixed_dictionaries(dict.fromkeys(PLACES, ANSWERS))
ACTIONS = st.sampled_from(Action)
BANDS = st.lists(
    st.builds(Band, st.sampled_from([0.0, 0.25, 0.5, 1.0]), ACTIONS), min_size=1, max_size=3
).map(lambda bands: tuple(sorted(bands, key=lambda band: -band.gte)))
RUNGS = st.lists(
    st.builds(
        Rung,
        st.sampled_from(["safeguard", "guard", "encoder", "absent"]),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    ),
    max_size=3,
).map(tuple)
RULES = st.builds(
    Rule,
    id=st.sampled_from(["r1", "r2", "r3"]),
    category=st.sampled_from(CATEGORIES),
    stages=st.just(frozenset(Stage)),
    bands=BANDS,
    on_unavailable=st.dictionaries(st.sampled_from(Stage), ACTIONS),
    classifiers=st.frozensets(st.sampled_from([*NAMES, "absent"])),
    on_unsupported_language=st.dictionaries(st.sampled_from(Stage), ACTIONS),
    rungs=RUNGS,
    mode=st.sampled_from(Mode),
)
RULE_LISTS = st.lists(RULES, max_size=4)


def assessed(panel, mine):
    """Run `assess` without an event loop, which a table does not need."""
    with pytest.raises(StopIteration) as done:
        assess(panel, mine, Stage.INPUT, (GOOD, ODD)).send(None)
    return done.value.value


def decision_of(answers, rules, panel=Table):
    mine = policy(*rules)
    return evaluate(mine, Stage.INPUT, assessed(panel(answers), mine))


def called_for(each, answers):
    """The slow, obvious reading of one rule."""
    for text in TEXTS:
        score, missing = by_the_book(each, answers, text)
        yield from (band.action for band in each.bands if score >= band.gte)
        for why in missing:
            unavailable = each.on_unavailable.get(Stage.INPUT, Action.BLOCK)
            if why == UNSUPPORTED_LANGUAGE:
                unavailable = each.on_unsupported_language.get(Stage.INPUT, unavailable)
            yield unavailable


def by_the_book(each, answers, text):
    def answer_of(name):
        if name not in NAMES:
            return None, "not_asked"
        answer = answers[name, each.category, text]
        return (None, answer.error) if isinstance(answer, Verdict) else (answer, None)

    ground = [answer_of(name) for name in each.classifiers or ("patterns", "encoder")]
    score = max((known for known, _ in ground if known is not None), default=0.0)
    missing = {error for known, error in ground if known is None}
    floor, doubted = 0.0, False
    for rung in each.rungs:
        if not missing and score < rung.escalate_at:
            break
        doubted = doubted or score >= rung.escalate_at
        floor = floor if doubted else max(floor, score)
        known, error = answer_of(rung.classifier)
        if error is None:
            score, missing, doubted = max(known, floor), set(), False
        else:
            missing |= {error}
    return score, missing


# A busy machine is no failure.
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patiently
@given(RULE_LISTS, TABLES)
def test_it_agrees_with_the_obvious_reading(rules, answers):
    expected = max(
        (a for each in rules if each.mode is not Mode.SHADOW for a in called_for(each, answers)),
        default=Action.ALLOW,
    )

    assert decision_of(answers, rules).action is expected


@patiently
@given(RULE_LISTS, TABLES)
def test_asking_in_rungs_and_asking_everybody_give_the_same_decision(rules, answers):
    lazy = decision_of(answers, rules)
    eager = decision_of(answers, rules, EagerTable)

    assert (lazy.action, lazy.outcomes, lazy.redactions) == (
        eager.action,
        eager.outcomes,
        eager.redactions,
    )


@patiently
@given(RULE_LISTS.flatmap(lambda rules: st.tuples(st.just(rules), st.permutations(rules))), TABLES)
def test_the_order_of_rules_never_changes_the_action(orders, answers):
    one, other = orders

    assert decision_of(answers, one).action is decision_of(answers, other).action


@patiently
@given(RULE_LISTS, RULES, TABLES)
def test_adding_a_rule_never_makes_a_decision_milder(rules, added, answers):
    before = decision_of(answers, rules)
    after = decision_of(answers, [*rules, added])

    assert after.action >= before.action


@patiently
@given(RULE_LISTS, TABLES, st.sampled_from(PLACES))
def test_an_answer_that_does_not_come_is_never_milder_than_a_zero(rules, answers, place):
    zero = decision_of({**answers, place: 0.0}, rules)

    for silence in (NO_ANSWER, FOREIGN):
        assert decision_of({**answers, place: silence}, rules).action >= zero.action


@patiently
@given(RULE_LISTS, TABLES)
def test_without_judges_no_rule_forgets_what_the_classifiers_saw(rules, answers):
    judged = [
        replace(each, rungs=tuple(rung for rung in each.rungs if rung.classifier != "encoder"))
        for each in rules
    ]
    flat = [replace(each, rungs=()) for each in rules]
    down = {
        place: NO_ANSWER if place[0] in ("safeguard", "guard") else answer
        for place, answer in answers.items()
    }

    assert decision_of(down, judged).action >= decision_of(down, flat).action


@patiently
@given(RULE_LISTS, TABLES)
def test_nobody_is_asked_the_same_thing_twice_and_no_judge_without_a_doubt(rules, answers):
    table, mine = Table(answers), policy(*rules)

    assessment = assessed(table, mine)

    places = [(name, text, each) for name, text, wanted in table.asked for each in wanted]
    assert len(places) == len(set(places))
    assert inquiries(mine.choosy_at[Stage.INPUT], assessment) == ()
    named = {(rung.classifier, each.category) for each in rules for rung in each.rungs}
    named |= {(name, each.category) for each in rules for name in each.classifiers}
    assert {(name, category) for name, _, category in places} <= named
