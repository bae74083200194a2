import numpy as np
import pytest

from classifiers.encoder_weights import (
    DESCRIPTION,
    MODEL,
    VOCABULARY,
    WeightsError,
    quantized,
    read,
)  # fmt: skip
from tests.unit.classifiers.encoder_folder import write_tiny


@pytest.fixture
def folder(tmp_path):
    return write_tiny(tmp_path)


def test_the_shipped_weights_are_the_pinned_ones_and_small_enough():
    weights = read()
    assert "any" in weights.description["heads"]
    assert sum(tensor.nbytes for tensor in weights.tensors.values()) < 25_000_000


@pytest.mark.parametrize("name", [MODEL, VOCABULARY])
def test_a_changed_file_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"`{name}` is not the file"):
        read(folder)


def test_an_unknown_format_is_refused_by_name(folder):
    text = (folder / DESCRIPTION).read_text()
    (folder / DESCRIPTION).write_text(text.replace("ostiary-encoder/1", "ostiary-encoder/9"))
    with pytest.raises(WeightsError, match="format `ostiary-encoder/9`"):
        read(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [("= [", "is not TOML"), ('format = "ostiary-encoder/1"', "pins no file")],
)
def test_a_description_that_says_nothing_is_refused(folder, content, message):
    (folder / DESCRIPTION).write_text(content)
    with pytest.raises(WeightsError, match=message):
        read(folder)


def test_a_missing_file_is_named(folder):
    (folder / MODEL).unlink()
    with pytest.raises(WeightsError, match=MODEL):
        read(folder)


def test_a_pinned_file_that_is_no_safetensors_is_refused(folder):
    import hashlib

    old = hashlib.sha256((folder / MODEL).read_bytes()).hexdigest()
    (folder / MODEL).write_bytes(b"nonsense")
    text = (folder / DESCRIPTION).read_text()
    (folder / DESCRIPTION).write_text(text.replace(old, hashlib.sha256(b"nonsense").hexdigest()))
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read(folder)


def test_another_calibration_is_another_digest(folder):
    before = read(folder).digest
    text = (folder / DESCRIPTION).read_text()
    (folder / DESCRIPTION).write_text(text.replace("1.0", "1.5", 1))
    assert read(folder).digest != before


@pytest.mark.parametrize("axis", [0, 1])
def test_eight_bits_are_close_by_column_and_by_row(axis):
    matrix = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    values, scale = quantized(matrix, axis)
    assert values.dtype == np.int8
    assert np.abs(values * scale - matrix).max() <= (scale / 2).max() + 1e-6


def test_a_column_of_zeros_stays_one():
    values, scale = quantized(np.zeros((4, 3), np.float32), 0)
    assert not values.any()
    assert np.isfinite(scale).all()
