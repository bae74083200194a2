import pytest

from classifiers.types import Assessment, Passage, Secret, Source, Span, Verdict
from gateway.secrecy import CREDENTIAL, CanaryError, Noted, read_canaries

KEY, OTHER = "k3Jx9QpLm2Vt7RzW", "w8Tn4BsHq6Yd1FgZ"
READER = {CREDENTIAL: frozenset({"c@1"})}


def found(passage, *places, score=0.97):
    spans = tuple(Span(start, end, "api_key") for start, end in places)
    return passage, (Verdict("c@1", CREDENTIAL, score, spans),)


def assessed(*pairs, covered=READER):
    return Assessment(tuple(p for p, _ in pairs), tuple(v for _, v in pairs), (), covered)


def noted(*pairs, canaries=(), **more):
    secrets = Noted(canaries)
    secrets.read(assessed(*pairs, **more))
    return secrets.secrets


@pytest.mark.parametrize(
    ("passage", "origin"),
    [
        (Passage(Source.SYSTEM, f"key {KEY}"), "instructions"),
        (Passage(Source.DEVELOPER, f"key {KEY}"), "instructions"),
        (Passage(Source.TOOL, f"key {KEY}", tool="vault"), "tool:vault"),
        (Passage(Source.USER, f"key {KEY}"), None),
        (Passage(Source.ASSISTANT, f"key {KEY}"), None),
    ],
)
def test_what_the_model_was_told_is_noted_with_where_it_came_from(passage, origin):
    secrets = noted(found(passage, (4, 20)))

    assert secrets.known == ((Secret(KEY, origin),) if origin else ())
    assert secrets.complete


def test_what_a_tool_gives_back_of_the_end_users_own_is_no_secret():
    user = (Passage(Source.USER, f"use {KEY}"), ())
    tool = found(Passage(Source.TOOL, f"used {KEY} and {OTHER}", tool="t"), (5, 21), (26, 42))

    assert [each.text for each in noted(user, tool).known] == [OTHER]


def test_what_is_short_or_unlikely_is_not_noted():
    tool = Passage(Source.TOOL, "key abc123 here", tool="t")

    assert noted(found(tool, (4, 10))).known == ()
    assert noted(found(Passage(Source.TOOL, KEY, tool="t"), (0, 16), score=0.5)).known == ()


@pytest.mark.parametrize(
    ("pair", "covered"),
    [
        (found(Passage(Source.TOOL, KEY), score=None), READER),
        (found(Passage(Source.TOOL, KEY)), READER),  # it is there, and nobody says where
        ((Passage(Source.TOOL, KEY), ()), {}),  # nobody looks for any
    ],
)
def test_what_was_not_read_is_not_taken_to_hold_nothing(pair, covered):
    assert not noted(pair, covered=covered).complete


def test_a_reply_holds_no_secrets_of_its_own_and_leaves_what_was_noted_as_it_is():
    secrets = Noted((Secret(KEY, "canary"),))
    before = secrets.secrets
    secrets.read(assessed(found(Passage(Source.CALL, OTHER), (0, 16))))

    assert secrets.secrets is before


def test_canaries_are_read_one_a_line(tmp_path):
    file = tmp_path / "canaries.txt"
    file.write_text(f"# ours\n\n{KEY}\n  zq7-kv-93x  \n{KEY}\n")

    assert [each.text for each in read_canaries(str(file))] == [KEY, "zq7-kv-93x"]
    assert read_canaries("") == ()


@pytest.mark.parametrize("line", ["short1", "aaaaaaaaaaaaaa", "- - - -"])
def test_a_canary_that_could_not_be_known_again_is_an_error_that_does_not_show_it(tmp_path, line):
    file = tmp_path / "canaries.txt"
    file.write_text(f"{KEY}\n{line}\n")

    with pytest.raises(CanaryError) as refused:
        read_canaries(str(file))

    assert str(refused.value).startswith(f"{file}:2: a canary needs 8")
    assert line not in str(refused.value)


def test_a_file_of_canaries_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CanaryError):
        read_canaries(str(tmp_path / "none"))
