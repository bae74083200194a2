import numpy as np
import pytest

from model_runner.probes.file import Probes

HIDDEN = 32  # of the random model


@pytest.fixture
def probes():
    rng = np.random.default_rng(4)
    return Probes(
        digest="",
        model="d" * 64,
        categories=("bad", "worse"),
        layers=(0, 1),
        span=4,
        weights=rng.normal(size=(2, 2, HIDDEN)).astype(np.float32),
        bias=np.array([0.25, -1.0], dtype=np.float32),
    )
