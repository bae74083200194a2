"""The file a probe is kept in: which model it is for, where it looks, and its weights.

A safetensors file, so no code is in it. It is bound to the exact weights it was trained on:
directions in one model's residual stream mean nothing in another's, not even in one that was
fine-tuned from it, so a file for other weights is refused.

    weights: (categories, layers, hidden), float32, on unit-RMS residuals, calibrated
    bias:    (categories,), float32, likewise

Importing this loads no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

FORMAT = "ostiary-probes/1"
_MOST_TOKENS = 1024  # of `span`
_PARAMETERS = ("*.safetensors", "*.gguf", "*.bin", "config.json")

Floats = npt.NDArray[np.float32]


class ProbesRefused(ValueError):
    """The file is no probe, or one for other weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """Trained probes, as they are served.

    Attributes:
        digest: SHA-256 of the file, hex; empty before it is written.
        model: Digest of the weights they were trained on; see `digest_of`.
        categories: What they score, in the order of the weights' first axis.
        layers: Of which decoder layers they read the output, ascending, from 0.
        span: Over how many tokens a score is smoothed; see `step`.
        weights: (categories, layers, hidden).
        bias: (categories,).
    """

    digest: str
    model: str
    categories: tuple[str, ...]
    layers: tuple[int, ...]
    span: int
    weights: Floats
    bias: Floats

    @property
    def step(self) -> float:
        """How much of the smoothed score is the newest token's: 2 / (span + 1)."""
        return 2 / (self.span + 1)

    def check_weights(self, digest: str) -> None:
        """Refuse a model of this digest if it is another than the one trained on.

        Raises:
            ProbesRefused: If it is.
        """
        if digest != self.model:
            raise ProbesRefused(
                f"the probes were trained on the weights `{self.model[:12]}`, the model's are "
                f"`{digest[:12]}`: train them anew on this model"
            )


def digest_of(folder: Path, names: tuple[str, ...] = _PARAMETERS) -> str:
    """Return the digest of a model's parameters, hex: SHA-256 over names and files' SHA-256.

    Args:
        folder: Where its files lie.
        names: Which of them say what the model computes.

    Raises:
        OSError: If a file cannot be read.
        ProbesRefused: If there is none.
    """
    found = sorted({path for name in names for path in folder.glob(name)})
    if not found:
        raise ProbesRefused(f"no weights to take a digest of in `{folder}`")
    whole = sha256()
    for path in found:
        with path.open("rb") as file:
            whole.update(f"{path.name} {file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def write_probes(path: Path, probes: Probes) -> None:
    """Write `probes` to `path`. Raises `OSError`."""
    metadata = {
        "format": FORMAT,
        "model": probes.model,
        "categories": json.dumps(probes.categories),
        "layers": json.dumps(probes.layers),
        "span": str(probes.span),
    }
    tensors = {
        "weights": np.ascontiguousarray(probes.weights, dtype=np.float32),
        "bias": np.ascontiguousarray(probes.bias, dtype=np.float32),
    }
    save_file(tensors, path, metadata)


def read_probes(path: Path) -> Probes:
    """Read probes; whether they fit a model is `check_weights`.

    Raises:
        ProbesRefused: If the file cannot be read or anything in it is not as it must be.
    """
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            weights, bias = file.get_tensor("weights"), file.get_tensor("bias")
        return _checked(digest, metadata, weights, bias)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as wrong:
        raise ProbesRefused(f"`{path}` holds no probes that can be used: {wrong}") from wrong


def _checked(digest: str, metadata: Mapping[str, str], weights: Floats, bias: Floats) -> Probes:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is not `{FORMAT}`")
    probes = Probes(
        digest,
        metadata["model"],
        tuple(_listed(metadata["categories"], str)),
        tuple(_listed(metadata["layers"], int)),
        int(metadata["span"]),
        weights,
        bias,
    )
    categories, layers = len(set(probes.categories)), sorted(set(probes.layers))
    if list(probes.layers) != layers or layers[0] < 0:
        raise ValueError("its layers are not in ascending order")
    if not 1 <= probes.span <= _MOST_TOKENS:
        raise ValueError(f"its span is not between 1 and {_MOST_TOKENS} tokens")
    if weights.ndim != 3 or weights.shape[:2] != (categories, len(layers)):
        raise ValueError("its weights do not have the shape it states")
    if bias.shape != (categories,) or {weights.dtype, bias.dtype} != {np.dtype(np.float32)}:
        raise ValueError("its bias does not have the shape or type it states")
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise ValueError("its weights are not all numbers")
    return probes


def _listed(text: str, kind: type) -> list[Any]:
    values = json.loads(text)
    if not isinstance(values, list) or not values or any(type(each) is not kind for each in values):
        raise ValueError("its metadata is not a list of the right kind")
    return values
