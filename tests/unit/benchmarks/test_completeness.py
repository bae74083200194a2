import json
from copy import deepcopy

import pytest

from benchmarks.callers import Given, Question
from benchmarks.completeness import contradictions, unfinished
from benchmarks.engine import ANSWER

SAID = ANSWER[:73]


def entry(seq, type, request="req_1", **body):
    replica = {"id": "rep_1", "seq": seq}
    return {"id": f"e{seq}", "type": type, "replica": replica, **body} | (
        {"request": {"id": request}} if request else {}
    )


def decided(seq, stage, chars):
    decision = {"id": f"dec_{seq}", "stage": stage, "action": "allow"}
    read = [{"scanned_chars": chars}, {"scanned_chars": chars + 1}]
    return entry(seq, "decision.recorded", decision=decision, classifiers=read)


LOG = [
    entry(1, "replica.started", None),
    entry(2, "request.admitted"),
    decided(3, "input", 20),
    entry(4, "stream.started"),
    decided(5, "output", len(SAID)),
    entry(6, "request.completed"),
    entry(7, "request.denied", "req_2"),
]


def streamed(text, finish_reason="stop"):
    chunk = {"choices": [{"delta": {"content": text}, "finish_reason": finish_reason}]}
    return bytearray(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def caller(**changes):
    fields = {"status": 200, "request_id": "req_1", "decision_id": "dec_3", "raw": streamed(SAID)}
    return Given(Question(), **(fields | changes))


def test_a_whole_log_contradicts_nobody():
    denied = caller(status=401, request_id="req_2", decision_id="e7", raw=bytearray())

    assert contradictions(LOG, [caller(), denied]) == []


@pytest.mark.parametrize("lost", range(len(LOG)))
def test_an_entry_that_is_missing_is_noticed(lost):
    shorter = LOG[:lost] + LOG[lost + 1 :]

    assert contradictions([*shorter, entry(8, "replica.stopped", None)], [caller()])


@pytest.mark.parametrize("lost", [2, 3, 4, 5, 6])
def test_what_a_caller_holds_is_noticed_even_if_the_numbers_leave_no_gap(lost):
    shorter = deepcopy(LOG[: lost - 1] + LOG[lost:])
    for seq, each in enumerate(shorter, 1):
        each["replica"]["seq"] = seq

    assert contradictions(shorter, [caller()])


@pytest.mark.parametrize(
    ("extra", "noticed"),
    [
        (entry(8, "request.lost"), "2 terminal records"),
        (entry(8, "stream.started"), "follows the terminal record"),
        (entry(8, "request.admitted"), "not admitted once"),
        (entry(8, "request.completed", "req_3"), "not admitted once"),
    ],
)
def test_an_entry_too_many_is_noticed(extra, noticed):
    assert any(noticed in wrong for wrong in contradictions([*LOG, extra], []))


def test_an_end_that_came_late_may_follow_the_end():
    assert contradictions([*LOG, entry(8, "request.closed_late")], []) == []


@pytest.mark.parametrize(
    ("given", "noticed"),
    [
        (caller(decision_id="dec_9"), "is not in the log"),
        (caller(raw=streamed(ANSWER[:74])), "74 characters left and 73 were judged"),
        (caller(raw=streamed("I made this up.")), "what the model did not say"),
        (caller(request_id="req_9"), "admission is not in the log"),
        (caller(status=400), "refused with 400"),
    ],
)
def test_a_caller_who_holds_what_the_log_does_not_is_noticed(given, noticed):
    assert any(noticed in wrong for wrong in contradictions(LOG, [given]))


def test_a_reply_that_was_complete_for_its_caller_and_is_recorded_as_lost_is_noticed():
    log = [*LOG[:5], entry(6, "request.lost"), LOG[6]]

    assert any("complete for its caller" in wrong for wrong in contradictions(log, [caller()]))
    assert contradictions(log, [caller(raw=streamed(SAID, finish_reason=None))]) == []


def test_a_request_without_an_end_is_unfinished():
    assert (unfinished(LOG), unfinished(LOG[:5])) == (set(), {"req_1"})
