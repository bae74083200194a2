from classifiers.types import Source, Span, Step
from gateway.passages import Course, prompt_portions, redact_prompt, reply_passage
from model_runner.types import Channel, Delta, Message, Prompt, Role, Tool
from policies.types import Redaction, Stage


def hide(*spans, passage=0):
    return [Redaction(passage, Span(start, end, "key")) for start, end in spans]


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


def test_a_redacted_call_of_the_history_stays_json():
    call = Message(Role.ASSISTANT, '{"card": 4111111111111111}', Channel.COMMENTARY, "pay", "c1")
    prompt = Prompt("m", (Message(Role.USER, "pay"), call))
    portion = next(p for p in prompt_portions(prompt) if p.stage is Stage.TOOL_CALL)

    redacted = redact_prompt(prompt, portion, hide((9, 25)))

    assert redacted.messages[1].text == '{"card": "[key]"}'


def test_a_call_is_judged_as_a_call_whatever_its_channel():
    call = Delta(Channel.COMMENTARY, "{}", 1, "send")

    passage = reply_passage(call, "", Prompt("m", (Message(Role.USER, "hello"),)), Course())

    assert (passage.source, passage.tool, passage.prompt) == (Source.CALL, "send", "hello")


ASKED = Prompt(
    "m",
    (
        Message(Role.SYSTEM, "be careful"),
        Message(Role.USER, "tidy up"),
        Message(Role.ASSISTANT, "I list them.", Channel.ANALYSIS),
        Message(Role.ASSISTANT, "{}", Channel.COMMENTARY, "list", "c1"),
        Message(Role.TOOL, "a, b", tool="list", call_id="c1"),
    ),
)


def test_what_the_model_did_before_is_judged_by_what_had_led_to_it():
    passages = {p.source: p for portion in prompt_portions(ASKED) for p in portion.passages}

    call = passages[Source.CALL]
    assert [step.text for step in call.trajectory.steps] == [
        "be careful",
        "tidy up",
        "I list them.",
    ]
    assert len(passages[Source.ANALYSIS].trajectory.steps) == 2
    assert passages[Source.TOOL].trajectory is None


def test_a_reply_is_judged_by_all_that_was_said_before_it():
    course = Course()
    course.begin(ASKED)
    for delta in (
        Delta(Channel.ANALYSIS, "Both are ", 0),
        Delta(Channel.ANALYSIS, "old.", 0),
        Delta(Channel.COMMENTARY, '{"name": "a"}', 1, "delete"),
    ):
        course.add(delta)

    passage = reply_passage(Delta(Channel.FINAL, "Done.", 2), "", ASKED, course)

    assert [step.source for step in passage.trajectory.steps[:2]] == [Source.SYSTEM, Source.USER]
    assert passage.trajectory.steps[-3:] == (
        Step(Source.TOOL, "a, b", "list"),
        Step(Source.ANALYSIS, "Both are old."),
        Step(Source.CALL, '{"name": "a"}', "delete"),
    )


def test_a_trajectory_that_was_handed_out_does_not_grow():
    course = Course()
    course.begin(ASKED)
    taken = course.trajectory()

    course.add(Delta(Channel.FINAL, "Done.", 0))

    assert len(taken.steps) == 5
