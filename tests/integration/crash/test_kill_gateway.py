import pytest

from benchmarks.completeness import ends
from benchmarks.crash import kill_repeatedly

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

KILLS = 6  # `python -m benchmarks.crash --kills 50` does more of it


async def test_what_callers_of_a_killed_gateway_were_given_is_in_the_log(database_url, new_gateway):
    findings = await kill_repeatedly(new_gateway(database_url), database_url, KILLS, seed=1)

    assert findings.wrong == []
    assert findings.mid_stream
    assert ends(findings.log).keys() >= {"request.lost", "request.completed", "request.blocked"}
