import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from model_runner.local import load_local
from model_runner.probes.file import FORMAT, ProbesRefused, digest_of, read_probes, write_probes
from model_runner.tiny.load import weights_file


@pytest.fixture
def path(tmp_path, probes):
    write_probes(tmp_path / "probes.safetensors", probes)
    return tmp_path / "probes.safetensors"


def test_probes_are_read_as_they_were_written(path, probes):
    read = read_probes(path)

    assert (read.model, read.categories, read.layers, read.span) == (
        probes.model, probes.categories, probes.layers, probes.span,
    )  # fmt: skip
    assert (read.weights == probes.weights).all()
    assert (read.bias == probes.bias).all()
    assert len(read.digest) == 64


def test_other_weights_have_another_digest_of_the_file(path, probes):
    before = read_probes(path).digest
    write_probes(path, replace(probes, bias=probes.bias + 1))

    assert read_probes(path).digest != before


GOOD = {
    "format": FORMAT,
    "model": "d" * 64,
    "categories": json.dumps(["bad", "worse"]),
    "layers": json.dumps([0, 1]),
    "span": "4",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "ostiary-probes/2"}, "format"),
        ({"layers": "[1, 0]"}, "ascending"),
        ({"layers": "[0, 0]"}, "ascending"),
        ({"layers": "[-1, 0]"}, "ascending"),
        ({"layers": "[true, 1]"}, "right kind"),
        ({"layers": "[]"}, "right kind"),
        ({"layers": "[0, 1, 2]"}, "shape"),
        ({"categories": '["bad"]'}, "shape"),
        ({"categories": '["bad", "bad"]'}, "shape"),
        ({"categories": "bad, worse"}, "Expecting value"),
        ({"span": "0"}, "span"),
        ({"span": "many"}, "invalid literal"),
        ({"model": None}, "model"),
    ],
)
def test_a_file_with_strange_metadata_is_refused(path, changes, message):
    metadata = {key: value for key, value in (GOOD | changes).items() if value is not None}
    save_file(load_file(path), path, metadata)

    with pytest.raises(ProbesRefused, match=message):
        read_probes(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"weights": np.zeros((2, 2, 32), dtype=np.float32)},
        {"weights": np.zeros((2, 32), dtype=np.float32), "bias": np.zeros(2, dtype=np.float32)},
        {"weights": np.zeros((2, 2, 32)), "bias": np.zeros(2)},
        {
            "weights": np.full((2, 2, 32), np.nan, dtype=np.float32),
            "bias": np.zeros(2, dtype=np.float32),
        },
    ],
    ids=["no bias", "no layers", "other type", "no numbers"],
)
def test_a_file_with_strange_weights_is_refused(path, tensors):
    save_file(tensors, path, GOOD)

    with pytest.raises(ProbesRefused):
        read_probes(path)


def test_what_is_no_safetensors_file_is_refused_with_its_name(tmp_path):
    (tmp_path / "notes.txt").write_text("weights")

    for name in ("notes.txt", "nothing.safetensors"):
        with pytest.raises(ProbesRefused, match=name):
            read_probes(tmp_path / name)


def test_a_digest_depends_on_every_file_and_its_name(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"a")
    digests = [digest_of(tmp_path)]
    (tmp_path / "README.md").write_text("says nothing of what is computed")
    assert digest_of(tmp_path) == digests[0]
    for name, content in (("config.json", b"{ }"), ("model.safetensors", b"b"), ("2.gguf", b"")):
        (tmp_path / name).write_bytes(content)
        digests.append(digest_of(tmp_path))

    assert len(set(digests)) == 4


def test_a_folder_without_weights_has_no_digest(tmp_path):
    with pytest.raises(ProbesRefused, match="no weights"):
        digest_of(tmp_path)


def test_probes_for_other_weights_are_refused_and_both_are_named(path):
    tiny = digest_of(weights_file().parent, (weights_file().name,))

    with pytest.raises(ProbesRefused, match=f"`dddddddddddd`.*`{tiny[:12]}`"):
        load_local("tiny", probes_file=path)


def test_probes_that_do_not_have_the_model_s_shape_are_refused(path, probes):
    tiny = digest_of(weights_file().parent, (weights_file().name,))
    write_probes(path, replace(probes, model=tiny))

    with pytest.raises(ProbesRefused, match="shape"):
        load_local("tiny", probes_file=path)
