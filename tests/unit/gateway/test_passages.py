from hypothesis import given
from hypothesis import strategies as st

from classifiers.types import Source, Span
from gateway.passages import prompt_portions, redact, redact_prompt, reply_passage
from model_runner.types import Channel, Delta, Message, Prompt, Role, Tool
from policies.types import Redaction, Stage

SPANS = st.lists(st.tuples(st.integers(-5, 30), st.integers(0, 10)), max_size=6)


def hide(*spans, passage=0):
    return [Redaction(passage, Span(start, end, "key")) for start, end in spans]


def test_a_span_is_replaced_by_its_kind():
    assert redact("my key is 123 ok", hide((10, 13))) == "my key is [key] ok"


def test_overlapping_spans_become_one():
    assert redact("abcdefgh", hide((1, 4), (3, 6))) == "a[key]gh"


def test_a_span_that_began_earlier_is_cut_to_the_text():
    assert redact("abcdef", hide((-3, 2))) == "[key]cdef"


def test_what_has_already_left_is_beyond_recall():
    assert redact("abcdefgh", hide((0, 2), (3, 5)), start=4) == "[key]fgh"


@given(st.text("xyz", min_size=30, max_size=30), SPANS, st.integers(0, 30))
def test_nothing_of_a_redacted_span_is_left_after_the_start(text, drawn, start):
    spans = [(first, first + length) for first, length in drawn]
    marked = "".join(
        "S" if any(first <= at < end for first, end in spans) else c for at, c in enumerate(text)
    )

    assert "S" not in redact(marked, hide(*spans), start)


def test_every_text_of_a_prompt_is_read_at_its_stage():
    tool = Tool("search", "Finds pages.", {"properties": {"q": {"description": "the query"}}})
    prompt = Prompt(
        "m",
        (
            Message(Role.DEVELOPER, "be brief"),
            Message(Role.USER, "hello"),
            Message(Role.ASSISTANT, "hmm", Channel.ANALYSIS),
            Message(Role.ASSISTANT, '{"q": 1}', Channel.COMMENTARY, "search", "c1"),
            Message(Role.TOOL, "found", tool="search", call_id="c1"),
            Message(Role.ASSISTANT, "done", Channel.FINAL),
        ),
        tools=(tool,),
        json_schema={"title": "an answer"},
    )

    read = {
        portion.stage: [passage.text for passage in portion.passages]
        for portion in prompt_portions(prompt)
    }

    assert read[Stage.TOOL_RESULT] == ["found"]
    assert read[Stage.REASONING] == ["hmm"]
    assert read[Stage.TOOL_CALL] == ['{"q": 1}']
    assert read[Stage.INPUT][:3] == ["be brief", "hello", "done"]
    declared = read[Stage.INPUT][3]
    assert all(part in declared for part in ("search", "Finds pages.", "the query", "an answer"))


def test_a_redaction_reaches_the_message_it_was_found_in():
    prompt = Prompt("m", (Message(Role.DEVELOPER, "brief"), Message(Role.USER, "key 123")))
    portion = prompt_portions(prompt)[0]

    redacted = redact_prompt(prompt, portion, hide((4, 7), passage=1))

    assert [message.text for message in redacted.messages] == ["brief", "key [key]"]


def test_a_call_is_judged_as_a_call_whatever_its_channel():
    call = Delta(Channel.COMMENTARY, "{}", 1, "send")

    passage = reply_passage(call, "", Prompt("m", (Message(Role.USER, "hello"),)))

    assert (passage.source, passage.tool, passage.prompt) == (Source.CALL, "send", "hello")
