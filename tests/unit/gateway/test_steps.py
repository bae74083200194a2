from classifiers.types import Assessment, Passage, Source, Verdict
from gateway.passages import prompt_portions
from gateway.steps import Steps
from model_runner.types import Channel, Message, Prompt, Role
from policies.conditions import compile_condition
from policies.trail import NOTHING_YET
from policies.types import Action, Band, Policy, Rule, Stage

HISTORY = (
    Message(Role.USER, "look"),
    Message(Role.ASSISTANT, '{"q": 1}', Channel.COMMENTARY, "web", "c1"),
    Message(Role.TOOL, "a page", tool="web", call_id="c1"),
    Message(Role.ASSISTANT, "Well.", Channel.FINAL),
    Message(Role.USER, "again"),
    Message(Role.ASSISTANT, '{ "q":1 }', Channel.COMMENTARY, "web", "c2"),
    Message(Role.TOOL, "the same page", tool="web", call_id="c2"),
)
LOOKS = "size(trajectory.calls) > 3"


def policy(when=LOOKS):
    band = Band(0.5, Action.BLOCK)
    rule = Rule("r", "bad", frozenset(Stage), (band,), {}, when=compile_condition(when))
    return Policy("p", "1.0.0", "00", (rule,))


def assessed(passages, *scores):
    """One classifier answers about `bad`; None for a score is no answer."""
    verdicts = tuple((Verdict("c@1", "bad", score),) for score in scores)
    return Assessment(tuple(passages), verdicts, (), {"bad": frozenset({"c@1"})})


def portion(prompt, stage):
    return next(each.passages for each in prompt_portions(prompt) if each.stage is stage)


def test_the_history_gets_its_scores_when_it_is_judged():
    prompt = Prompt("m", HISTORY)
    steps = Steps(prompt, policy())

    before = steps.at(Stage.INPUT, assessed((), ()))
    results = steps.at(Stage.TOOL_RESULT, assessed(portion(prompt, Stage.TOOL_RESULT), 0.7, None))
    calls = steps.at(Stage.TOOL_CALL, assessed(portion(prompt, Stage.TOOL_CALL), 0.1, 0.2))

    assert [step.scores for step in before.results] == [{}, {}]
    assert [step.scores for step in results.results] == [{"bad": 0.7}, {}]
    assert [step.scores for step in calls.calls] == [{"bad": 0.1}, {"bad": 0.2}]
    assert calls.call is None


def test_a_step_knows_its_turn_its_length_and_whether_it_was_made_before():
    steps = Steps(Prompt("m", HISTORY), policy()).at(Stage.INPUT, assessed((), ()))

    assert [(step.tool, step.chars, step.turns_ago) for step in steps.results] == [
        ("web", 6, 1),
        ("web", 13, 0),
    ]
    assert [step.turns_ago for step in steps.calls] == [1, 0]
    assert len({step.digest for step in steps.calls}) == 1  # the layout of JSON does not count


def test_each_call_of_the_reply_is_judged_by_what_was_before_it():
    steps = Steps(Prompt("m", HISTORY[:1]), policy())
    steps.replying = True
    calls = [Passage(Source.CALL, f'{{"n": {n}}}', tool="send") for n in range(2)]

    steps.at(Stage.REASONING, assessed([Passage(Source.ANALYSIS, "hmm")], 0.0))
    first = steps.at(Stage.TOOL_CALL, assessed(calls[:1], 0.4))
    second = steps.at(Stage.TOOL_CALL, assessed(calls[1:], None))

    assert (first.call.tool, first.call.scores, first.calls) == ("send", {"bad": 0.4}, ())
    assert (second.calls, second.call.scores) == ((first.call,), {})
    assert (second.arguments, second.reasoning_chars) == ('{"n": 1}', 3)
    assert second.call.new
    assert '"n"' not in repr(second)


def test_nothing_is_noted_for_a_policy_that_does_not_look():
    steps = Steps(Prompt("m", HISTORY), policy("request.stream"))
    steps.replying = True
    call = Passage(Source.CALL, "{}", tool="send")

    assert steps.at(Stage.TOOL_CALL, assessed([call], 0.4)) is NOTHING_YET


def test_a_result_that_the_client_took_out_is_one_that_nobody_scored():
    kept = (*HISTORY[:2], *HISTORY[3:])
    prompt = Prompt("m", kept)
    steps = Steps(prompt, policy())

    results = steps.at(Stage.TOOL_RESULT, assessed(portion(prompt, Stage.TOOL_RESULT), 0.0)).results

    assert [(step.tool, step.scores, step.turns_ago) for step in results] == [
        ("web", {"bad": 0.0}, 0),
        ("web", {}, 1),
    ]


def test_a_call_by_an_id_that_was_answered_before_is_not_answered_by_that():
    again = Message(Role.ASSISTANT, "{}", Channel.COMMENTARY, "clock", "c1")
    prompt = Prompt("m", (*HISTORY[:3], again))
    steps = Steps(prompt, policy())

    results = steps.at(Stage.TOOL_RESULT, assessed(portion(prompt, Stage.TOOL_RESULT), 0.0)).results

    assert [(step.tool, step.scores) for step in results] == [("web", {"bad": 0.0}), ("clock", {})]


def test_a_thought_that_comes_back_without_what_it_had_read_brings_its_trace():
    first = Steps(Prompt("m", HISTORY), policy())
    first.at(
        Stage.TOOL_RESULT, assessed(portion(Prompt("m", HISTORY), Stage.TOOL_RESULT), 0.1, 0.7)
    )
    kept = (*HISTORY[:1], Message(Role.ASSISTANT, "hm", Channel.ANALYSIS), Message(Role.USER, "x"))

    later = Steps(Prompt("m", kept), policy(), [(1, first.trace())]).at(
        Stage.INPUT, assessed((), ())
    )

    assert [(step.tool, step.scores, step.turns_ago) for step in later.results] == [
        ("web", {"bad": 0.1}, 2),
        ("web", {"bad": 0.7}, 1),
    ]
