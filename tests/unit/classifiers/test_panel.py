import asyncio
import math

import pytest

from classifiers.panel import Panel
from classifiers.standing import Standing, State
from classifiers.types import Inquiry, Passage, Source, Span, Verdict

ASK = Passage(Source.USER, "hello")


class Fake:
    """Answers with the given scores, after `behave`."""

    digest = "00"

    def __init__(self, name="fake@1", scores=(("weapons", 0.9),), behave=None, answer=None):
        self.name, self.scores, self.behave, self.answer = name, dict(scores), behave, answer
        self.categories = frozenset(self.scores)
        self.stopped = False

    async def classify(self, passages):
        try:
            if self.behave:
                await self.behave()
        finally:
            self.stopped = True
        if self.answer is not None:
            return self.answer
        return [[Verdict(self.name, c, s) for c, s in self.scores.items()] for _ in passages]


async def late():
    await asyncio.sleep(60)


async def broken():
    raise RuntimeError("out of memory")


async def brief():
    await asyncio.sleep(0)


def scores(assessment):
    return [[verdict.score for verdict in verdicts] for verdicts in assessment.verdicts]


def errors(assessment):
    return {verdict.error for verdicts in assessment.verdicts for verdict in verdicts}


async def test_every_passage_is_judged_by_every_classifier():
    panel = Panel([Fake("a@1", [("weapons", 0.1)]), Fake("b@1", [("spam", 0.2)], brief)])

    assessment = await panel.judge([ASK, ASK], 1000)

    assert scores(assessment) == [[0.1, 0.2], [0.1, 0.2]]
    assert [receipt.scanned_chars for receipt in assessment.receipts] == [10, 10]
    assert [receipt.unscanned_chars for receipt in assessment.receipts] == [0, 0]


async def test_it_says_who_was_asked_about_what():
    panel = Panel([Fake("a@1"), Fake("b@1", [("weapons", 0.0), ("spam", 0.0)])])

    assessment = await panel.judge([ASK], 1000)

    assert assessment.covered == {"spam": {"b@1"}, "weapons": {"a@1", "b@1"}}


@pytest.mark.parametrize(
    "others", [[], [Fake("other@1", [("spam", 0.2)])]], ids=["alone", "beside"]
)
@pytest.mark.parametrize(("behave", "error"), [(late, "timeout"), (broken, "failed")])
async def test_a_classifier_without_an_answer_has_no_score(others, behave, error):
    fake = Fake(behave=behave)

    assessment = await Panel([fake, *others]).judge([ASK, ASK], 20)

    assert [verdicts[0] for verdicts in assessment.verdicts] == [
        Verdict("fake@1", "weapons", None, error=error)
    ] * 2
    assert assessment.receipts[0].unscanned_chars == 10
    assert assessment.receipts[0].scanned_chars == 0
    assert assessment.receipts[0].error == error


async def test_a_late_classifier_does_not_silence_the_others():
    panel = Panel([Fake(behave=late), Fake("b@1", [("spam", 0.7)])])

    assert scores(await panel.judge([ASK], 20)) == [[None, 0.7]]


async def test_a_late_classifier_is_stopped():
    fake = Fake(behave=late)

    await Panel([fake, Fake("b@1")]).judge([ASK], 20)
    await asyncio.sleep(0)

    assert fake.stopped


async def test_a_classifier_that_refuses_to_be_stopped_does_not_hold_up_the_rest():
    release = asyncio.Event()

    async def stubborn():
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    panel = Panel([Fake(behave=stubborn), Fake("b@1", [("spam", 0.7)])])

    assert scores(await asyncio.wait_for(panel.judge([ASK], 20), 30)) == [[None, 0.7]]
    release.set()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([], id="too few lists"),
        pytest.param([[], []], id="too many lists"),
        pytest.param([[Verdict("fake@1", "weapons", 1.01)]], id="above one"),
        pytest.param([[Verdict("fake@1", "weapons", -0.01)]], id="below zero"),
        pytest.param([[Verdict("fake@1", "weapons", math.nan)]], id="not a number"),
        pytest.param([[Verdict("fake@1", "weapons", "0.5")]], id="text for a score"),
        pytest.param([[Verdict("fake@1", "spam", 0.5)]], id="another category"),
        pytest.param([[Verdict("other@1", "weapons", 0.5)]], id="another classifier"),
        pytest.param([[Verdict("fake@1", "weapons", 0.5, (Span(0, 6, "x"),))]], id="span too long"),
        pytest.param(
            [[Verdict("fake@1", "weapons", 0.5, (Span(-1, 2, "x"),))]], id="span too early"
        ),
        pytest.param([[("weapons", 0.5)]], id="not verdicts"),
        pytest.param([{"weapons": 0.5}], id="a mapping"),
        pytest.param("no", id="text"),
        pytest.param(7, id="a number"),
    ],
)
async def test_a_malformed_answer_is_no_answer(answer):
    assessment = await Panel([Fake(answer=answer)]).judge([ASK], 1000)

    assert scores(assessment) == [[None]]
    assert errors(assessment) == {"malformed"}


async def test_a_passage_that_was_not_fully_read_counts_as_unread():
    answer = [[Verdict("fake@1", "weapons", 0.3), Verdict("fake@1", "weapons", None)], []]

    assessment = await Panel([Fake(answer=answer)]).judge([ASK, Passage(Source.USER, "hi")], 1000)

    assert assessment.receipts[0].unscanned_chars == 5
    assert assessment.receipts[0].scanned_chars == 2


@pytest.mark.parametrize("count", [1, 2])
async def test_being_cancelled_stops_the_classifiers(count):
    fakes = [Fake(f"f{number}@1", behave=late) for number in range(count)]
    task = asyncio.create_task(Panel(fakes).judge([ASK], 60_000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert all(fake.stopped for fake in fakes)


async def test_nobody_is_asked_about_nothing():
    assessment = await Panel([Fake(behave=broken)]).judge([], 1000)

    assert assessment.verdicts == ()
    assert assessment.receipts == ()


async def test_an_empty_panel_covers_nothing():
    assert (await Panel([]).judge([ASK], 1000)).covered == {}


def test_two_classifiers_cannot_share_a_name():
    with pytest.raises(ValueError, match="two classifiers are named `fake`"):
        Panel([Fake(), Fake()])


# --- Judges ---------------------------------------------------------------------------------


class Choosy(Fake):
    """Answers in the wanted categories only, and remembers which they were."""

    async def classify_for(self, passages, wanted):
        self.wanted = wanted
        await self.classify(passages)
        return [
            [Verdict(self.name, c, self.scores[c]) for c in sorted(categories)]
            for categories in wanted
        ]


OTHER = Passage(Source.USER, "other")
BOTH = (("weapons", 0.9), ("spam", 0.2))


def about(judge, **wanted):
    """An inquiry: `about(judge, p0={"weapons"})`."""
    return Inquiry(judge, {int(name[1:]): frozenset(names) for name, names in wanted.items()})


async def ask(panel, *inquiries, passages=(ASK, OTHER), deadline_ms=1000):
    return await panel.ask(await panel.judge(passages, 1000), inquiries, deadline_ms)


async def test_a_judge_is_not_asked_with_the_others():
    judge = Fake("judge@1")

    assessment = await Panel([Fake("a@1", [("spam", 0.2)])], [judge]).judge([ASK], 1000)

    assert not judge.stopped
    assert scores(assessment) == [[0.2]]
    assert assessment.covered == {"spam": {"a@1"}}
    assert assessment.on_request == {"weapons": {"judge@1"}}
    assert assessment.asked == {}


async def test_a_judge_reads_what_it_is_asked_about_and_nothing_else():
    panel = Panel([Fake("a@1")], [Fake("judge@1", BOTH)])

    assessment = await ask(panel, about("judge@1", p1={"weapons"}))

    assert scores(assessment) == [[0.9], [0.9, 0.9, 0.2]]
    assert [(r.classifier, r.scanned_chars) for r in assessment.receipts] == [
        ("a@1", 10),
        ("judge@1", 5),
    ]
    assert assessment.asked == {"judge@1": {(1, "weapons"), (1, "spam")}}


async def test_a_judge_that_can_choose_answers_in_the_wanted_categories_only():
    judge = Choosy("judge@1", BOTH)

    assessment = await ask(Panel([], [judge]), about("judge@1", p0={"spam"}, p1={"weapons"}))

    assert judge.wanted == ({"spam"}, {"weapons"})
    assert scores(assessment) == [[0.2], [0.9]]
    assert assessment.asked == {"judge@1": {(0, "spam"), (1, "weapons")}}


@pytest.mark.parametrize(("behave", "error"), [(late, "timeout"), (broken, "failed")])
async def test_a_judge_without_an_answer_has_no_score_in_what_it_was_asked(behave, error):
    panel = Panel([], [Choosy("judge@1", BOTH, behave)])

    assessment = await ask(panel, about("judge@1", p0={"spam"}), deadline_ms=20)

    assert assessment.verdicts == ((Verdict("judge@1", "spam", None, error=error),), ())
    assert [(r.unscanned_chars, r.error) for r in assessment.receipts] == [(5, error)]


async def test_a_second_inquiry_adds_to_the_first():
    panel = Panel([], [Choosy("judge@1", BOTH)])
    first = await ask(panel, about("judge@1", p0={"spam"}))

    second = await panel.ask(first, [about("judge@1", p0={"weapons"})], 1000)

    assert scores(second) == [[0.2, 0.9], []]
    assert second.asked == {"judge@1": {(0, "spam"), (0, "weapons")}}
    assert len(second.receipts) == 2


async def test_judges_are_asked_at_the_same_time():
    met = asyncio.Barrier(2)
    panel = Panel([], [Fake(f"j{n}@1", behave=met.wait) for n in range(2)])

    assessment = await ask(panel, about("j0@1", p0={"weapons"}), about("j1@1", p0={"weapons"}))

    assert scores(assessment)[0] == [0.9, 0.9]


def test_a_judge_cannot_share_a_name_with_a_classifier():
    with pytest.raises(ValueError, match="two classifiers are named `fake`"):
        Panel([Fake()], [Fake()])


async def test_a_judge_that_failed_too_often_is_left_alone_for_a_while():
    now = 1000.0
    judge = Fake("judge@1", behave=broken)
    panel = Panel([], [judge], clock=lambda: now)
    for _ in range(3):
        await ask(panel, about("judge@1", p0={"weapons"}))
    judge.stopped = False

    assessment = await ask(panel, about("judge@1", p0={"weapons"}))
    assert not judge.stopped
    assert errors(assessment) == {"down"}
    assert panel.standing() == (Standing("judge@1", True, State.DOWN, 1000.0, "failed"),)

    now += 10
    judge.behave = None
    assert scores(await ask(panel, about("judge@1", p0={"weapons"})))[0] == [0.9]
    assert panel.standing() == (Standing("judge@1", True, State.OK),)


async def test_a_classifier_that_everything_needs_is_never_left_alone():
    panel = Panel([Fake(behave=broken)])

    for _ in range(4):
        assert errors(await panel.judge([ASK], 1000)) == {"failed"}
    assert panel.standing()[0].state is State.DOWN


async def test_who_was_not_asked_yet_is_neither_well_nor_ill():
    panel = Panel([Fake()], [Fake("judge@1")])

    await panel.judge([ASK], 1000)

    assert [each.state for each in panel.standing()] == [State.OK, State.UNTRIED]
