import torch

from classifiers.encoder_weights import read
from classifiers.training.fit import merged, parted
from classifiers.training.package import unpacked
from tests.unit.classifiers.encoder_folder import tiny_network, write_tiny


def test_training_can_begin_at_packed_weights_that_are_as_near_as_eight_bits_allow(tmp_path):
    bert, upper = tiny_network()
    trained = merged(bert, upper.state_dict())
    found = unpacked(read(write_tiny(tmp_path)))
    upper.load_state_dict(parted(found))  # whatever is missing or has another shape is an error
    for name, tensor in found.items():
        whole = trained[name][: len(tensor)]
        assert torch.allclose(tensor, whole, atol=whole.abs().max().item() / 250), name
