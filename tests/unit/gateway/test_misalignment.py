import pytest
from openai.types.shared import ErrorObject

from gateway.misalignment import error_type_of, explanation, misalignment
from gateway.types import Stopped
from policies.types import Action, RuleOutcome

KINDS = [
    "potentially_unintended_data_transfer",
    "potentially_unintended_data_access",
    "potentially_unintended_destructive_activity",
    "other",
]


def outcomes(*categories):
    return [RuleOutcome("r", category, 0.9, Action.BLOCK) for category in categories]


@pytest.mark.parametrize(
    ("categories", "kind"),
    [
        (["misalignment.exfiltration"], KINDS[0]),
        (["misalignment.credential_seeking"], KINDS[1]),
        (["agent.destructive"], KINDS[2]),
        (["misalignment.reward_hacking"], "other"),
        (["misalignment.deception", "agent.data_access"], KINDS[1]),
        (["violence.weapons"], "other"),
        ([], "other"),
    ],
)
def test_the_kind_is_the_first_that_says_more_than_other(categories, kind):
    assert error_type_of(outcomes(*categories)) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_official_clients_object_with_a_fixed_sentence(kind):
    told = misalignment(Stopped("stop_1", kind))

    read = ErrorObject(message="m", type="t", misalignment=told).misalignment
    assert (read.error_type, read.review_target) == (kind, "stop_1")
    assert read.detailed_explanation == explanation(kind)
    assert "stop_1" in read.steer.message


def test_where_nothing_was_registered_there_is_nothing_to_review():
    assert misalignment(None)["review_target"] is None
