from classifiers.types import Source, Span
from gateway.passages import prompt_portions, redact_prompt, reply_passage
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

    passage = reply_passage(call, "", Prompt("m", (Message(Role.USER, "hello"),)))

    assert (passage.source, passage.tool, passage.prompt) == (Source.CALL, "send", "hello")
