from types import SimpleNamespace

import pytest
from starlette.datastructures import Headers

from gateway.api.governing import access_of, govern
from gateway.errors import AccessProgramUnavailable, BadRequest, PolicyNotOffered
from gateway.types import Principal, Scope
from policies.attachments import Attachment, Attachments, Profile
from policies.book import Book
from policies.circumstances import AgeGroup, Circumstances
from policies.circumstances import Scope as For
from policies.types import Action, Band, Policy, Rule, Stage


def policy(name, **more):
    rule = Rule(
        name,
        "weapons",
        frozenset({Stage.INPUT}),
        (Band(0.5, Action.BLOCK),),
        dict.fromkeys(Stage, Action.BLOCK),
        **more,
    )
    return Policy(name, "1.0.0", name, (rule,))


BOOK = Book(
    {
        each.id: each
        for each in (
            policy("base"),
            policy("strict"),
            policy("kids", scope=For(age_groups=("minor",))),
            policy("german", user_message="no", user_messages={"": "no", "de": "nein"}),
        )
    },
    Attachments(
        projects={"school": Attachment((), ("strict",)), "bank": Attachment()},
        profiles={
            "school": Profile("free", AgeGroup.UNKNOWN),
            "bank": Profile("pro", AgeGroup.ADULT),
            "kindergarten": Profile("free", AgeGroup.MINOR),
        },
    ),
)


def governed(project="school", **headers):
    services = SimpleNamespace(policies=SimpleNamespace(book=BOOK))
    principal = Principal("AbC", project, frozenset({Scope.CALLER}), 1, 1)
    named = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return govern(named, services, principal, Circumstances(model="m"))


def rules(found):
    return {rule.id for rule in found.policy.rules}


def test_a_request_is_governed_by_what_is_attached_to_its_project():
    found = governed()

    assert rules(found) == {"base", "german"}
    assert (found.circumstances.project, found.circumstances.tier) == ("school", "free")


def test_a_caller_may_choose_what_the_project_is_offered():
    assert rules(governed(x_ostiary_policy=" strict ,")) == {"base", "german", "strict"}
    with pytest.raises(PolicyNotOffered):
        governed("bank", x_ostiary_policy="strict")
    with pytest.raises(PolicyNotOffered):
        governed(x_ostiary_policy="strcit")


@pytest.mark.parametrize(
    ("project", "said", "age_group"),
    [
        ("school", None, AgeGroup.UNKNOWN),
        ("school", "minor", AgeGroup.MINOR),
        ("school", "adult", AgeGroup.ADULT),
        ("kindergarten", "adult", AgeGroup.MINOR),
        ("kindergarten", None, AgeGroup.MINOR),
        ("bank", "unknown", AgeGroup.ADULT),
        ("bank", "minor", AgeGroup.MINOR),
    ],
)
def test_nobody_is_older_than_the_operator_says(project, said, age_group):
    found = governed(project, **({"x_ostiary_age_group": said} if said else {}))

    assert found.circumstances.age_group is age_group
    assert ("kids" in rules(found)) == (age_group is AgeGroup.MINOR)


def test_an_age_group_that_there_is_not_is_refused():
    with pytest.raises(BadRequest, match="x-ostiary-age-group"):
        governed(x_ostiary_age_group="teen")


@pytest.mark.parametrize(
    ("accepts", "message"),
    [("de-AT,de;q=0.9,en;q=0.8", "nein"), ("fr", "no"), ("*", "no"), ("<script>", "no")],
)
def test_messages_are_in_the_language_that_is_asked_for(accepts, message):
    (rule,) = [
        each for each in governed(accept_language=accepts).policy.rules if each.id == "german"
    ]

    assert rule.user_message == message


GRANTED = Profile(access=frozenset({"cyber", "bio:trusted"}))


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (None, {"cyber", "bio", "bio:trusted"}),
        ({"cyber": "standard"}, {"bio", "bio:trusted"}),
        ({"cyber": "daybreak_red"}, {"cyber", "cyber:daybreak_red", "bio", "bio:trusted"}),
        ({"bio": "trusted", "cyber": "standard"}, {"bio", "bio:trusted"}),
    ],
)
def test_what_was_granted_is_in_force_unless_a_request_does_without(asked, held):
    assert access_of(asked, GRANTED) == held


@pytest.mark.parametrize(
    "asked", [{"bio": "full"}, {"nuclear": "trusted"}, {"cyber": "x", "bio": "y"}]
)
def test_a_program_that_was_not_granted_is_refused_by_name(asked):
    with pytest.raises(AccessProgramUnavailable) as caught:
        access_of(asked, GRANTED)

    assert caught.value.status == 403
    assert caught.value.param.startswith("access_programs.")


def test_without_a_grant_only_the_standard_programs_are_there():
    assert access_of({"cyber": "standard"}, Profile()) == frozenset()
    with pytest.raises(AccessProgramUnavailable):
        access_of({"cyber": "daybreak_blue"}, Profile())
