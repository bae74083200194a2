import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.store.keyfile import read_or_create


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "home" / "keys" / "pepper"

    secret = read_or_create(path)

    assert len(secret) == 32
    assert read_or_create(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_processes_that_make_it_at_the_same_time_get_the_same(tmp_path):
    path = tmp_path / "keys" / "pepper"

    with ThreadPoolExecutor(8) as threads:
        secrets = set(threads.map(read_or_create, [path] * 50))

    assert len(secrets) == 1
    assert [file.name for file in path.parent.iterdir()] == ["pepper"]


def test_a_file_that_is_no_secret_is_refused_by_name(tmp_path):
    path = tmp_path / "pepper"
    path.write_bytes(b"too short")

    with pytest.raises(ValueError, match="pepper` must hold exactly 32 bytes"):
        read_or_create(path)
