import asyncio

import pytest
from aiohttp import web

from classifiers.categories import MODERATION
from classifiers.judges.moderations import SAME, Moderations
from classifiers.judges.service import Service
from classifiers.types import Passage, Source

ASK = Passage(Source.USER, "text")
NOTHING = dict.fromkeys(MODERATION, 0.0)


def result(**scores):
    """A result as `omni-moderation-latest` sends it."""
    given = NOTHING | {name.replace("_", "/"): score for name, score in scores.items()}
    return {
        "flagged": True,
        "categories": dict.fromkeys(given, False),
        "category_scores": given,
        "category_applied_input_types": {name: ["text"] for name in given},
    }


def answering(*results):
    async def handler(request):
        handler.asked.append(await request.json())
        count = len(handler.asked[-1]["input"])
        given = list(results) * count if len(results) == 1 else list(results)
        return web.json_response({"id": "modr-1", "model": "omni", "results": given})

    handler.asked = []
    return handler


async def judged(serve, handler, *passages, timeout_s=5.0, **options):
    judge = Moderations("openai", Service(await serve(handler), timeout_s=timeout_s), **options)
    try:
        return await judge.classify(passages or [ASK])
    finally:
        await judge.aclose()


async def test_category_scores_are_verdicts(serve):
    handler = answering(result(hate=0.91, violence_graphic=0.2))

    (found,) = await judged(serve, handler, model="omni-moderation-latest")

    assert {(v.classifier, v.category, v.score) for v in found} == {
        ("openai@1", "hate", 0.91),
        ("openai@1", "violence/graphic", 0.2),
    }
    assert handler.asked == [{"input": ["text"], "model": "omni-moderation-latest"}]


async def test_passages_are_asked_about_together_and_keep_their_order(serve):
    handler = answering(result(hate=0.1), result(hate=0.2), result(hate=0.3))

    found = await judged(serve, handler, *(Passage(Source.USER, f"text {n}") for n in range(3)))

    assert [[v.score for v in each] for each in found] == [[0.1], [0.2], [0.3]]
    assert len(handler.asked) == 1


async def test_the_text_before_a_passage_is_read_with_it(serve):
    handler = answering(result())

    await judged(serve, handler, Passage(Source.FINAL, "two", before="one "))

    assert handler.asked[0]["input"] == ["one two"]


async def test_the_servers_names_can_be_mapped_to_ours(serve):
    handler = answering({"category_scores": {"toxic": 0.3, "insult": 0.6, "other": 9}})

    (found,) = await judged(serve, handler, labels={"toxic": "harassment", "insult": "harassment"})

    assert [(v.category, v.score) for v in found] == [("harassment", 0.6)]


@pytest.mark.parametrize("score", [None, "0.9", True, -0.1, 1.5, [0.5]])
async def test_a_score_that_is_none_is_no_answer_in_its_category(serve, score):
    (found,) = await judged(serve, answering(result(hate=score, sexual=0.4)))

    assert {(v.category, v.score, v.error) for v in found} == {
        ("hate", None, "malformed"),
        ("sexual", 0.4, None),
    }


async def test_a_category_that_is_missing_is_no_answer(serve):
    scores = {name: 0.0 for name in MODERATION if name != "self-harm"}

    (found,) = await judged(serve, answering({"category_scores": scores}))

    assert [(v.category, v.error) for v in found] == [("self-harm", "malformed")]


@pytest.mark.parametrize(
    "reply",
    [
        [],
        {},
        {"results": None},
        {"results": []},
        {"results": [result(), result()]},
        {"error": {"message": "no"}},
    ],
)
async def test_a_reply_that_is_none_is_no_answer(serve, reply):
    async def handler(request):
        return web.json_response(reply)

    (found,) = await judged(serve, handler)

    assert {v.category: v.error for v in found} == dict.fromkeys(MODERATION, "malformed")


@pytest.mark.parametrize(
    ("status", "error"), [(500, "unavailable"), (429, "overloaded"), (401, "rejected")]
)
async def test_a_server_that_fails_is_no_answer(serve, status, error):
    async def handler(request):
        return web.Response(status=status)

    (found,) = await judged(serve, handler)

    assert {v.category: v.error for v in found} == dict.fromkeys(MODERATION, error)


async def test_a_server_that_is_silent_is_no_answer(serve):
    async def handler(request):
        await asyncio.sleep(60)

    (found,) = await judged(serve, handler, timeout_s=0.05)

    assert {v.category: v.error for v in found} == dict.fromkeys(MODERATION, "timeout")


async def test_of_the_windows_of_a_long_text_the_worst_counts(serve):
    async def handler(request):
        texts = (await request.json())["input"]
        results = [result(hate=0.9 if "needle" in text else 0.1) for text in texts]
        return web.json_response({"results": results})

    (found,) = await judged(serve, handler, Passage(Source.USER, "x" * 40_000 + "needle"))

    assert [(v.category, v.score) for v in found] == [("hate", 0.9)]


async def test_a_text_that_is_too_long_is_never_read_in_silence(serve):
    (found,) = await judged(
        serve, answering(result(hate=0.1)), Passage(Source.USER, "x" * 1_000_000)
    )

    assert {v.category for v in found if v.error == "too_long"} == set(MODERATION)
    assert [v.score for v in found if v.error is None] == [0.1]


async def test_lone_surrogates_are_asked_about_too(serve):
    handler = answering(result())

    (found,) = await judged(serve, handler, Passage(Source.USER, "a\ud800b"))

    assert found == []
    assert handler.asked[0]["input"] == ["a?b"]


def test_the_digest_covers_the_address_the_model_and_the_labels():
    digests = {
        Moderations("m", Service("http://a/v1")).digest,
        Moderations("m", Service("http://b/v1")).digest,
        Moderations("m", Service("http://a/v1"), "omni").digest,
        Moderations("m", Service("http://a/v1"), labels={"hate": "hate"}).digest,
    }

    assert len(digests) == 4
    assert Moderations("m", Service("http://a/v1")).categories == set(SAME)
