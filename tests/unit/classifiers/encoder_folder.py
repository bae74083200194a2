"""A small encoder with random weights in a folder, as a training run would leave it."""

from pathlib import Path

import torch

from classifiers.encoder_weights import FOLDER, VOCABULARY
from classifiers.training.fit import merged
from classifiers.training.network import Upper, tiny_base
from classifiers.training.package import UNCALIBRATED, describe, write_weights


def tiny_network():
    """Return the float32 weights by name: random, but large enough to tell texts apart."""
    torch.manual_seed(1)
    bert = tiny_base()
    upper = Upper(bert)
    for parameter in [*upper.inner.parameters(), *upper.outer.parameters()]:
        torch.nn.init.normal_(parameter, std=0.2)
    return bert, upper


def write_tiny(folder: Path) -> Path:
    bert, upper = tiny_network()
    write_weights(folder, merged(bert, upper.state_dict()), FOLDER / VOCABULARY)
    describe(folder, UNCALIBRATED, {}, {"base": "random"})
    return folder
