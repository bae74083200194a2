from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.conversation import (
    History,
    Kind,
    cleared,
    earlier_digest,
    evidence,
    issued_digest,
    issued_ids,
    marks_of_stop,
    opening,
    project_key,
    replied,
)
from model_runner.types import Channel, Delta, Message, Role

KEY = project_key(b"s" * 32, "shop")
STOPPED = "0" * 31 + "1"  # the exchange that was stopped
EARLIER, OTHER = "0" * 31 + "2", "0" * 31 + "3"


def user(text):
    return Message(Role.USER, text)


def model(text):
    return Message(Role.ASSISTANT, text, Channel.FINAL)


def call(arguments, tool="delete"):
    return Message(Role.ASSISTANT, arguments, Channel.COMMENTARY, tool, "c1")


def result(text, tool="delete"):
    return Message(Role.TOOL, text, tool=tool, call_id="c1")


ASKED = user("Please tidy up the shared folder.")
REPLY, GO_ON = model("It has 40 files. Which ones?"), user("Whichever you like.")
SECOND, LAST = model("I would begin with the old ones."), user("Then do that, all of them.")
OPENING = (ASKED,)
TWO_TURNS = (ASKED, REPLY, GO_ON)
THREE_TURNS = (*TWO_TURNS, SECOND, LAST)


def known(messages, stopped, asker="user-1", by="user-1", key=KEY):
    """By which kinds a request is known to go on with what was stopped."""
    marks = set(marks_of_stop(History(tuple(stopped)), STOPPED, KEY, by))
    places = evidence(History(tuple(messages)), key, asker)
    return {mark.kind for place in places for mark in place.said if mark in marks}


@pytest.mark.parametrize("stopped", [TWO_TURNS, THREE_TURNS])
@pytest.mark.parametrize(
    "more", [(), (user("Go on."),), (model("Sorry."), user("Go on."))], ids=["same", "more", "turn"]
)
def test_what_goes_on_with_every_word_of_it_is_known_whoever_asks(stopped, more):
    assert Kind.PREFIX in known((*stopped, *more), stopped, asker="somebody else")


def test_instructions_spacing_and_how_json_is_written_do_not_matter():
    stopped = (ASKED, call('{"a": 1, "b": [2]}'), result("done"))
    sent = (
        Message(Role.SYSTEM, "Today is Monday."),
        user("  Please tidy\nup the   shared folder. "),
        Message(Role.ASSISTANT, "It wants it tidy.", Channel.ANALYSIS),
        call('{"b":[2],"a":1}'),
        result("done"),
    )

    assert Kind.PREFIX in known(sent, stopped)


def test_words_of_the_model_are_one_text_however_they_are_cut():
    cut = (
        ASKED,
        Message(Role.ASSISTANT, "It has 40 files.", Channel.COMMENTARY),
        model("Which ones?"),
    )

    assert Kind.PREFIX in known((*cut, GO_ON), TWO_TURNS)


MORE = (model("Hm."), user("Go on, then."))


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((model("Hi. What can I do?"), *THREE_TURNS), id="a greeting first"),
        pytest.param((user(""), *THREE_TURNS), id="an empty message first"),
        pytest.param((ASKED, user(" \n"), *THREE_TURNS[1:]), id="a blank message amid it"),
        pytest.param((model(""), *THREE_TURNS), id="an empty turn of the model first"),
        pytest.param((ASKED, model(" "), *THREE_TURNS[1:]), id="a blank turn of the model"),
        pytest.param(
            (user("Please tidy"), user("up the shared folder."), *THREE_TURNS[1:]), id="in two"
        ),
    ],
)
def test_what_adds_no_word_of_the_callers_does_not_hide_it(before):
    assert Kind.PREFIX in known((*before, *MORE), THREE_TURNS, asker="somebody else")
    assert Kind.PREFIX in known((*THREE_TURNS, *MORE), before, asker="somebody else")


@pytest.mark.parametrize(
    "left",
    [(ASKED, GO_ON), (ASKED, user(""), GO_ON), (user(f"{ASKED.text} {GO_ON.text}"),)],
    ids=["two messages", "and a blank", "one message"],
)
def test_turns_of_the_model_that_are_left_out_do_not_hide_it_from_the_same_end_user(left):
    assert Kind.TURNS in known((*left, *MORE), TWO_TURNS)
    assert known((*left, *MORE), TWO_TURNS, asker="somebody else") == set()


@pytest.mark.parametrize(
    "before", [(user(" "), ASKED), (model("Hi."), ASKED), (user("Please"), user(ASKED.text[7:]))]
)
def test_an_opening_is_known_whatever_adds_no_word_to_it(before):
    assert opening(History(before), KEY, "user-1") == opening(History(OPENING), KEY, "user-1")
    assert begun((*before, *MORE), OPENING)[0][0] is True
    assert known((*before, *MORE), OPENING) == set()


def test_a_message_of_many_pieces_is_read_once():
    many = tuple(user("word") for _ in range(20_000))

    assert Kind.PREFIX in known((*many, REPLY, GO_ON), (user("word " * 20_000), REPLY, GO_ON))


def test_an_edited_last_reply_does_not_hide_it():
    edited = (*TWO_TURNS, model("I would begin with the new ones."), LAST)

    assert known(edited, THREE_TURNS, asker="somebody else") == {Kind.REPLY}


def test_every_reply_edited_is_still_known_for_the_same_end_user():
    edited = (ASKED, model("a"), GO_ON, model("b"), LAST)

    assert known(edited, THREE_TURNS) == {Kind.TURNS}
    assert known(edited, THREE_TURNS, asker="somebody else") == set()


def test_turns_too_short_to_be_told_from_chance_prove_nothing():
    stopped = (user("Hi"), model("Hello."), user("Go on"))

    assert known((user("Hi"), model("Hey."), user("Go on")), stopped) == set()


@pytest.mark.parametrize(
    "fresh",
    [
        pytest.param((ASKED,), id="the same beginning"),
        pytest.param((ASKED, model("Certainly."), LAST), id="another reply to it"),
        pytest.param((ASKED, REPLY, user("None of them.")), id="the same reply, and another turn"),
    ],
)
@pytest.mark.parametrize("stopped", [OPENING, TWO_TURNS, THREE_TURNS])
def test_a_fresh_conversation_that_begins_alike_is_not_taken_for_it(fresh, stopped):
    assert known(fresh, stopped) == set()


def test_an_opening_is_known_where_the_caller_goes_on_without_a_reply():
    sent = (ASKED, user("Why did you stop?"))

    assert known(sent, OPENING) == {Kind.OPENING}
    assert known(sent, OPENING, asker="somebody else") == set()


def test_what_branches_off_before_the_last_reply_is_another_conversation():
    assert known((ASKED, REPLY, user("Leave it.")), THREE_TURNS) == set()


def begun(messages, stopped, asker="user-1"):
    """Whether what was stopped in its first turn began as this did; and what it is cleared by."""
    marks = set(marks_of_stop(History(tuple(stopped)), STOPPED, KEY, "user-1"))
    places = evidence(History(tuple(messages)), KEY, asker)
    pairs = [place.begun for place in places if place.begun]
    return [(start in marks, mark) for start, mark in pairs]


def test_a_conversation_that_was_stopped_in_its_first_turn_is_known_behind_any_reply():
    [(known_, mark)] = begun((*TWO_TURNS, SECOND, LAST), OPENING)

    assert known_
    assert mark == cleared(History(OPENING), [REPLY], KEY, "user-1")
    assert mark != cleared(History(OPENING), [SECOND], KEY, "user-1")
    assert begun(TWO_TURNS, OPENING, asker="somebody else")[0][0] is False
    assert begun(TWO_TURNS, TWO_TURNS)[0][0] is False
    assert begun(OPENING, OPENING) == []


def test_an_opening_too_short_to_be_told_from_chance_proves_nothing_behind_a_reply():
    short = (user("Hi"),)

    assert begun((*short, model("Hello."), user("Go on")), short) == []
    assert opening(History(short), KEY, "user-1") is None


def test_what_has_a_reply_is_no_opening():
    assert opening(History(TWO_TURNS), KEY, "user-1") is None
    assert opening(History(OPENING), KEY, "user-1").kind is Kind.START


def test_another_project_has_other_marks():
    assert known(TWO_TURNS, TWO_TURNS, key=project_key(b"s" * 32, "other")) == set()


def test_a_reply_that_the_caller_has_begun_is_not_part_of_what_was_stopped():
    assert Kind.PREFIX in known(TWO_TURNS, (*TWO_TURNS, model("Sure, I will")))


def test_a_stop_is_known_by_its_own_ids_and_those_of_the_last_reply():
    history = History(THREE_TURNS, ((1, OTHER), (3, EARLIER)))

    marks = marks_of_stop(history, STOPPED, KEY, "user-1")

    assert {mark.digest for mark in marks if mark.kind is Kind.ISSUED} == {
        issued_digest(STOPPED),
        issued_digest(EARLIER),
    }
    assert {mark.digest for mark in marks if mark.kind is Kind.EARLIER} == {earlier_digest(OTHER)}


def test_each_place_has_the_ids_of_the_reply_before_it():
    history = History(THREE_TURNS, ((1, OTHER), (3, EARLIER)))

    places = evidence(history, KEY, "user-1")

    assert [place.issued for place in places] == [set(), {OTHER}, {EARLIER}]
    assert [place.earlier for place in places] == [set(), set(), {OTHER}]


def test_ids_that_the_gateway_gives_out_are_known():
    hexes = "0123456789abcdef" * 2
    given = [f"call_{hexes}0001", f"rs_{hexes}0000", f"resp_{hexes}", f"req_{hexes}"]

    assert list(issued_ids(*given)) == [hexes] * 4
    assert list(issued_ids("call_1", f"call_{hexes}00", f"call_{hexes.upper()}0000", None, 7)) == []


TEXTS = st.text(st.characters(), max_size=20)
MESSAGES = st.lists(
    st.one_of(
        TEXTS.map(user),
        TEXTS.map(model),
        TEXTS.map(call),
        TEXTS.map(result),
        TEXTS.map(lambda text: Message(Role.DEVELOPER, text)),
    ),
    max_size=8,
).map(tuple)


@given(MESSAGES, MESSAGES)
def test_whatever_follows_a_conversation_that_has_a_reply_it_is_known(begun, more):
    stopped = (ASKED, *begun, REPLY, GO_ON)

    assert Kind.PREFIX in known((*stopped, *more), stopped, asker="anybody")


@given(MESSAGES)
def test_a_conversation_with_another_first_word_is_never_taken_for_it(rest):
    stopped = (ASKED, REPLY, *rest)
    other = (replace(ASKED, text="Please leave the shared folder be."), REPLY, *rest)

    assert known(other, stopped) == set()


def known_after(sent, asked, reply, asker="user-1"):
    """By which kinds a request is known to go on with what was stopped after its reply had left."""
    marks = set(marks_of_stop(History(tuple(asked)), STOPPED, KEY, "user-1", reply))
    places = evidence(History(tuple(sent)), KEY, asker)
    return {mark.kind for place in places for mark in place.said if mark in marks}


def test_what_was_stopped_after_its_reply_is_known_by_that_reply():
    gone_on = (ASKED, REPLY, GO_ON)

    assert Kind.REPLIED in known_after(gone_on, OPENING, [REPLY])
    assert known_after(gone_on, OPENING, [REPLY], asker="somebody else") == set()
    assert known_after((ASKED, SECOND, GO_ON), OPENING, [REPLY]) == set()
    assert known_after(OPENING, OPENING, [REPLY]) == set()


def test_a_greeting_and_its_reply_are_no_conversation():
    hello, reply = user("Hello!"), model("Hello there.")

    assert known_after((hello, reply, GO_ON), (hello,), [reply]) == set()


def test_what_left_for_the_caller_is_the_reply_as_it_comes_back():
    released = [
        Delta(Channel.COMMENTARY, '{"a": ', 1, "delete"),
        Delta(Channel.COMMENTARY, "1}", 1, "delete"),
        Delta(Channel.FINAL, "It has ", 2),
        Delta(Channel.FINAL, "40 files.", 2),
    ]
    sent = (ASKED, call('{"a":1}'), model("It has 40 files."), GO_ON)

    assert Kind.REPLIED in known_after(sent, OPENING, replied(released))
    assert replied([]) == []
