from datetime import UTC, datetime, timedelta

import pytest

from gateway.api.problems import error_object, error_response
from gateway.enforcement import check_standing, safety_warning
from gateway.errors import IdentifierBlocked
from policies.ladder import Sanction, Standing

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
SUSPENDED = Standing(5, Sanction.SUSPEND, NOW, NOW + timedelta(hours=1))
DEACTIVATED = Standing(8, Sanction.DEACTIVATE, NOW)


def blocked(standing):
    with pytest.raises(IdentifierBlocked) as raised:
        check_standing(standing, NOW)
    return raised.value


@pytest.mark.parametrize("sanction", [Sanction.NONE, Sanction.WARN, Sanction.THROTTLE])
def test_who_is_warned_or_throttled_is_served(sanction):
    check_standing(Standing(3, sanction), NOW)


@pytest.mark.parametrize("standing", [SUSPENDED, DEACTIVATED])
def test_who_is_suspended_or_deactivated_gets_an_answer_that_clients_do_not_retry(standing):
    error = blocked(standing)
    response = error_response(error, {})

    assert (response.status_code, error.type) == (403, "invalid_request_error")
    assert error_object(error)["error"]["code"] == "safety_identifier_blocked"
    assert response.headers["x-should-retry"] == "false"


def test_a_suspension_says_when_it_ends():
    error = blocked(SUSPENDED)

    assert "2026-06-30T13:00:00Z" in str(error)
    assert error_response(error, {}).headers["retry-after"] in {"3600", "3601"}
    assert error.reason == "suspend"


def test_a_deactivation_names_no_end():
    error = blocked(DEACTIVATED)

    assert "retry-after" not in error_response(error, {}).headers
    assert error.reason == "deactivate"


def test_strikes_are_told_in_a_header_and_none_are_not():
    assert safety_warning(Standing()) == {}
    assert safety_warning(Standing(2, Sanction.WARN)) == {
        "x-ostiary-safety-warning": "warn; strikes=2"
    }
