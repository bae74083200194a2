import pytest

from model_runner.harmony import load_harmony


@pytest.fixture(scope="session")
def harmony(tmp_path_factory):
    return load_harmony(tmp_path_factory.mktemp("vocabulary"))
