from datetime import UTC, datetime

import orjson
import pytest

from gateway.exchange import Exchange
from gateway.sanction_notices import notices_of
from gateway.types import Principal
from model_runner.types import Prompt
from policies.circumstances import Circumstances
from policies.ladder import Sanction, Standing
from policies.types import Policy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXCHANGE = Exchange(
    id="req_" + "0" * 32,
    principal=Principal("key", "shop", frozenset(), 1, 1),
    prompt=Prompt("gpt-oss-20b", ()),
    policy=Policy("acme", "1.0.0", "00", ()),
    endpoint="chat",
    stream=False,
    runner="scripted",
    safety_identifier="user-1",
    circumstances=Circumstances(end_user="ab" * 16),
)


def told(before, after):
    found = notices_of(
        EXCHANGE, "illicit", Standing(1, Sanction[before]), Standing(2, Sanction[after]), NOW
    )
    events = {each.type: orjson.loads(each.body)["data"] for each in found.events}
    return found.case and found.case.notice, events


@pytest.mark.parametrize(
    ("before", "after", "notice", "types"),
    [
        ("NONE", "WARN", "warning", {"safety.warning_issued"}),
        ("WARN", "THROTTLE", "warning", {"safety.warning_issued"}),
        ("THROTTLE", "SUSPEND", None, {"safety_identifier.blocked"}),
        ("SUSPEND", "DEACTIVATE", "deactivation", {"safety.deactivation_issued"}),
        (
            "NONE",
            "DEACTIVATE",
            "deactivation",
            {"safety_identifier.blocked", "safety.deactivation_issued"},
        ),
        ("SUSPEND", "SUSPEND", None, set()),
        ("SUSPEND", "WARN", None, set()),
    ],
)
def test_each_step_up_is_told_once(before, after, notice, types):
    assert told(before, after)[0] == notice
    assert set(told(before, after)[1]) == types


def test_who_is_blocked_is_named_as_the_application_names_them():
    _, events = told("NONE", "SUSPEND")

    assert events["safety_identifier.blocked"] == {
        "safety_category": "illicit",
        "safety_identifier": "user-1",
        "model": "gpt-oss-20b",
        "project_id": "shop",
        "request_id": EXCHANGE.id,
    }


def test_a_warning_names_its_case():
    found = notices_of(EXCHANGE, "illicit", Standing(), Standing(1, Sanction.WARN), NOW)

    assert orjson.loads(found.events[0].body)["data"] == {"id": found.case.id}
    assert (found.case.entity, found.case.subject) == ("user-1", "ab" * 16)
    assert found.case.reason == "warn after 1 strike"
