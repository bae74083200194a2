import asyncio
from contextlib import asynccontextmanager

import pytest

from classifiers.types import Assessment, Passage, Source, Span, Verdict
from gateway.errors import AuditUnavailable, StoreUnavailable
from gateway.exchange import Exchange
from gateway.pipeline import Admitted, Pipeline, Refusal
from gateway.results import SIGN
from gateway.types import Outcome, Principal, Scope
from model_runner.types import (
    Channel,
    Delta,
    Finish,
    FinishReason,
    MalformedOutput,
    Message,
    Prompt,
    Role,
    RunnerTimeout,
    Tool,
    Usage,
)
from policies.load import parse_policy
from policies.types import Action, Band, Mode, Policy, Rule, Stage

CALLER = Principal("k", "acme", frozenset({Scope.CALLER}), 60, 60)
ASK = Prompt("m", (Message(Role.USER, "hello"),))
DONE = Finish(FinishReason.STOP, Usage(3, 5, 2))


def rule(action=Action.BLOCK, stages=frozenset(Stage)):
    return Rule("no-bombs", "bomb", frozenset(stages), (Band(0.5, action),), {})


def policy(*rules, budget=0):
    return Policy("test", "1.0.0", "00", rules or (rule(),), max_unscreened_chars=budget)


NO_BOMBS = policy()


class ScriptedRunner:
    """Replays deltas; remembers whether it was asked, how far it got, and its end."""

    model, kind = "m", "scripted"

    def __init__(self, *script):
        self.script, self.asked, self.produced, self.stopped = script, None, 0, False

    async def generate(self, prompt):
        self.asked = prompt
        try:
            for item in self.script:
                if isinstance(item, Exception):
                    raise item
                if callable(item):
                    await item()
                self.produced += 1
                yield item
        finally:
            self.stopped = True


class WordPanel:
    """Scores 1.0 wherever the word is, `before` included."""

    def __init__(self):
        self.read = []

    async def judge(self, passages, deadline_ms):
        self.read += passages
        return Assessment(
            tuple(passages),
            tuple((self.verdict(passage),) for passage in passages),
            (),
            {"bomb": frozenset({"word@1"})},
        )

    def verdict(self, passage):
        text = passage.before + passage.text
        start = text.find("bomb") - len(passage.before)
        spans = (Span(start, start + 4, "bomb"),) if "bomb" in text else ()
        return Verdict("word@1", "bomb", float("bomb" in text), spans)


class MemoryLog:
    """Keeps what was recorded, in order, and what was released in between."""

    def __init__(self, *, breaks_after=None):
        self.breaks_after, self.recorded, self.closed = breaks_after, [], []
        self.started = self.durable = 0

    @asynccontextmanager
    async def exchange(self, exchange):
        try:
            yield exchange
        finally:
            self.closed.append(exchange)

    def record(self, exchange, decision, kept=None):
        if self.breaks_after is not None and len(self.recorded) >= self.breaks_after:
            raise AuditUnavailable("the decision log cannot be written")
        self.recorded.append(decision)
        exchange.decisions.append(decision)
        exchange.decision_ids.append(f"d{len(self.recorded)}")
        return self._commit(exchange.decision_ids[-1])

    def stream_started(self, exchange):
        self.started += 1
        return self._commit(None)

    def _commit(self, answer):
        """Be durable a little later, as a real log is."""
        done = asyncio.get_running_loop().create_future()

        def commit():
            self.durable += 1
            if not done.done():
                done.set_result(answer)

        asyncio.get_running_loop().call_later(0.001, commit)
        return done


class MemoryEnforcer:
    """Keeps what was struck."""

    def __init__(self, fails=None):
        self.fails, self.struck = fails, []

    async def strike(self, exchange, rules, recorded):
        await recorded
        if self.fails is not None:
            raise self.fails
        self.struck.append((exchange.decisions[-1].stage, rules))


class House:
    """A pipeline with its parts in reach."""

    def __init__(self, *script, log=None, **options):
        self.runner = ScriptedRunner(*script)
        self.panel, self.log = WordPanel(), log or MemoryLog()
        self.pipeline = Pipeline(self.runner, self.panel, self.log, **options)
        self.exchange = None

    def ask(self, prompt=ASK, policy=NO_BOMBS, stream=False):
        self.exchange = Exchange("req_1", CALLER, prompt, policy, "chat", stream, "scripted")
        return self.pipeline.answer(self.exchange)


def striking(*, mode=Mode.ENFORCE, action=Action.BLOCK, stages=frozenset(Stage)):
    band = Band(0.5, action, strike=True)
    return policy(Rule("no-bombs", "bomb", frozenset(stages), (band,), {}, mode=mode))


async def collect(stream):
    return [item async for item in stream]


def final(text, message=1):
    return Delta(Channel.FINAL, text, message)


def thought(text, message=0):
    return Delta(Channel.ANALYSIS, text, message)


def visible(items):
    return "".join(d.text for d in items if isinstance(d, Delta) and d.channel is Channel.FINAL)


async def test_a_harmless_reply_is_released_whole_and_finished():
    reply = await collect(House(final("Hi. "), final("Bye."), DONE).ask())

    assert isinstance(reply[0], Admitted)
    assert visible(reply) == "Hi. Bye."
    assert reply[-1] == DONE


async def test_a_blocked_prompt_never_reaches_the_model():
    house = House(final("Hi."), DONE)

    reply = await collect(house.ask(Prompt("m", (Message(Role.USER, "build a bomb"),))))

    assert [(type(item), item.prompt) for item in reply] == [(Refusal, True)]
    assert house.runner.asked is None


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Message(Role.DEVELOPER, "a bomb"), id="instructions"),
        pytest.param(Message(Role.ASSISTANT, "a bomb", Channel.FINAL), id="an earlier reply"),
        pytest.param(Message(Role.ASSISTANT, "a bomb", Channel.ANALYSIS), id="an earlier thought"),
        pytest.param(Message(Role.ASSISTANT, "a bomb", Channel.COMMENTARY, "f"), id="a call"),
        pytest.param(Message(Role.TOOL, "a bomb", tool="f"), id="a tool result"),
    ],
)
async def test_every_part_of_the_prompt_is_judged(message):
    house = House(final("Hi."), DONE)

    reply = await collect(house.ask(Prompt("m", (message, *ASK.messages))))

    assert [type(item) for item in reply] == [Refusal]
    assert house.runner.asked is None


async def test_a_bad_thought_stops_the_model_before_the_first_visible_character():
    house = House(thought("use a bomb"), final("Hi."), final("more"), DONE)

    reply = await collect(house.ask())

    assert [type(item) for item in reply] == [Admitted, Refusal]
    assert house.runner.stopped
    assert house.runner.produced == 2  # the thought, and the delta that ended it


async def test_a_phrase_split_between_two_passages_is_seen():
    words = ["It is safe to say so. " * 5, "We take a bo", "mb and leave. " * 8]
    house = House(*(final(word) for word in words), DONE)

    reply = await collect(house.ask())

    assert isinstance(reply[-1], Refusal)


async def test_a_tool_call_is_judged_whole_and_never_released_when_blocked():
    call = [Delta(Channel.COMMENTARY, part, 0, "send") for part in ('{"to": "bo', 'mb"}')]
    house = House(*call, Finish(FinishReason.TOOL_CALLS, Usage()))

    reply = await collect(house.ask())

    assert [type(item) for item in reply] == [Admitted, Refusal]
    assert reply[-1].decision.stage is Stage.TOOL_CALL


async def test_a_redacted_passage_leaves_without_the_span():
    redacting = policy(rule(Action.REDACT))

    reply = await collect(House(final("a bomb here"), DONE).ask(policy=redacting))

    assert visible(reply) == "a [bomb] here"


async def test_a_redacted_prompt_reaches_the_model_without_the_span():
    house = House(final("ok"), DONE)
    prompt = Prompt("m", (Message(Role.USER, "my bomb code"),))

    await collect(house.ask(prompt, policy(rule(Action.REDACT))))

    assert house.runner.asked.messages[0].text == "my [bomb] code"


async def test_within_the_leak_budget_text_goes_ahead_of_its_judgement():
    house = House(final("12345678"), final(" a bomb"), DONE)

    reply = await collect(house.ask(policy=policy(budget=5), stream=True))

    assert visible(reply) == "12345"
    assert isinstance(reply[-1], Refusal)


async def test_a_unary_reply_has_no_use_for_a_leak_budget():
    house = House(final("12345678"), final(" a bomb"), DONE)

    reply = await collect(house.ask(policy=policy(budget=5)))

    assert visible(reply) == ""


async def test_a_thought_that_will_be_shown_is_judged_as_output_too():
    only_output = policy(rule(stages={Stage.OUTPUT}))
    script = (thought("a bomb"), final("Hi."), DONE)

    hidden = await collect(House(*script).ask(policy=only_output))
    house = House(*script)
    stream = house.ask(policy=only_output)
    house.exchange.exposed = True
    shown = await collect(stream)

    assert hidden[-1] == DONE
    assert isinstance(shown[-1], Refusal)


async def test_nothing_is_released_when_the_log_cannot_be_written():
    released = []
    house = House(final("Hi."), DONE, log=MemoryLog(breaks_after=1))

    with pytest.raises(AuditUnavailable):
        async for item in house.ask():
            released.append(item)

    assert released == [Admitted()]
    assert house.runner.stopped


@pytest.mark.parametrize("stream", [True, False])
async def test_the_decision_is_durable_before_the_text_leaves(stream):
    house = House(final("Hi. "), DONE)

    async for item in house.ask(stream=stream):
        if isinstance(item, Delta):
            assert house.log.recorded[-1].stage is Stage.OUTPUT
            assert house.log.durable >= len(house.log.recorded)


async def test_the_terminal_record_comes_before_the_last_item():
    house = House(final("Hi."), DONE)

    async for item in house.ask(stream=True):
        assert bool(house.log.closed) is isinstance(item, Finish)


async def test_the_start_of_a_stream_is_recorded_before_its_first_byte():
    house = House(final("Hi."), DONE)
    stream = house.ask(stream=True)

    assert isinstance(await anext(stream), Admitted)
    assert house.log.started == 1
    await stream.aclose()


async def test_a_caller_who_hangs_up_stops_the_model_and_leaves_one_closed_exchange():
    house = House(final("One. " * 40), final("Two."), DONE)
    stream = house.ask(stream=True)

    await anext(stream)
    await anext(stream)
    await stream.aclose()

    assert house.runner.stopped
    assert house.log.closed == [house.exchange]


async def test_a_model_that_fails_midway_leaves_one_closed_exchange():
    house = House(final("One. " * 40), RunnerTimeout("silence"))

    with pytest.raises(RunnerTimeout):
        await collect(house.ask())

    assert house.log.closed == [house.exchange]
    assert house.exchange.outcome is None  # the log names the failure


async def test_a_reply_that_takes_too_long_is_cut():
    with pytest.raises(RunnerTimeout):
        await collect(House(final("Hi."), DONE, timeout_s=-1).ask())


async def test_a_model_that_says_nothing_more_is_cut():
    stalled = [final("Hi."), asyncio.Event().wait]

    with pytest.raises(RunnerTimeout):
        await collect(House(*stalled, timeout_s=0.01).ask())


async def test_a_reply_without_an_end_is_not_a_reply():
    house = House(final("Hi."))

    with pytest.raises(MalformedOutput):
        await collect(house.ask())
    assert house.panel.read == [Passage(Source.USER, "hello")]


async def test_half_a_character_is_not_text():
    with pytest.raises(MalformedOutput):
        await collect(House(final("Hi \ud83d"), DONE).ask())


@pytest.mark.parametrize(
    ("script", "outcome"),
    [((final("Hi."), DONE), Outcome.COMPLETED), ((final("bomb"), DONE), Outcome.BLOCKED)],
)
async def test_the_exchange_says_how_it_ended(script, outcome):
    house = House(*script)

    await collect(house.ask())

    assert house.exchange.outcome is outcome


async def test_hidden_thoughts_do_not_count_as_released():
    house = House(thought("hm hm"), final("Hi."), DONE)

    await collect(house.ask())

    assert house.exchange.released_chars == len("Hi.")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_strike_is_counted_before_the_refusal_leaves(stream):
    enforcer = MemoryEnforcer()
    house = House(thought("use a bomb"), final("Hi."), DONE, enforcer=enforcer)

    async for item in house.ask(policy=striking(), stream=stream):
        if isinstance(item, Refusal):
            assert enforcer.struck == [(Stage.REASONING, ("no-bombs",))]


HARM = Message(Role.USER, "build a bomb")
REPLIED = Message(Role.ASSISTANT, "No.", Channel.FINAL)
CALLED = Message(Role.ASSISTANT, "{}", Channel.COMMENTARY, "f")
RESULT = Message(Role.TOOL, "ok", tool="f")


@pytest.mark.parametrize(
    ("messages", "counts"),
    [
        pytest.param([HARM], 1, id="new"),
        pytest.param([HARM, REPLIED, *ASK.messages], 0, id="in the history"),
        pytest.param([HARM, REPLIED, HARM], 1, id="again"),
        pytest.param([HARM, *ASK.messages], 1, id="beside another message of the same turn"),
        pytest.param([HARM, REPLIED], 1, id="before a reply that the caller has begun"),
        pytest.param([HARM, CALLED, RESULT], 0, id="before a tool call"),
    ],
)
async def test_what_stands_in_the_history_is_blocked_and_does_not_count(messages, counts):
    enforcer = MemoryEnforcer()
    house = House(final("Hi."), DONE, enforcer=enforcer)

    reply = await collect(house.ask(Prompt("m", tuple(messages)), striking()))

    assert [type(item) for item in reply] == [Refusal]
    assert len(enforcer.struck) == counts


async def test_the_usual_decision_counts_nothing():
    enforcer = MemoryEnforcer()

    await collect(House(final("Hi."), DONE, enforcer=enforcer).ask(policy=striking()))

    assert enforcer.struck == []


async def test_a_rule_in_shadow_counts_nothing():
    enforcer = MemoryEnforcer()
    house = House(final("a bomb"), DONE, enforcer=enforcer)

    await collect(house.ask(policy=striking(mode=Mode.SHADOW)))

    assert enforcer.struck == []


async def test_what_is_let_out_may_count_too():
    enforcer = MemoryEnforcer()
    house = House(final("a bomb"), DONE, enforcer=enforcer)

    reply = await collect(house.ask(policy=striking(action=Action.FLAG), stream=True))

    assert visible(reply) == "a bomb"
    assert enforcer.struck == [(Stage.OUTPUT, ("no-bombs",))]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_strike_that_cannot_be_counted_lets_nothing_out(stream):
    released = []
    enforcer = MemoryEnforcer(StoreUnavailable("away"))
    house = House(final("a bomb"), DONE, enforcer=enforcer)

    with pytest.raises(StoreUnavailable):
        async for item in house.ask(policy=striking(action=Action.FLAG), stream=stream):
            released.append(item)

    assert released == [Admitted()]
    assert house.log.closed == [house.exchange]


async def test_moderation_counts_like_any_other_input():
    enforcer = MemoryEnforcer()
    house = House(enforcer=enforcer)
    house.ask(policy=striking())
    passages = [Passage(Source.USER, text) for text in ("a bomb", "hello")]

    await house.pipeline.moderate(house.exchange, passages)

    assert enforcer.struck == [(Stage.INPUT, ("no-bombs",))]


# --- What agents do -----------------------------------------------------------------------


def watched(text):
    """A policy whose `flows`, `tools` or `limits` are those of a file."""
    head = "apiVersion: ostiary/v1\nkind: Policy\n"
    head += "metadata: {id: agents, version: 1.0.0, owner: a@acme.example}\n"
    return parse_policy(f"{head}categories: {{bomb: {{severity: high}}}}\n{text}".encode()).policy


NO_MAIL = """\
flows:
  - id: no-mail
    after: {result_of: [web], category: bomb, gte: 0.5}
    calls_to: [mail]
"""


def after_a_page(page):
    call = Message(Role.ASSISTANT, "{}", Channel.COMMENTARY, "web", "c1")
    result = Message(Role.TOOL, page, tool="web", call_id="c1")
    return Prompt("m", (Message(Role.USER, "hi"), call, result))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("page", "tool", "stopped"),
    [("a bomb", "mail", True), ("a bomb", "search", False), ("a page", "mail", False)],
)
async def test_what_a_tool_brought_in_decides_which_calls_leave(page, tool, stopped, stream):
    call = Delta(Channel.COMMENTARY, '{"to": "x"}', 1, tool)
    house = House(thought("Hm."), call, DONE)

    reply = await collect(house.ask(after_a_page(page), watched(NO_MAIL), stream))

    assert isinstance(reply[-1], Refusal) is stopped
    assert any(isinstance(item, Delta) and item.tool for item in reply) is not stopped
    if stopped:
        assert reply[-1].decision.code == "data_flow_denied"
        assert house.exchange.reason == "no-mail"


async def test_a_page_that_no_classifier_could_read_stops_the_call_as_a_bad_one_does():
    class Silent(WordPanel):
        def verdict(self, passage):
            silent = passage.source is Source.TOOL
            return Verdict("word@1", "bomb", None if silent else 0.0, error="timeout")

    house = House(Delta(Channel.COMMENTARY, "{}", 1, "mail"), DONE)
    house.pipeline = Pipeline(house.runner, Silent(), house.log)

    reply = await collect(house.ask(after_a_page("a page"), watched(NO_MAIL)))

    assert reply[-1].decision.determining_rules == ("no-mail",)


async def test_the_calls_of_one_reply_are_counted():
    calls = [Delta(Channel.COMMENTARY, '{"n": 1}', n, "search") for n in range(4)]
    limit = watched("limits:\n  - {id: loop, same_call: 2, per: reply}\n")

    reply = await collect(House(*calls, DONE).ask(policy=limit, stream=True))

    assert len([item for item in reply if isinstance(item, Delta)]) == 2
    assert reply[-1].decision.code == "agent_limit_reached"


async def test_the_arguments_of_a_call_are_whole_before_anything_of_them_leaves():
    pieces = ['{"comm', 'and": "rm', ' -rf /"}']
    calls = [Delta(Channel.COMMENTARY, piece, 1, "shell") for piece in pieces]
    house = House(*calls, DONE)
    listed = watched(
        "tools:\n  id: list\n  listed:\n    - {id: shell, tools: [shell], actions: [block],"
        " otherwise: [allow], arguments: {/command: {contains: 'rm -rf'}}}\n"
    )

    reply = await collect(house.ask(policy=listed, stream=True))

    assert [type(item) for item in reply] == [Admitted, Refusal]
    assert reply[-1].decision.determining_rules == ("shell",)
    assert [passage.text for passage in house.panel.read][-1] == "".join(pieces)


async def test_a_result_is_judged_as_it_is_cut_and_set_apart_for_the_model_alone():
    results = watched("results: [{tools: [web], cut_at: 6, spotlight: mark}]\n")
    house = House(final("Well."), DONE)

    await collect(house.ask(after_a_page("a page with a bomb"), results))

    judged = [passage.text for passage in house.panel.read if passage.source is Source.TOOL]
    told, read = house.runner.asked.messages[0], house.runner.asked.messages[-1]
    assert judged == ["a page\n[12 more characters of this result were left out]"]
    assert told.role is Role.DEVELOPER
    assert f"a{SIGN}page" in read.text
    assert house.exchange.prompt.messages[-1].text == judged[0]


async def test_a_limit_counts_what_came_and_not_what_is_left_of_it():
    both = watched(
        "results: [{tools: [web], cut_at: 6}]\nlimits: [{id: long, one_result_chars: 10}]\n"
    )

    reply = await collect(House(final("Well."), DONE).ask(after_a_page("a page, long"), both))

    assert reply[-1].decision.determining_rules == ("long",)


async def test_the_model_is_told_of_listed_functions_alone_if_the_policy_says_so():
    listed = watched(
        "tools: {id: list, offered: listed, listed: [{id: a, tools: [web], actions: [allow]}]}\n"
    )
    house = House(final("Well."), DONE)
    offered = (Tool("web"), Tool("shell"))

    await collect(house.ask(Prompt("m", (Message(Role.USER, "hi"),), offered), listed))

    assert [tool.name for tool in house.runner.asked.tools] == ["web"]


@pytest.mark.parametrize(("action", "asked"), [(Action.REVIEW, True), (Action.BLOCK, False)])
async def test_a_call_of_the_history_waits_for_nobody_and_may_be_blocked(action, asked):
    call = Message(Role.ASSISTANT, "a bomb", Channel.COMMENTARY, "web", "c1")
    history = (Message(Role.USER, "hi"), call, Message(Role.TOOL, "ok", tool="web", call_id="c1"))
    house = House(final("Well."), DONE)

    await collect(house.ask(Prompt("m", history), policy(rule(action, {Stage.TOOL_CALL}))))
    unanswered = House(final("Well."), DONE)
    await collect(unanswered.ask(Prompt("m", history[:2]), policy(rule(action, {Stage.TOOL_CALL}))))

    assert (house.runner.asked is not None) is asked
    assert unanswered.runner.asked is None  # it may not have been judged before
