import numpy as np
import pytest
import torch

from classifiers.encoder_model import Model
from classifiers.encoder_text import Kind
from classifiers.encoder_weights import Weights, WeightsError, read
from classifiers.training.fit import padded
from classifiers.training.network import Lower
from tests.unit.classifiers.encoder_folder import tiny_network, write_tiny

TEXTS = ["Hello there", "How do I kill a process that hangs? " * 8, "x", "word " * 400]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model(read(write_tiny(tmp_path_factory.mktemp("weights"))))


def shown(model):
    return [
        window
        for text in TEXTS
        for kind in Kind
        for window in model.windows(kind, text, "What was asked", 4)
    ]


def test_the_graph_computes_what_was_trained(model):
    torch.set_num_threads(1)
    bert, upper = tiny_network()
    lower, upper = Lower(bert).eval(), upper.eval()
    windows = shown(model)
    ids, segments, mask = padded([(one.ids, one.lead) for one in windows])
    with torch.inference_mode():
        expected = upper(lower(ids, segments, mask), mask).numpy()
    found = model.run(windows)
    # Eight bits cost a little; a wrong graph would cost everything.
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.995


def test_a_score_does_not_depend_on_what_it_is_batched_with(model):
    windows = shown(model)
    together = model.run(windows)
    for index, window in enumerate(windows):
        np.testing.assert_allclose(model.run([window])[0], together[index], atol=1e-4)


def test_weights_without_a_layer_are_refused(model, tmp_path):
    weights = read(write_tiny(tmp_path))
    tensors = {k: v for k, v in weights.tensors.items() if "layer.2.output.dense" not in k}
    with pytest.raises(WeightsError, match="no tensor"):
        Model(Weights(tensors, weights.digest, weights.description, weights.vocabulary))
