import pytest
import structlog

from classifiers.judges.text_model import Message, Question, TextModelError
from classifiers.panel import Panel
from classifiers.types import Passage, Source
from gateway.judging import RunnerModel, open_judges, open_reviewer, warn_of_missing
from model_runner.scripted import FINISH, ScriptedRunner
from model_runner.types import (
    Channel,
    Delta,
    Effort,
    Finish,
    FinishReason,
    MalformedOutput,
    PromptRejected,
    Role,
    RunnerTimeout,
    RunnerUnavailable,
    Usage,
)
from policies.types import Action, Band, Policy, Rule, Rung, Stage

ASK = Question(
    messages=(Message("developer", "policy"), Message("user", "text")), max_tokens=9, effort="low"
)


async def said(*script):
    runner = ScriptedRunner(*script)
    return await RunnerModel(runner).generate(ASK), runner


async def test_what_is_said_in_the_final_channel_is_the_answer():
    answer, runner = await said(
        Delta(Channel.ANALYSIS, "Hm: 1?"),
        Delta(Channel.COMMENTARY, "{}", 1, tool="f"),
        Delta(Channel.FINAL, '{"viol', 2),
        Delta(Channel.FINAL, 'ation": 0}', 2),
        FINISH,
    )

    assert (answer.text, answer.tokens, answer.ended) == ('{"violation": 0}', (), True)
    (prompt,) = runner.prompts
    assert [(m.role, m.text) for m in prompt.messages] == [
        (Role.DEVELOPER, "policy"),
        (Role.USER, "text"),
    ]
    assert prompt.effort is Effort.LOW
    assert (prompt.sampling.temperature, prompt.sampling.max_tokens) == (0.0, 9)


async def test_an_answer_that_was_cut_off_says_so():
    answer, _ = await said(Delta(Channel.FINAL, "1"), Finish(FinishReason.LENGTH, Usage()))

    assert not answer.ended


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (RunnerTimeout("late"), "timeout"),
        (RunnerUnavailable("away"), "unavailable"),
        (PromptRejected("too long"), "rejected"),
        (MalformedOutput("noise"), "malformed"),
        (Delta(Channel.FINAL, "x" * 70_000), "malformed"),
        (Delta(Channel.FINAL, "1"), "malformed"),  # and then the stream breaks off
    ],
)
async def test_a_runner_that_fails_gives_no_answer(step, reason):
    with pytest.raises(TextModelError) as raised:
        await said(step)

    assert raised.value.reason == reason


async def test_a_model_that_rambles_is_stopped():
    runner = ScriptedRunner(*[Delta(Channel.FINAL, "x" * 40_000)] * 10, FINISH)

    with pytest.raises(TextModelError):
        await RunnerModel(runner).generate(ASK)

    assert (runner.produced, runner.stopped_early) == (2, True)


async def test_a_rendered_prompt_is_for_another_model():
    with pytest.raises(TextModelError) as raised:
        await RunnerModel(ScriptedRunner(FINISH)).generate(Question(prompt="<bos>"))

    assert raised.value.reason == "rejected"


async def test_closing_it_leaves_the_runner_open():
    runner = ScriptedRunner(FINISH)

    await RunnerModel(runner).aclose()

    assert not runner.closed


async def test_without_a_model_there_is_no_answer(tmp_path):
    path = tmp_path / "judges.toml"
    path.write_text(
        '[[judge]]\nname = "own"\nkind = "safeguard"\nrunner = "self"\npolicies = ["hate"]\n'
    )
    (judge,) = open_judges(str(path), None)

    ((verdict,),) = await judge.classify([Passage(Source.USER, "text")])

    assert (verdict.category, verdict.score, verdict.error) == ("hate", None, "unavailable")


def test_without_a_file_there_are_no_judges():
    assert open_judges("", None) == []


def missing(classifiers, judges=()):
    rule = Rule(
        id="no-weapons",
        category="weapons",
        stages=frozenset({Stage.INPUT}),
        bands=(Band(0.8, Action.BLOCK),),
        on_unavailable={},
        classifiers=frozenset({"encoder"}),
        rungs=(Rung("safeguard", 0.4),),
    )
    structlog.reset_defaults()  # another test may have asked for errors alone
    with structlog.testing.capture_logs() as logs:
        warn_of_missing(Policy("acme", "1.0.0", "00", (rule,)), Panel(classifiers, judges))
    return [(entry["event"], entry["rule"], entry["classifiers"]) for entry in logs]


class Reader:
    digest, categories = "00", frozenset({"weapons"})

    def __init__(self, name):
        self.name = name


def test_a_rule_that_relies_on_somebody_who_is_not_there_is_named():
    assert missing([Reader("patterns@1")]) == [
        ("classifier_not_found", "no-weapons", ["encoder", "safeguard"])
    ]
    assert missing([Reader("encoder@1")], [Reader("safeguard@1")]) == []


def test_a_reviewer_must_be_there_and_read_trajectories():
    panel = Panel([], [Reader("safeguard@1")])

    assert open_reviewer(panel, "") is None
    with pytest.raises(ValueError, match="no judge is called `overseer`"):
        open_reviewer(panel, "overseer")
    with pytest.raises(ValueError, match="`safeguard` is not of kind `overseer`"):
        open_reviewer(panel, "safeguard")
