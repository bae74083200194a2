from classifiers.panel import Panel
from classifiers.probe import NOT_PROBED, Probe
from classifiers.types import Inquiry, Passage, Source, Verdict
from policies.cascade import assess
from policies.evaluate import evaluate
from policies.types import Action, Band, Policy, Rule, Rung, Stage

PROBE = Probe("ab12cd34" + "0" * 56, ("bad", "worse"))
NAME = "probe@ab12cd34"


async def asked(*passages):
    panel = Panel([], [PROBE])
    assessment = await panel.judge(passages, 1000)
    wanted = {index: frozenset({"bad"}) for index in range(len(passages))}
    return await panel.ask(assessment, [Inquiry(NAME, wanted)], 1000)


async def test_what_was_read_while_a_passage_was_said_is_its_verdict():
    passage = Passage(Source.FINAL, "Hello.", probed={"bad": 0.25, "worse": 0.75})

    assessment = await asked(passage)

    verdicts = {verdict.category: verdict.score for verdict in assessment.verdicts[0]}
    assert verdicts == {"bad": 0.25, "worse": 0.75}
    [receipt] = assessment.receipts
    assert (receipt.classifier, receipt.scanned_chars, receipt.unscanned_chars) == (NAME, 6, 0)


async def test_a_passage_that_was_not_read_is_an_answer_missing_and_unscanned():
    assessment = await asked(Passage(Source.ANALYSIS, "A thought sent back."))

    assert {(v.score, v.error) for v in assessment.verdicts[0]} == {(None, NOT_PROBED)}
    [receipt] = assessment.receipts
    assert (receipt.scanned_chars, receipt.unscanned_chars) == (0, 20)
    assert receipt.error == NOT_PROBED


async def test_a_category_that_was_not_read_is_missing_by_itself():
    assessment = await asked(Passage(Source.FINAL, "Hello.", probed={"bad": 0.25}))

    missing = {verdict.category for verdict in assessment.verdicts[0] if verdict.score is None}
    assert missing == {"worse"}


async def test_not_having_read_a_passage_does_not_make_it_down():
    panel = Panel([], [PROBE])
    passages = (Passage(Source.ANALYSIS, "A thought sent back."),)
    for _ in range(10):
        assessment = await panel.judge(passages, 1000)
        await panel.ask(assessment, [Inquiry(NAME, {0: frozenset({"bad"})})], 1000)

    assert [standing.state for standing in panel.standing()] == ["failing"]


class Judge:
    name, digest, categories = "judge@1", "00", frozenset({"bad"})

    def __init__(self):
        self.read = []

    async def classify(self, passages):
        self.read += [passage.text for passage in passages]
        return [[Verdict(self.name, "bad", 0.9)] for _ in passages]

    async def aclose(self):
        pass


async def test_as_a_first_rung_it_puts_before_a_judge_what_it_suspects_or_did_not_read():
    judge = Judge()
    band = Band(0.8, Action.BLOCK)
    rule = Rule(
        "probed", "bad", frozenset({Stage.OUTPUT}), (band,), {},
        classifiers=frozenset({"probe"}), rungs=(Rung("judge", 0.4),),
    )  # fmt: skip
    policy = Policy("p", "1.0.0", "d" * 64, (rule,))
    passages = tuple(
        Passage(Source.FINAL, name, probed=None if score is None else {"bad": score, "worse": 0})
        for name, score in (("calm", 0.1), ("suspect", 0.5), ("unread", None))
    )

    actions = {}
    for passage in passages:
        assessment = await assess(Panel([], [PROBE, judge]), policy, Stage.OUTPUT, (passage,))
        actions[passage.text] = evaluate(policy, Stage.OUTPUT, assessment).action

    assert judge.read == ["suspect", "unread"]
    assert actions == {"calm": Action.ALLOW, "suspect": Action.BLOCK, "unread": Action.BLOCK}
