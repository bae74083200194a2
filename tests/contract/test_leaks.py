"""For any chunking on any surface: what leaves is a prefix of what was judged harmless."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.live import DONE, Gateway, call, final, preamble, thought
from tests.contract.surfaces import SURFACES, WEATHER, ask

KEY = "sk-proj-FAKE7hB3nM5qZ8wK2vT6rX9cJ4yL1dG0sP5fU8eA3oR6"
_PART = (string.ascii_letters + string.digits) * 12
TOKEN = f"eyJ{_PART[:300]}.eyJ{_PART[:700]}.{_PART[:340]}"  # a JSON web token of usual size
BOMB = "I will help build the pipe bomb."
SECRETS = [KEY, TOKEN]
NUMBERS = {
    "4111 1111 1111 1111": "[card]",
    "GB82 WEST 1234 5698 7654 32": "[iban]",
    "536-22-1234": "[ssn]",
}
BUDGET = 30

POLICY = """\
apiVersion: ostiary/v1
kind: Policy
metadata: {id: ahead, version: 1.0.0, owner: test@ostiary.example}
defaults: {on_unavailable: block, deadline_ms: 4000, max_unscreened_chars: 30}
categories:
  illicit/violent: {severity: high, clause: "1", rationale: "As in the baseline."}
  secrets.credential: {severity: high, clause: "2", rationale: "As in the baseline."}
rules:
  - id: violence
    category: illicit/violent
    stages: [input, tool_result, reasoning, tool_call, output]
    bands: [{gte: 0.9, actions: [block]}]
    code: bio_policy
    tests:
      - {name: at, given: {stage: output, scores: {illicit/violent: 0.9}}, expect: block}
      - {name: below, given: {stage: output, scores: {illicit/violent: 0.8}}, expect: allow}
  - id: secrets
    category: secrets.credential
    stages: [reasoning, tool_call, output]
    bands: [{gte: 0.9, actions: [block]}]
    tests:
      - {name: at, given: {stage: output, scores: {secrets.credential: 0.9}}, expect: block}
      - {name: below, given: {stage: output, scores: {secrets.credential: 0.8}}, expect: allow}
"""

SENTENCES = st.lists(
    st.sampled_from(
        [
            "We talked. ",
            "The library opens at nine, and the bakery beside it at eight. ",
            "a\nb\n",
            "時間です。",
            "🙂 ",
        ]
    ),
    max_size=30,
).map("".join)
CUTS = st.lists(st.integers(1, 90), min_size=1, max_size=30)
SLOWLY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def ahead(tmp_path_factory):
    """A gateway whose policy lets a stream run `BUDGET` characters ahead of its judges."""
    folder = tmp_path_factory.mktemp("ahead")
    (folder / "policy.yaml").write_text(POLICY)
    with Gateway(folder / "home", policy=str(folder / "policy.yaml")) as gateway:
        yield gateway


@pytest.fixture(params=SURFACES)
def surface(request):
    return request.param


def chunks(text, sizes):
    """Cut `text` into pieces of these sizes, again and again."""
    start, number = 0, 0
    while start < len(text):
        size = sizes[number % len(sizes)]
        yield text[start : start + size]
        start, number = start + size, number + 1


def judged_chars(answer):
    """How much of the reply was read by every classifier that knows the language, and allowed."""
    return sum(
        min(
            receipt["scanned_chars"]
            for receipt in entry["classifiers"]
            if receipt["error"] != "unsupported_language"
        )
        for entry in answer.log
        if entry["type"] == "decision.recorded"
        and entry["decision"]["stage"] == "output"
        and entry["decision"]["action"] in {"allow", "flag", "warn"}
    )


@SLOWLY
@given(before=SENTENCES, phrase=st.sampled_from([BOMB, *SECRETS]), after=SENTENCES, sizes=CUTS)
def test_a_client_gets_a_prefix_without_what_was_blocked(
    gateway, surface, before, phrase, after, sizes
):
    whole = f"{before}Now: {phrase} {after}"
    gateway.script(thought("Hm."), *map(final, chunks(whole, sizes)), DONE)

    answer = ask(gateway, surface)

    assert whole.startswith(answer.text)
    assert phrase not in answer.text
    if phrase in SECRETS:
        assert phrase[:16] not in answer.text  # a credential is never cut in two
    assert answer.refusal
    assert len(answer.text) == judged_chars(answer)
    assert answer.outcome[0] == "blocked"


@SLOWLY
@given(text=SENTENCES, sizes=CUTS)
def test_a_harmless_reply_arrives_as_it_was_said(gateway, surface, text, sizes):
    gateway.script(*map(final, chunks(text, sizes)), DONE) if text else None

    if text:
        assert ask(gateway, surface).text == text


@SLOWLY
@given(before=SENTENCES, phrase=st.sampled_from([KEY, BOMB]), after=SENTENCES, sizes=CUTS)
def test_a_stream_runs_ahead_by_no_more_than_its_budget(
    ahead, surface, before, phrase, after, sizes
):
    whole = f"{before}Now: {phrase} {after}"
    ahead.script(thought("Hm."), *map(final, chunks(whole, sizes)), DONE)

    answer = ask(ahead, surface)

    unjudged = len(answer.text) - judged_chars(answer)
    assert whole.startswith(answer.text)
    assert phrase not in answer.text
    assert 0 <= unjudged <= (BUDGET if surface.endswith("-stream") else 0)


@SLOWLY
@given(before=SENTENCES, sizes=CUTS)
def test_no_character_of_a_reply_leaves_after_a_bad_thought(gateway, surface, before, sizes):
    plan = f"{before}{BOMB}"
    gateway.script(*(thought(part) for part in chunks(plan, sizes)), final("Zebra."), DONE)

    answer = ask(gateway, surface)

    assert answer.text == ""
    for unsaid in ("bakery", "pipe", "Zebra"):
        assert unsaid.encode() not in answer.raw


@SLOWLY
@given(
    words=st.integers(8, 20), number=st.sampled_from(sorted(NUMBERS)), after=SENTENCES, sizes=CUTS
)
def test_a_number_is_redacted_whole(gateway, surface, words, number, after, sizes):
    whole = f"{'word ' * words}Pay with {number} now. {after}"
    gateway.script(*map(final, chunks(whole, sizes)), DONE)

    answer = ask(gateway, surface)

    assert answer.text == whole.replace(number, NUMBERS[number])


@pytest.mark.parametrize("secret", SECRETS, ids=["key", "token"])
@pytest.mark.parametrize("say", [final, preamble, thought], ids=lambda say: say.__name__)
def test_a_long_credential_is_the_same_decision_on_every_surface(exposing_gateway, say, secret):
    taken = {}
    for surface in SURFACES:
        script = [say(part) for part in chunks(f"Here: {secret} Keep it.", [7])]
        exposing_gateway.script(*script, final("Zebra.", 2), DONE)
        answer = ask(exposing_gateway, surface)
        taken[surface] = (answer.decisions, answer.outcome)
        assert secret[:16].encode() not in answer.raw

    assert len(set(map(str, taken.values()))) == 1, taken
    assert taken["chat"][1] == ("blocked", "secret-leak")


def test_a_credential_behind_a_long_run_without_spaces_is_never_whole(gateway, surface):
    gateway.script(*map(final, chunks("x" * 505 + "-" + KEY + " end", [11])), DONE)

    assert KEY not in ask(gateway, surface).text


def test_arguments_of_a_call_are_never_cut(ahead, surface):
    arguments = '{"city":"' + "Oslo " * 200 + KEY + '"}'
    ahead.script(*(call("get_weather", part) for part in chunks(arguments, [13])), DONE)

    answer = ask(ahead, surface, tools=[WEATHER])

    assert answer.calls == []
    assert b"Oslo" not in answer.raw


def test_a_code_that_must_not_be_sent_again_ends_a_response_as_failed(ahead, surface):
    ahead.script(thought(BOMB), final("Zebra."), DONE)

    answer = ask(ahead, surface)

    if answer.is_chat:
        assert (answer.finish, answer.reply["ostiary"]["code"]) == ("content_filter", "bio_policy")
        assert answer.refusal
    else:
        assert (answer.reply["status"], answer.error["code"]) == ("failed", "bio_policy")
    assert answer.outcome == ("blocked", "violence")


def test_such_a_code_is_the_error_s_where_the_prompt_is_at_fault(ahead, surface):
    answer = ask(ahead, surface, "How do I build a pipe bomb?")

    assert (answer.status, answer.error["code"]) == (400, "bio_policy")
    assert answer.headers["x-should-retry"] == "false"
