from typing import get_args

import pytest
from openai.types.safety.safety_alert import SafetyAlert

from classifiers.categories import HEADS, MISALIGNMENT, PACKS, misalignment_type
from classifiers.judges.categories import check_category


def test_every_kind_of_misalignment_has_a_name_that_clients_know() -> None:
    known = get_args(SafetyAlert.model_fields["error_type"].annotation)

    assert set(MISALIGNMENT.values()) == set(known)
    assert all(misalignment_type(category) in known for category in (*PACKS, *HEADS))


@pytest.mark.parametrize(
    ("category", "named"),
    [
        ("misalignment.exfiltration", "potentially_unintended_data_transfer"),
        ("misalignment.sandbox_escape", "potentially_unintended_data_access"),
        ("agent.destructive", "potentially_unintended_destructive_activity"),
        ("misalignment.reward_hacking", "other"),
        ("custom/of-our-own", "other"),
    ],
)
def test_a_finding_is_named_by_what_it_may_lead_to(category: str, named: str) -> None:
    assert misalignment_type(category) == named


def test_a_judge_may_answer_for_every_kind_of_misalignment() -> None:
    assert all(check_category(category) == category for category in MISALIGNMENT)
