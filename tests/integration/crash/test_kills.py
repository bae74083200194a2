import shutil
import tempfile
from pathlib import Path

import pytest

from benchmarks.kills import run

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

KILLS = 5  # `python -m benchmarks.kills` does two hundred


@pytest.fixture
def short_path():
    """A directory whose path is short: it may hold a socket."""
    path = Path(tempfile.mkdtemp(prefix="kills-"))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize(
    ("store", "of"),
    [
        ("sqlite", "writer"),
        ("postgresql", "writer"),
        ("postgresql", "database"),
        ("postgresql", "both"),
    ],
)
def test_whatever_is_killed_every_acknowledged_record_is_in_a_log_that_verifies(
    short_path, store, of
):
    toll = run(short_path, store, of, KILLS, seed=3)

    assert toll.problem is None
    assert toll.lost == set()
    assert (toll.spooled > 0) == (of == "both")
    assert len(toll.named) > KILLS
    assert toll.entries > len(toll.named)
