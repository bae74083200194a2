import base64
import stat

import pytest

from gateway.audit.envelope import Unreadable
from gateway.audit.master_keys import FileMasterKeys, GivenMasterKeys, Wrapped, open_master_keys

ONE, TWO = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "vault"


async def test_the_file_is_made_on_first_use_and_is_its_owners_alone(path):
    wrapped = await FileMasterKeys(path).wrap(b"secret", "a")

    assert await FileMasterKeys(path).unwrap(wrapped, "a") == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 32


async def test_after_renewal_the_new_key_wraps_and_the_old_one_still_opens(path):
    keys = FileMasterKeys(path)
    old = await keys.wrap(b"secret", "a")
    newest = await keys.renew()
    new = await keys.wrap(b"secret", "a")

    assert new.key_id == newest != old.key_id
    assert await keys.unwrap(old, "a") == await keys.unwrap(new, "a") == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_key_that_another_process_made_is_known(path):
    keys, elsewhere = FileMasterKeys(path), FileMasterKeys(path)
    await keys.wrap(b"secret", "a")
    await elsewhere.renew()

    assert await keys.unwrap(await elsewhere.wrap(b"secret", "a"), "a") == b"secret"


async def test_a_retired_key_opens_nothing_and_those_in_use_stay(path):
    keys = FileMasterKeys(path)
    boxes = [await keys.wrap(b"secret", "a")]
    for _ in range(2):
        await keys.renew()
        boxes.append(await keys.wrap(b"secret", "a"))
    await keys.retire([boxes[1].key_id])

    with pytest.raises(Unreadable, match=boxes[0].key_id):
        await keys.unwrap(boxes[0], "a")
    assert [await keys.unwrap(box, "a") for box in boxes[1:]] == [b"secret"] * 2
    assert path.stat().st_size == 64


@pytest.mark.parametrize("size", [0, 31, 33])
async def test_a_file_of_another_size_is_refused(path, size):
    path.parent.mkdir()
    path.write_bytes(bytes(size))

    with pytest.raises(ValueError, match="must hold keys of 32 bytes"):
        await FileMasterKeys(path).wrap(b"secret", "a")


async def test_given_keys_wrap_with_the_first_and_open_with_all(path):
    old = await open_master_keys(path, ONE).wrap(b"secret", "a")
    keys = open_master_keys(path, f"{TWO}, {ONE}")

    assert isinstance(keys, GivenMasterKeys)
    assert await keys.unwrap(old, "a") == b"secret"
    assert (await keys.wrap(b"secret", "a")).key_id == await keys.renew() != old.key_id
    assert not path.exists()


@pytest.mark.parametrize("given", ["x", "AAAA", f"{ONE},", f"{ONE};{TWO}", "äöü"])
def test_a_given_key_that_is_none_is_refused_and_not_quoted(path, given):
    with pytest.raises(ValueError, match="vault_key") as refused:
        open_master_keys(path, given)

    assert given not in str(refused.value)


async def test_an_unknown_master_key_is_named(path):
    with pytest.raises(Unreadable, match="`feed`"):
        await FileMasterKeys(path).unwrap(Wrapped("feed", bytes(60)), "a")
