from dataclasses import replace
from itertools import cycle, pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.holdback import LONGEST_WORD, Ahead, Held, Holdback
from model_runner.types import Channel, Delta

TEXT = st.text(alphabet="ab .\n!é。", max_size=400)
MESSAGES = st.lists(
    st.tuples(st.sampled_from(Channel), st.booleans(), TEXT), min_size=1, max_size=4
)


def chunked(messages, cuts):
    """Cut each message at the given places into deltas."""
    deltas = []
    for number, (channel, is_call, text) in enumerate(messages):
        tool = "send" if is_call and channel is Channel.COMMENTARY else None
        places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
        pieces = [text[a:b] for a, b in pairwise(places)] or [""]
        deltas += [Delta(channel, piece, number, tool) for piece in pieces]
    return deltas


def run(deltas, budget=0):
    holdback, items = Holdback(budget), []
    for delta in deltas:
        items += holdback.push(delta)
    return items + holdback.flush()


def said(deltas):
    texts: dict[tuple, str] = {}
    for delta in deltas:
        key = (delta.message, delta.channel, delta.tool)
        texts[key] = texts.get(key, "") + delta.text
    return texts


@given(MESSAGES, st.lists(st.integers(0, 400), max_size=20))
def test_the_passages_are_exactly_the_deltas_message_by_message(messages, cuts):
    deltas = chunked(messages, cuts)

    assert said([held.delta for held in run(deltas)]) == said(deltas)


@given(MESSAGES, st.lists(st.integers(0, 400), max_size=20))
def test_a_tool_call_is_one_passage(messages, cuts):
    calls = [held.delta for held in run(chunked(messages, cuts)) if held.delta.tool]

    assert len({call.message for call in calls}) == len(calls)


@given(MESSAGES, st.lists(st.integers(0, 400), max_size=20), st.integers(1, 100))
def test_what_is_let_ahead_is_a_prefix_within_the_budget(messages, cuts, budget):
    judged, out, message = "", "", None
    for item in run(chunked(messages, cuts), budget):
        if item.delta.message != message:
            judged, out, message = "", "", item.delta.message
        if isinstance(item, Ahead):
            out += item.delta.text
            assert item.delta.channel is Channel.FINAL
            assert len(out) - len(judged) <= budget
        else:
            assert (judged + item.delta.text).startswith(out)
            assert item.ahead == min(len(out) - len(judged), len(item.delta.text))
            judged += item.delta.text
            out = max(out, judged, key=len)


def test_without_a_budget_nothing_goes_ahead():
    deltas = [Delta(Channel.FINAL, "word ") for _ in range(200)]

    assert all(isinstance(item, Held) for item in run(deltas))


def test_a_change_of_message_ends_the_passage():
    holdback = Holdback()
    holdback.push(Delta(Channel.ANALYSIS, "a thought", 0))

    ready = holdback.push(Delta(Channel.FINAL, "a reply", 1))

    assert [held.delta.text for held in ready] == ["a thought"]


def test_a_word_is_not_cut_in_two():
    key = "sk-" + "x" * 200
    items = run([Delta(Channel.FINAL, "the key is "), *(Delta(Channel.FINAL, c) for c in key)])

    assert any(key in held.delta.text for held in items)


def test_a_number_in_groups_is_not_cut_in_two():
    for pad in range(40, 90):
        text = (
            "x" * pad + " Pay GB82 WEST 1234 5698 7654 32 now, or +1 (212) 555-0187. " + "a b " * 99
        )
        items = run([Delta(Channel.FINAL, character) for character in text])

        for number in ("GB82 WEST 1234 5698 7654 32", "+1 (212) 555-0187"):
            assert any(number in held.delta.text for held in items)


def test_a_date_and_a_name_are_not_cut_in_two():
    for pad in range(40, 90):
        text = (
            "x" * pad + " was said by our Ada Lovelace Byron, born on March 3, 1971 " + "a b " * 99
        )
        items = run([Delta(Channel.FINAL, character) for character in text])

        for whole in ("Ada Lovelace Byron", "March 3, 1971"):
            assert any(whole in held.delta.text for held in items)


def test_a_run_without_spaces_is_let_go_at_last():
    holdback = Holdback()

    ready = [
        item for c in "x" * (LONGEST_WORD + 1) for item in holdback.push(Delta(Channel.FINAL, c))
    ]

    assert sum(len(held.delta.text) for held in ready) >= LONGEST_WORD


def test_a_passage_carries_the_text_before_it():
    items = run([Delta(Channel.FINAL, "one sentence. " * 20), Delta(Channel.FINAL, "the end")])

    assert items[-1].before.endswith("one sentence. ")


def test_a_passage_carries_the_messages_before_it_that_have_the_same_reader():
    items = run(
        [
            Delta(Channel.ANALYSIS, "hm", 0),
            Delta(Channel.COMMENTARY, "I look", 1),
            Delta(Channel.COMMENTARY, "{}", 2, "look"),
            Delta(Channel.ANALYSIS, "aha", 3),
            Delta(Channel.FINAL, "found", 4),
        ]
    )

    assert [held.before for held in items] == ["", "", "", "hm\n\n", "I look\n\n"]


def test_an_empty_message_is_one_empty_passage():
    items = run([Delta(Channel.COMMENTARY, "", 0, "ping"), Delta(Channel.FINAL, "ok", 1)])

    assert [(held.delta.tool, held.delta.text) for held in items] == [("ping", ""), (None, "ok")]


def test_an_empty_message_after_another_is_one_empty_passage_too():
    items = run([Delta(Channel.COMMENTARY, "ok", 0), Delta(Channel.FINAL, "", 1)])

    assert [held.delta.text for held in items] == ["ok", ""]


SCORES = st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.9, None]), min_size=1, max_size=8)


@given(MESSAGES, st.lists(st.integers(0, 400), max_size=20), SCORES)
def test_a_passage_has_the_highest_score_read_while_any_of_it_was_said(messages, cuts, scores):
    deltas = [
        replace(delta, probed=None if score is None else {"bad": score})
        for delta, score in zip(chunked(messages, cuts), cycle(scores), strict=False)
    ]
    begins = _beginnings(deltas)

    taken: dict[int, int] = {}
    for held in run(deltas):
        message, text = held.delta.message, held.delta.text
        begin = taken.get(message, 0)
        taken[message] = end = begin + len(text)
        inside = [
            delta.probed
            for delta, start in zip(deltas, begins, strict=True)
            if delta.message == message and start < end and start + len(delta.text) > begin
        ]
        if any(probed is None for probed in inside):
            assert held.delta.probed is None
        elif held.delta.probed is not None and inside:
            assert held.delta.probed["bad"] >= max(probed["bad"] for probed in inside)


def _beginnings(deltas):
    """Where in its message each delta begins."""
    begins, spoken = [], {}
    for delta in deltas:
        begins.append(spoken.get(delta.message, 0))
        spoken[delta.message] = begins[-1] + len(delta.text)
    return begins


def test_a_piece_that_is_cut_in_two_counts_for_both_passages():
    sentence = "This is said at some length, so that it is judged by itself at last, see here. "
    first = Delta(Channel.FINAL, sentence, 0, probed={"bad": 0.1})
    cut = Delta(Channel.FINAL, sentence + "And", 0, probed={"bad": 0.9})
    last = Delta(Channel.FINAL, " more.", 0, probed={"bad": 0.2})

    held = run([first, cut, last])

    said = [(item.delta.text, item.delta.probed["bad"]) for item in held]
    assert said == [(sentence + sentence, 0.9), ("And more.", 0.9)]


def test_an_empty_message_keeps_what_was_read_of_it():
    [held] = run([Delta(Channel.FINAL, "", 0, probed={"bad": 0.7})])

    assert held.delta.probed == {"bad": 0.7}


def test_what_nobody_read_has_no_score():
    [held] = run([Delta(Channel.FINAL, "a", 0, probed={"bad": 0.7}), Delta(Channel.FINAL, "b", 0)])

    assert held.delta.probed is None
