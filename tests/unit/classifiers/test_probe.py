from classifiers.panel import Panel
from classifiers.probe import NOT_PROBED, Probe
from classifiers.types import Inquiry, Passage, Source

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
