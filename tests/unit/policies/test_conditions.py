import time

import pytest

from policies.circumstances import AgeGroup, Circumstances
from policies.conditions import (
    MAX_CHARS,
    VARIABLES,
    ConditionError,
    compile_condition,
    facts_of,
)
from policies.trail import Step, Trail, facts_of_trail

GIVEN = Circumstances(
    project="shop",
    tier="free",
    endpoint="chat",
    model="gpt-oss-20b",
    stream=True,
    tools=("browse", "pay"),
    age_group=AgeGroup.MINOR,
    locale="de-AT",
    end_user="u1",
    strikes=3,
    access=frozenset({"biology", "cyber"}),
)
TRAIL = Trail(
    results=(Step("web", 900, scores={"spam": 0.75}), Step("web", 10, turns_ago=1)),
    calls=(Step("web", 20, digest="a"), Step("send", 30, digest="b", scores={"spam": 0.0})),
    reasoning_chars=70,
    call=Step("send", 40, new=True, digest="b"),
)
SAID = {"stage": "input", "score": 0.5, "scores": {"spam": 0.25}}
FACTS = {**facts_of(GIVEN), **SAID, **facts_of_trail(TRAIL)}


def holds(text, **facts):
    return compile_condition(text).holds({**FACTS, **facts})


def refused(text):
    with pytest.raises(ConditionError) as caught:
        compile_condition(text)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "user.strikes == 3",
        "user.age_group == 'minor'",
        "request.project == 'shop' && request.tier == 'free'",
        "request.endpoint == 'chat' && request.model.startsWith('gpt-oss')",
        "request.stream",
        "request.locale.startsWith('de')",
        "size(request.tools) == 2 && 'pay' in request.tools",
        "'biology' in request.access",
        "stage == 'input'",
        "score >= 0.5",
        "scores['spam'] < 0.3",
    ],
)
def test_a_condition_sees_everything_it_may_look_at(text):
    assert holds(text) is True
    assert holds(f"!({text})") is False


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("trajectory.results.exists(r, r.tool == 'web' && r.scores['spam'] >= 0.5)", True),
        ("trajectory.results.exists(r, r.tool == 'web' && r.scores['spam'] >= 0.8)", None),
        ("trajectory.results.exists(r, 'spam' in r.scores && r.scores['spam'] >= 0.8)", False),
        ("trajectory.results.filter(r, r.turns_ago == 0).size() == 1", True),
        ("trajectory.calls.exists(c, c.digest == call.digest)", True),
        ("call.tool.startsWith('send') && call.new && trajectory.reasoning_chars > 60", True),
        ("trajectory.calls.all(c, c.scores['spam'] < 0.5)", None),
    ],
)
def test_what_happened_before_can_be_looked_at(text, answer):
    assert holds(text) is answer


@pytest.mark.parametrize(
    "text",
    [
        "trajectory.results.exists(r, r.toll == 'web')",
        "trajectory.result.size() > 0",
        "call.chars == 'many'",
        "trajectory.results.exists(r, r.scores > 0.5)",
    ],
)
def test_names_and_types_of_what_happened_are_checked_when_the_policy_is_loaded(text):
    with pytest.raises(ConditionError):
        compile_condition(text)


@pytest.mark.parametrize(
    ("text", "of_call", "of_trail"),
    [
        ("call.tool == 'send'", True, True),
        ("trajectory.calls.exists(call, call.tool == 'send')", False, True),
        ("scores['call'] > 0.5", False, False),
        ("size(trajectory.results) > 3", False, True),
        ("request.stream", False, False),
    ],
)
def test_it_is_known_whether_a_condition_is_about_the_call_that_is_made(text, of_call, of_trail):
    condition = compile_condition(text)

    assert (condition.of_call, condition.of_trail) == (of_call, of_trail)


def test_there_is_a_fact_for_every_variable():
    assert FACTS.keys() == {*VARIABLES, "trail"}


@pytest.mark.parametrize(
    "text", ["scores['other'] > 0.1", "user.strikes / 0 == 1", "request.tools[9] == 'x'"]
)
def test_what_cannot_be_told_is_unknown_and_never_false(text):
    assert holds(text) is None
    assert holds(f"!({text})") is None


def test_what_cannot_be_told_does_not_matter_where_the_rest_settles_it():
    assert holds("scores['other'] > 0.1 || request.stream") is True
    assert holds("scores['other'] > 0.1 && !request.stream") is False


def test_a_condition_about_its_own_score_is_unknown_while_there_is_none():
    facts = {name: value for name, value in FACTS.items() if name != "score"}

    assert compile_condition("score > 0.1").holds(facts) is None


def test_a_condition_that_runs_for_too_long_is_unknown_soon():
    many = Circumstances(tools=tuple(f"tool-{number}" for number in range(500)))
    text = "request.tools.all(a, request.tools.all(b, request.tools.all(c, a != 'x')))"

    started = time.perf_counter()
    found = holds(text, **facts_of(many))

    assert found is None
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "facts",
    [{"request.model": "\ud800"}, {"request.tools": ["\ud800"]}, {"user.strikes": 2**70}],
)
def test_facts_that_cel_cannot_hold_are_unknown(facts):
    text = "request.model == 'x' || 'x' in request.tools || user.strikes > 5"

    assert holds(text, **facts) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user.strikes", "type int"),
        ("dyn(true)", "type dyn"),
        ("user.strikes > 'a'", "no matching overload"),
        ("", ""),
        ("user.strikes >", ""),
        ("((((" * 300, ""),
        ("true" + " " * MAX_CHARS, "at most 2000 characters"),
    ],
)
def test_what_is_no_condition_is_refused(text, message):
    assert message in str(refused(text))


def test_an_unknown_name_is_named_and_placed():
    error = refused("true && user.strike > 2")

    assert error.name == "user.strike" or error.name == "user"
    assert error.offset > 0


def test_two_conditions_are_equal_if_their_texts_are():
    assert compile_condition("request.stream") == compile_condition("request.stream")
    assert compile_condition("request.stream") != compile_condition("!request.stream")
