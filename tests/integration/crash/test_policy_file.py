import os
import re

import pytest

from benchmarks.callers import HARMFUL, Question
from benchmarks.crash import swept_log
from policies.load import BUILTIN

pytestmark = [pytest.mark.integration, pytest.mark.timeout(200)]

NEXT = "99.0.0"
GOOD = (BUILTIN / "baseline.yaml").read_text()


@pytest.fixture
def policy_file(tmp_path):
    """A policy file; called with a text, it is replaced as an editor would."""
    path = tmp_path / "policy.yaml"

    def replace(text):
        draft = tmp_path / "draft.yaml"
        draft.write_text(text)
        os.replace(draft, path)
        return path

    replace(GOOD)
    return replace


async def readyz(gateway, wanted):
    """Returns what `/readyz` says once `wanted(policy)` holds."""
    while True:
        status, body = await gateway.readyz()
        if wanted(body["policy"]):
            return status, body["policy"]


async def test_a_policy_file_broken_while_running_leaves_the_last_good_one_in_force(
    tmp_path, new_gateway, policy_file, ask
):
    url = f"sqlite+aiosqlite:///{tmp_path / 'ostiary.db'}"
    gateway = new_gateway(url, policy=str(policy_file(GOOD)))
    await gateway.start()
    _, first = await gateway.readyz()

    policy_file("apiVersion: ostiary/v1\nkind: [Policy\n")
    status, kept = await readyz(gateway, lambda policy: policy["refused_file"])
    blocked = await ask(gateway, Question(prompt=HARMFUL))
    policy_file(re.sub(r"(?m)^  version: .*$", f"  version: {NEXT}", GOOD, count=1))
    _, fixed = await readyz(gateway, lambda policy: policy["version"] == NEXT)

    assert status == 200
    assert "policy.yaml:3:1: " in kept["refused_file"]
    assert {**kept, "refused_file": None} == first["policy"]
    assert blocked.status == 400
    assert fixed["refused_file"] is None
    changes = [e for e in await swept_log(url) if e["type"].startswith("policy.")]
    assert [entry["type"] for entry in changes] == [
        "policy.activated",
        "policy.refused",
        "policy.activated",
    ]
    assert changes[1]["policy"] == {"source": "policy.yaml", "reason": kept["refused_file"]}
    assert changes[2]["policy"]["previous_digest"] == first["policy"]["digest"]
