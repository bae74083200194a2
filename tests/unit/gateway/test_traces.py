from gateway.traces import MOST, taken_out, traced
from policies.trail import Step

PAGE = Step("web", 900, 1, digest="d1", scores={"bad": 0.7, "good": 0.0}, unread={"odd": 0.2})
MAIL = Step("mail", 90, 0, digest="d2", scores={})


def test_a_result_that_is_still_there_is_not_added():
    assert taken_out([(0, traced([PAGE, MAIL]))], [PAGE, MAIL]) == []


def test_one_that_is_gone_comes_back_with_what_it_scored():
    (found,) = taken_out([(2, traced([PAGE, MAIL]))], [MAIL])

    assert found == Step("web", 0, 3, False, "d1", PAGE.scores, PAGE.unread)


def test_one_that_was_put_in_its_place_does_not_stand_for_it():
    other = Step("web", 900, 1, digest="d3", scores={"bad": 0.0})

    assert [each.digest for each in taken_out([(0, traced([PAGE]))], [other])] == ["d1"]


def test_what_several_thoughts_had_read_counts_once():
    traces = [(1, traced([PAGE])), (0, traced([PAGE, MAIL]))]

    assert [each.digest for each in taken_out(traces, [])] == ["d1", "d2"]


def test_harmless_results_displace_none_that_scored_or_that_nobody_scored():
    high = Step("web", digest="high", scores={"bad": 0.9, "odd": 0.0})
    unscored = Step("web", digest="unscored")
    in_part = Step("web", digest="in part", unread={"bad": 0.2}, scores={"odd": 0.0})
    harmless = [
        Step("clock", digest=f"{n}", scores={"bad": 0.0, "odd": 0.0}) for n in range(MOST + 5)
    ]

    kept = taken_out([(0, traced([high, unscored, in_part, *harmless]))], [])

    assert len(kept) == MOST
    assert [each.digest for each in kept[:4]] == ["high", "unscored", "in part", "8"]


def test_a_trace_is_small_and_holds_the_latest():
    many = [
        Step("web", 9, 0, digest=f"{n:032x}", scores={f"c{i}": 0.0 for i in range(40)})
        for n in range(MOST + 5)
    ]

    trace = traced(many)

    assert len(taken_out([(0, trace)], [])) == MOST
    assert len(trace) < 8000
    assert traced([]) == b""
