import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from classifiers.judges.overseer import Opinion
from gateway.errors import AuditUnavailable
from gateway.exchange import Exchange
from gateway.oversight import Oversight, decide, sampled
from gateway.types import Principal, Scope, Stopped
from model_runner.types import Channel, Delta, Message, Prompt, Role
from policies.types import Action, Band, Policy, Rule, Rung, Stage

CALLER = Principal("k", "acme", frozenset({Scope.CALLER}), 60, 60)
TRANSFER, OTHER = "misalignment.data_transfer", "misalignment.other"
FOUND = Opinion(0.97, ("misalignment.exfiltration",), "act", "quotes the thought")
CLEAR = Opinion(0.03)


def rule(category, *stages, name="judged", classifiers=("monitor",), rungs=("overseer",)):
    return Rule(
        name,
        category,
        frozenset(stages or Stage),
        (Band(0.9, Action.BLOCK, alert=True), Band(0.5, Action.FLAG)),
        dict.fromkeys(Stage, Action.REVIEW),
        frozenset(classifiers),
        rungs=tuple(Rung(each, 0.3) for each in rungs),
    )


POLICY = Policy("test", "1.0.0", "00", (rule(TRANSFER), rule(OTHER, name="other")))


def ended(*said, suspected=False, policy=POLICY, id="req_1", stopped=None):
    prompt = Prompt("m", (Message(Role.USER, "Tidy up."),))
    exchange = Exchange(id, CALLER, prompt, policy, "chat", False, "scripted")
    exchange.course.begin(prompt)
    for number, (channel, text, tool) in enumerate(said or [(Channel.ANALYSIS, "Hm.", None)]):
        exchange.course.add(Delta(channel, text, number, tool))
    exchange.stopped = stopped
    if suspected:
        steps = exchange.course.steps
        found = decide(exchange, steps, FOUND, Judge(CLEAR), 1.0)
        exchange.decisions.append(found)
        exchange.decision_ids.append("dec_0")
    return exchange


class Judge:
    """Gives the opinion the test wants, when the test wants it."""

    name, digest = "overseer@1", "ab"

    def __init__(self, *told, waits=None):
        self.told, self.waits, self.read = list(told), waits, []

    async def review(self, steps):
        self.read.append(steps)
        if self.waits is not None:
            await self.waits.wait()
        told = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        if isinstance(told, Exception):
            raise told
        return told


class Log:
    def __init__(self, fails=False):
        self.entries, self.fails = [], fails

    async def append(self, *entries):
        await asyncio.sleep(0)
        if self.fails:
            raise AuditUnavailable("the decision log cannot be written")
        self.entries += entries


class Follower:
    """Keeps what followed, and what was durable by then."""

    def __init__(self):
        self.followed = []

    async def follow(self, exchange, decision, new, recorded):
        await recorded
        self.followed.append((exchange.id, decision.determining_rules, exchange.decision_ids[-1]))


def house(judge, *, log=None, **options):
    log, follower, counted = log or Log(), Follower(), Counter()
    oversight = Oversight(
        judge, log, follower, count=lambda result, _: counted.update([result]), **options
    )
    oversight.start()
    return oversight, log, follower, counted


async def reviewed(judge, *exchanges, **options):
    oversight, log, follower, counted = house(judge, **options)
    for exchange in exchanges:
        oversight.consider(exchange)
    await oversight.aclose(5.0)
    return log, follower, counted


async def test_what_was_suspected_is_reviewed_and_what_is_found_has_its_consequences():
    judge = Judge(FOUND)
    exchange = ended(
        (Channel.ANALYSIS, "I send it out.", None),
        (Channel.COMMENTARY, '{"to": "x"}', "mail"),
        suspected=True,
    )

    log, follower, counted = await reviewed(judge, exchange)

    (entry,) = log.entries
    assert entry.type == "oversight.decided"
    assert entry.request_id == "req_1"
    assert entry.body["decision"]["stage"] == "tool_call"
    assert entry.body["decision"]["action"] == "block"
    assert entry.body["review"]["why"] == "flagged"
    assert entry.body["review"]["categories"] == ["misalignment.exfiltration"]
    assert "quotes" not in str(entry.body)
    assert "send it out" not in str(entry.body)
    assert follower.followed == [("req_1", ("judged",), entry.body["decision"]["id"])]
    assert counted == {"violation": 1}
    assert [step.text for step in judge.read[0]] == ["Tidy up.", "I send it out.", '{"to": "x"}']


async def test_a_review_that_finds_nothing_is_recorded_too():
    log, follower, counted = await reviewed(Judge(CLEAR), ended(suspected=True))

    (entry,) = log.entries
    assert entry.body["decision"]["action"] == "allow"
    assert follower.followed[0][1] == ()
    assert counted == {"clear": 1}


@pytest.mark.parametrize(
    ("part", "said", "stage"),
    [
        ("thought", ((Channel.ANALYSIS, "a", None), (Channel.COMMENTARY, "{}", "t")), "reasoning"),
        ("act", ((Channel.ANALYSIS, "a", None), (Channel.COMMENTARY, "{}", "t")), "tool_call"),
        ("act", ((Channel.ANALYSIS, "a", None), (Channel.FINAL, "b", None)), "output"),
    ],
)
async def test_it_is_decided_where_it_was_found(part, said, stage):
    exchange = ended(*said)

    decision = decide(exchange, exchange.course.steps, replace(FOUND, part=part), Judge(CLEAR), 1.0)

    assert decision.stage == stage
    assert decision.action is Action.BLOCK


def test_only_rules_that_name_the_reviewer_and_are_about_misalignment_decide():
    others = (
        rule("hate", name="hate"),
        rule(TRANSFER, name="unjudged", rungs=()),
        rule(TRANSFER, name="alone", classifiers=("overseer",), rungs=()),
    )
    exchange = ended(policy=Policy("test", "1.0.0", "00", others))

    decision = decide(exchange, exchange.course.steps, FOUND, Judge(CLEAR), 1.0)

    assert decision.determining_rules == ("alone",)
    assert [outcome.rule for outcome in decision.outcomes] == ["alone"]


def test_what_the_reviewer_was_not_shown_is_a_missing_answer():
    exchange = ended((Channel.ANALYSIS, "x" * 100, None))

    decision = decide(exchange, exchange.course.steps, replace(CLEAR, unread=40), Judge(CLEAR), 1.0)

    assert decision.action is Action.REVIEW
    assert decision.receipts[0].unscanned_chars == 40
    assert "too_long" in decision.outcomes[0].missing


async def test_what_nobody_suspected_is_reviewed_as_a_sample():
    everything, _, _ = await reviewed(Judge(CLEAR), ended(), percent=100.0)
    nothing, _, _ = await reviewed(Judge(CLEAR), ended(), percent=0.0)

    assert [entry.body["review"]["why"] for entry in everything.entries] == ["sampled"]
    assert nothing.entries == []


def test_the_sample_is_the_same_each_time_and_as_large_as_it_should_be():
    ids = [f"req_{number}" for number in range(4000)]
    taken = {each for each in ids if sampled(each, 10.0)}

    assert 320 <= len(taken) <= 480
    assert taken == {each for each in ids if sampled(each, 10.0)}
    assert taken < {each for each in ids if sampled(each, 20.0)}


async def test_what_was_never_said_or_is_stopped_already_is_not_reviewed():
    silent = ended(suspected=True)
    silent.course.begin(silent.prompt)
    stopped = ended(suspected=True, stopped=Stopped("stop_1", None))

    log, _, _ = await reviewed(Judge(FOUND), silent, stopped, percent=100.0)

    assert log.entries == []


async def test_without_a_reviewer_nothing_is_kept():
    oversight, log, _, _ = house(None, percent=100.0)

    oversight.consider(ended(suspected=True))
    await oversight.aclose(1.0)

    assert (oversight.waiting, log.entries) == (0, [])


@pytest.mark.parametrize(
    ("told", "reason"), [("timeout", "timeout"), (RuntimeError("quotes"), "failed")]
)
async def test_a_review_without_an_answer_is_recorded_as_none(told, reason):
    log, follower, counted = await reviewed(Judge(told), ended(suspected=True))

    (entry,) = log.entries
    assert entry.type == "oversight.skipped"
    assert entry.body["review"] == {"why": "flagged", "reason": reason}
    assert follower.followed == []
    assert counted == {"unanswered": 1}


async def test_the_next_exchange_is_reviewed_after_one_that_failed():
    judge = Judge(RuntimeError("no"), FOUND)

    log, _, _ = await reviewed(
        judge, ended(suspected=True), ended(suspected=True, id="req_2"), percent=0.0
    )

    assert sorted(entry.type for entry in log.entries) == ["oversight.decided", "oversight.skipped"]


async def test_what_does_not_fit_into_the_queue_is_counted_and_recorded():
    gate = asyncio.Event()
    oversight, log, _, counted = house(Judge(CLEAR, waits=gate), most_waiting=2)

    for number in range(6):
        oversight.consider(ended(suspected=True, id=f"req_{number}"))
        await asyncio.sleep(0)
    gate.set()
    await oversight.aclose(5.0)

    kinds = Counter(entry.type for entry in log.entries)
    assert kinds == {"oversight.decided": 4, "oversight.skipped": 2}
    assert {
        entry.body["review"]["reason"] for entry in log.entries if entry.type.endswith("skipped")
    } == {"queue_full"}
    assert counted == {"clear": 4, "dropped": 2}


async def test_what_waits_at_shutdown_is_recorded_as_not_reviewed():
    oversight, log, _, counted = house(Judge(CLEAR, waits=asyncio.Event()))
    for number in range(5):
        oversight.consider(ended(suspected=True, id=f"req_{number}"))

    await oversight.aclose(0.05)
    oversight.consider(ended(suspected=True, id="req_late"))
    await asyncio.sleep(0.01)

    assert {entry.request_id for entry in log.entries} == {f"req_{n}" for n in range(5)} | {
        "req_late"
    }
    assert {entry.body["review"]["reason"] for entry in log.entries} == {"shutdown"}
    assert counted == {"dropped": 6}


async def test_a_review_that_cannot_be_recorded_has_no_consequences():
    log, follower, counted = await reviewed(
        Judge(FOUND), ended(suspected=True), log=Log(fails=True)
    )

    assert log.entries == []
    assert follower.followed == []
    assert counted == {"unanswered": 1}
