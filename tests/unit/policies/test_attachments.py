import pytest

from policies.attachments import Attachment, Profile, parse_attachments
from policies.circumstances import AgeGroup
from policies.resolve import PolicyError

FILE = """\
apiVersion: ostiary/v1
kind: Attachments
metadata: {id: acme, version: 1.0.0, owner: ts@acme.example}
everyone: {policies: [ostiary-baseline]}
projects:
  school: {policies: [minors], offers: [strict], tier: free, age_group: minor}
  red-team: {access: [cyber]}
keys:
  AbCdEf123456: {policies: [strict]}
models:
  openai/gpt-oss-120b: {policies: [preparedness]}
"""


def mistakes(text):
    with pytest.raises(PolicyError) as caught:
        parse_attachments(text.encode())
    return caught.value.lines()


def test_attachments_say_what_their_file_says():
    said = parse_attachments(FILE.encode()).attachments

    assert said.everyone == Attachment(("ostiary-baseline",))
    assert said.projects["school"] == Attachment(("minors",), ("strict",))
    assert said.profiles["school"] == Profile("free", AgeGroup.MINOR)
    assert said.profiles["red-team"].access == {"cyber"}
    assert [each.policies for each in said.of("school", "AbCdEf123456", "openai/gpt-oss-120b")] == [
        ("ostiary-baseline",),
        ("minors",),
        ("strict",),
        ("preparedness",),
    ]


def test_layout_and_comments_do_not_change_who_they_are():
    respelt = FILE.replace("{policies: [strict]}", "\n    policies:\n      - strict  # for one key")

    assert (
        parse_attachments(respelt.encode()).attachments.digest
        == parse_attachments(FILE.encode()).attachments.digest
    )


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("offers:", "offer:", "6:32: unknown key `offer`; did you mean `offers`?"),
        ("age_group: minor", "age_group: minro", "did you mean `minor`?"),
        ("[minors]", "[minors, minors]", "6:31: `minors` is listed twice"),
        ("kind: Attachments", "kind: Attachment", "2:7: unknown kind `Attachment`"),
        ("version: 1.0.0", "version: 1.0", "`version`"),
        ("school:", "sch ool:", "6:3: `sch ool`: string should match pattern"),
        ("everyone:", "everyone: {}\neveryone:", "5:1: key `everyone` is given twice"),
    ],
)
def test_a_mistake_is_named_where_it_stands(old, new, line):
    assert any(line in mistake for mistake in mistakes(FILE.replace(old, new, 1)))
