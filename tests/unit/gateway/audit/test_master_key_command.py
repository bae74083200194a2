import sys
from pathlib import Path

import pytest

from gateway.audit.envelope import Unreadable
from gateway.audit.master_key_command import CommandMasterKeys
from gateway.audit.master_keys import Wrapped, open_master_keys

EXAMPLE = Path(__file__).parents[4] / "examples" / "vault" / "command.py"
SECRET = b"s" * 32


@pytest.fixture
def keys(tmp_path):
    return CommandMasterKeys([sys.executable, str(EXAMPLE), str(tmp_path / "keys")])


def saying(answer, status=0):
    program = f"import sys; sys.stdin.read(); print({answer!r}); sys.exit({status})"
    return CommandMasterKeys([sys.executable, "-c", program])


async def test_what_the_program_wrapped_it_unwraps_for_the_same_place_only(keys):
    wrapped = await keys.wrap(SECRET, "project", "shop", "1")

    assert await keys.unwrap(wrapped, "project", "shop", "1") == SECRET
    assert SECRET not in wrapped.box
    with pytest.raises(Unreadable):
        await keys.unwrap(wrapped, "project", "bank", "1")
    with pytest.raises(Unreadable):
        await keys.unwrap(Wrapped("unknown", wrapped.box), "project", "shop", "1")


async def test_after_renewal_the_new_key_wraps_and_a_retired_one_opens_nothing(keys):
    old = await keys.wrap(SECRET, "a")
    newest = await keys.renew()
    new = await keys.wrap(SECRET, "a")
    assert new.key_id == newest != old.key_id
    assert await keys.unwrap(old, "a") == SECRET

    await keys.retire([])
    assert await keys.unwrap(new, "a") == SECRET
    with pytest.raises(Unreadable):
        await keys.unwrap(old, "a")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("no JSON", "did not answer with JSON"),
        ("[]", "a JSON object"),
        ("{}", "without a `key_id`"),
        ('{"key_id": "", "box": ""}', "without a `key_id`"),
        ('{"key_id": "k"}', "without `box`"),
        ('{"key_id": "k", "box": "not base64"}', "without `box`"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused(answer, said):
    with pytest.raises(OSError, match=said):
        await saying(answer).wrap(SECRET, "a")


async def test_a_program_that_fails_wraps_nothing():
    with pytest.raises(OSError, match="status 3"):
        await saying("{}", 3).wrap(SECRET, "a")
    with pytest.raises(OSError, match="No such file"):
        await CommandMasterKeys(["/no/such/program"]).wrap(SECRET, "a")


async def test_a_program_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr("gateway.audit.master_key_command._TIMEOUT_S", 0.5)
    hanging = CommandMasterKeys([sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(OSError, match="did not answer in"):
        await hanging.wrap(SECRET, "a")


async def test_a_secret_of_another_size_is_not_a_key():
    with pytest.raises(Unreadable, match="something else"):
        await saying('{"secret": "AAAA"}').unwrap(Wrapped("k", b"box"), "a")


def test_keys_come_from_one_place(tmp_path):
    with pytest.raises(ValueError, match="not both"):
        open_master_keys(tmp_path, "given", ["program"])
    assert isinstance(open_master_keys(tmp_path, "", ["program"]), CommandMasterKeys)
