"""What `tools`, `flows` and `limits` come to, by the inline tests of a file that uses them all."""

import json

import pytest

from classifiers.types import Assessment, Passage, Source
from policies.conditions import compile_condition
from policies.evaluate import evaluate
from policies.lint import lint
from policies.load import PolicyError, parse_policy
from policies.testing import run_score_tests
from policies.trail import Step, Trail, digest_of
from policies.types import Action, Stage

HEAD = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: agents, version: 1.0.0, owner: a@acme.example}
categories:
  prompt_injection: {severity: high, rationale: orders}
"""
FLOW = """\
flows:
  - id: no-mail
    after: {result_of: ["web*"], category: prompt_injection, gte: 0.5}
    calls_to: ["send_*"]
"""
TOOLS = """\
tools:
  id: list
  unlisted: [block]
  listed:
    - {id: search, tools: ["search*"], actions: [allow]}
    - id: mail
      tools: [send_mail]
      arguments:
        /to/*: {like: ["*@acme.example"]}
        /count: {at_most: 3}
      actions: [allow]
      otherwise: [review]
    - id: shell
      tools: [shell]
      arguments: {/command: {contains: '\\brm\\b'}}
      actions: [block]
      otherwise: [flag]
"""


def parse(text):
    return parse_policy((HEAD + text).encode())


def mistakes(text):
    with pytest.raises(PolicyError) as refused:
        parse(text)
    return "\n".join(refused.value.lines())


def called(tool, arguments="{}", *, results=(), calls=(), **scores):
    step = Step(tool, len(arguments), new=True, digest=digest_of(tool, arguments))
    return Trail(tuple(results), tuple(calls), 0, step, arguments)


def decide(text, trail, stage=Stage.TOOL_CALL):
    policy = parse(text).policy
    passage = Passage(Source.CALL, trail.arguments)
    return evaluate(policy, stage, Assessment((passage,), ((),), ()), trail=trail)


def web(score=None, **more):
    scores = {} if score is None else {"prompt_injection": score}
    return Step("web_fetch", 100, scores=scores, **more)


@pytest.mark.parametrize(
    ("results", "tool", "action"),
    [
        ([web(0.5)], "send_mail", Action.BLOCK),
        ([web(0.49)], "send_mail", Action.ALLOW),
        ([web(0.9)], "search", Action.ALLOW),
        ([Step("files", scores={"prompt_injection": 0.9})], "send_mail", Action.ALLOW),
        ([web(0.1), web(0.7, turns_ago=3), web(0.1)], "send_mail", Action.BLOCK),
        ([], "send_mail", Action.ALLOW),
    ],
)
def test_what_came_in_decides_what_may_go_out(results, tool, action):
    decision = decide(FLOW, called(tool, results=results))

    assert decision.action is action
    assert decision.determining_rules == (("no-mail",) if action else ())
    assert decision.code == ("data_flow_denied" if action else "content_filter")


@pytest.mark.parametrize("action", ["flag", "review", "block"])
def test_a_result_that_nobody_could_score_taints_as_one_that_scored_high(action):
    text = f"{FLOW}    actions: [{action}]\n"

    decision = decide(text, called("send_mail", results=[web(0.1), web()]))

    assert decision.action is Action[action.upper()]
    assert decision.outcomes[0].missing == ("condition",)


UNREAD = Step("web_fetch", 100, unread={"prompt_injection": 0.2})


@pytest.mark.parametrize(
    ("said", "results", "action", "rule"),
    [
        ("", [UNREAD], Action.BLOCK, "no-mail"),
        ("flag", [UNREAD], Action.FLAG, "no-mail.unread"),
        ("allow", [UNREAD], Action.ALLOW, None),
        ("flag", [Step("web", unread={"prompt_injection": 0.5})], Action.BLOCK, "no-mail"),
        ("flag", [UNREAD, web(0.5)], Action.BLOCK, "no-mail"),
        ("flag", [UNREAD, web()], Action.BLOCK, "no-mail"),
        ("flag", [web(0.1)], Action.ALLOW, None),
    ],
)
def test_what_nobody_read_for_its_language_may_be_told_apart(said, results, action, rule):
    own = f"    on_unsupported_language: {said}\n" if said else ""
    defaults = f"defaults: {{on_unsupported_language: {said}}}\n" if said else ""

    for text in (FLOW + own, defaults + FLOW):
        decision = decide(text, called("send_mail", results=results))

        assert decision.action is action
        assert decision.determining_rules == ((rule,) if rule else ())


def test_a_flow_may_forget_what_an_earlier_turn_brought():
    text = FLOW.replace("gte: 0.5", "gte: 0.5, within: turn")

    assert decide(text, called("send_mail", results=[web(0.9, turns_ago=1)])).released
    assert not decide(text, called("send_mail", results=[web(0.9)])).released


def test_a_flow_may_start_at_a_call():
    text = FLOW.replace(
        'result_of: ["web*"], category: prompt_injection, gte: 0.5', "call_of: [read_secret]"
    )

    assert not decide(text, called("send_mail", calls=[Step("read_secret")])).released
    assert decide(text, called("send_mail", calls=[Step("read_secrets")])).released


def test_calls_of_the_history_were_judged_when_they_were_made():
    trail = Trail(results=(web(0.9),), calls=(Step("send_mail"), Step("unknown")))

    assert decide(FLOW + TOOLS, trail).action is Action.ALLOW


@pytest.mark.parametrize(
    ("tool", "arguments", "action"),
    [
        ("search_web", '{"q": "x"}', Action.ALLOW),
        ("research", '{"q": "x"}', Action.BLOCK),
        ("send_mail", '{"to": ["a@acme.example"], "count": 3}', Action.ALLOW),
        ("send_mail", '{"to": ["a@acme.example", "b@acme.example"], "count": 1}', Action.ALLOW),
        ("send_mail", '{"to": ["a@evil.example"], "count": 3}', Action.REVIEW),
        ("send_mail", '{"to": ["a@acme.example", "b@evil.example"], "count": 1}', Action.REVIEW),
        ("send_mail", '{"to": ["a@acme.example"], "count": 4}', Action.REVIEW),
        ("send_mail", '{"to": ["a@acme.example"], "count": "1"}', Action.REVIEW),
        ("send_mail", '{"to": ["a@acme.example"], "count": true}', Action.REVIEW),
        ("send_mail", '{"to": [], "count": 1}', Action.REVIEW),
        ("send_mail", '{"count": 1}', Action.REVIEW),
        ("shell", '{"command": "sudo rm -rf x"}', Action.BLOCK),
        ("shell", '{"command": "ls\\nrm x"}', Action.BLOCK),
        ("shell", '{"command": "ls"}', Action.FLAG),
        ("send_mail", '{"to": ["eve@evil.example\\n@acme.example"], "count": 1}', Action.REVIEW),
        ("shell", '{"command": ["rm", "x"]}', Action.BLOCK),
        ("shell", '{"command": "ls", "command": "rm x"}', Action.BLOCK),
        ("shell", '{"command": "ls", "comm\\u0061nd": "rm x"}', Action.BLOCK),
        ("search", '{"q": NaN}', Action.BLOCK),
        ("search", '{"q": "x"} {}', Action.BLOCK),
        ("search", '["q"]', Action.BLOCK),
        ("search", '{"q": "\\ud800"}', Action.BLOCK),
        ("search", "", Action.BLOCK),
        ("search", "[" * 100_000, Action.BLOCK),
    ],
)
def test_a_list_says_which_calls_may_be_made_with_which_arguments(tool, arguments, action):
    assert decide(TOOLS, called(tool, arguments)).action is action


@pytest.mark.parametrize(
    ("test", "command", "blocked"),
    [
        ("{matches: 'ls .*'}", "ls -l", True),
        ("{matches: 'ls .*'}", "ls -l\nrm x", True),  # in doubt
        ("{matches: 'ls .*'}", "cat\nrm x", False),
        ("{matches: ls}", "ls -l", False),
        ("{contains: 'rm.*-rf'}", "rm \\\n -rf x", True),
        ("{contains: '^ls'}", "ls; rm", True),
        ("{like: ['ls *']}", "ls x\nrm y", True),  # in doubt
        ("{like: ['a.c']}", "abc", False),
    ],
)
def test_what_a_pattern_fits_and_what_is_in_doubt_gets_the_stricter_of_the_two(
    test, command, blocked
):
    text = TOOLS.replace("{contains: '\\brm\\b'}", test)

    decision = decide(text, called("shell", json.dumps({"command": command})))

    assert decision.action is (Action.BLOCK if blocked else Action.FLAG)


@pytest.mark.parametrize(
    ("limit", "trail", "stage"),
    [
        ("calls: 2", called("a", calls=[Step("b"), Step("b")]), Stage.TOOL_CALL),
        (
            "calls: 1, tools: [a*]",
            called("a1", calls=[Step("b"), Step("a2", turns_ago=4)]),
            Stage.TOOL_CALL,
        ),
        (
            "same_call: 1, per: turn",
            called(
                "a", '{"x": 1, "y": 2}', calls=[Step("a", digest=digest_of("a", '{"y":2,"x":1}'))]
            ),
            Stage.TOOL_CALL,
        ),
        ("result_chars: 199", Trail((web(0.0), web(0.0))), Stage.TOOL_RESULT),
        ("one_result_chars: 99", Trail((web(0.0),)), Stage.TOOL_RESULT),
        ("reasoning_chars: 9, per: reply", Trail(reasoning_chars=10), Stage.REASONING),
    ],
)
def test_what_goes_beyond_a_limit_is_stopped_and_what_reaches_it_is_not(limit, trail, stage):
    name, _, rest = limit.partition(": ")
    most, _, more = rest.partition(",")
    kinder = f"{name}: {int(most) + 1}{',' if more else ''}{more}"

    decisions = [
        decide(f"limits:\n  - {{id: most, {each}}}\n", trail, stage) for each in (limit, kinder)
    ]

    assert [each.action for each in decisions] == [Action.BLOCK, Action.ALLOW]
    assert decisions[0].code == "agent_limit_reached"


@pytest.mark.parametrize(
    ("per", "stopped"), [("conversation", True), ("turn", False), ("reply", False)]
)
def test_a_limit_counts_in_its_period_alone(per, stopped):
    trail = called("a", calls=[Step("a", turns_ago=1), Step("a", turns_ago=1)])

    decision = decide(f"limits:\n  - {{id: most, calls: 2, per: {per}}}\n", trail)

    assert decision.released is not stopped


def test_a_call_that_the_limit_is_not_about_is_not_stopped():
    trail = called("c", calls=[Step("a"), Step("a")])

    assert decide("limits:\n  - {id: most, calls: 1, tools: [a]}\n", trail).released


def test_tests_of_a_file_play_a_trajectory():
    file = parse(
        FLOW
        + """\
    tests:
      - name: orders in a page
        given:
          stage: tool_call
          call: {tool: send_mail}
          trajectory: [{result_of: web_fetch, scores: {prompt_injection: 0.5}}]
        expect: block
      - name: a page
        given: {stage: tool_call, call: {tool: send_mail}, trajectory: [{result_of: web_fetch}]}
        expect: allow
      - name: a page that nobody read
        given:
          stage: tool_call
          call: {tool: send_mail}
          trajectory: [{result_of: web_fetch, missing: [prompt_injection]}]
        expect: block
    message: {user: "No."}
limits:
  - id: loop
    same_call: 3
    message: {user: "No."}
    tests:
      - name: the fourth
        given:
          stage: tool_call
          call: {tool: a, arguments: '{"x": 1}'}
          trajectory: [{call_of: a, arguments: '{"x":1}', times: 3}]
        expect: block
      - name: the third
        given:
          stage: tool_call
          call: {tool: a, arguments: '{"x": 1}'}
          trajectory: [{call_of: a, arguments: '{"x":1}', times: 2}]
        expect: allow
"""
    )

    outcomes = run_score_tests(file.policy, file.tests)

    assert [outcome.passed for outcome in outcomes] == [True] * 5
    assert lint(file) == ()


def test_lint_misses_tests_and_sees_a_pattern_that_lets_everything_around_it_pass():
    loose = "    - {id: l, tools: [ls], arguments: {/x: {contains: ls}}, actions: [allow]}\n"

    codes = {(each.code, each.line) for each in lint(parse(FLOW + TOOLS + loose))}

    assert ("missing-test", 7) in codes
    assert ("missing-message", 7) in codes
    assert [code for code, _ in codes].count("loose-pattern") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FLOW.replace("result_of", "call_of: [x], result_of"), "either `result_of` or `call_of`"),
        (FLOW.replace(", gte: 0.5", ""), "`category` and `gte` come together"),
        (FLOW.replace("prompt_injection", "prompt_injektion"), "did you mean `prompt_injection`"),
        (FLOW.replace("gte: 0.5", "gte: 0.5, within: reply"), "never of the reply"),
        (FLOW + "    actions: [redact]\n", "nothing to `redact`"),
        (FLOW + "    actions: [block, flag]\n", "one main action"),
        (FLOW.replace('"send_*"', ", ".join(f"s{n:060}*" for n in range(40))), "2000 characters"),
        ("results:\n  - {tools: [x]}\n", "leaves results as they are"),
        ("limits:\n  - {id: x}\n", "exactly one of `calls`"),
        ("limits:\n  - {id: x, calls: 1, same_call: 1}\n", "exactly one of `calls`"),
        ("limits:\n  - {id: x, result_chars: 1, per: reply}\n", "never of the reply"),
        ("limits:\n  - {id: x, reasoning_chars: 1}\n", "`per: reply`"),
        (TOOLS.replace(r"\brm\b", r"(?=rm)"), "this is not RE2"),
        (TOOLS.replace("{at_most: 3}", "{}"), "asks nothing"),
        (TOOLS.replace("{at_most: 3}", "{at_most: 3, like: [x]}"), "a text or a number"),
        (TOOLS.replace("id: shell", "id: mail"), "is taken in line"),
        (TOOLS.replace("id: shell", "id: mail.otherwise"), "is taken"),
        (
            TOOLS.replace("actions: [allow]}", "actions: [allow], otherwise: [flag]}"),
            "does nothing",
        ),
        (
            "rules:\n  - {id: r, category: prompt_injection, stages: [input, tool_call],"
            " when: 'call.tool == \"x\"', bands: [{gte: 0.5, actions: [block]}]}\n",
            "a `call` is made at `tool_call`",
        ),
    ],
)
def test_a_mistake_is_named(text, message):
    assert message in mistakes(text)


def test_an_exception_lets_somebody_off_a_flow():
    text = (
        FLOW
        + """\
exceptions:
  - {id: EX-1, rule: no-mail, action: flag, from: 2020-01-01, until: 2099-01-01,
     reason: a test, approved_by: [alice, bob]}
"""
    )

    assert parse(text).policy.exceptions[0].rule == "no-mail"


def test_a_flow_is_a_condition_in_cel_that_anybody_can_write():
    (rule,) = parse(FLOW).policy.rules

    assert rule.when == compile_condition(
        'call.tool.matches("^send_.*$") && trajectory.results.exists(s, '
        's.tool.matches("^web.*$") && s.scores["prompt_injection"] >= 0.5)'
    )
