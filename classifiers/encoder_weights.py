"""The encoder's weights on disk: int8 in a safetensors file, and what they mean beside it.

Matrices are int8 with one float32 scale a column, the embedding table with one a row;
everything else is float32. `encoder.toml` pins the file by its SHA-256 and holds the
calibration and thresholds with where they come from. A file that is not the pinned one,
or not of this format, is refused: scores of other weights would mean something else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import load, save

FORMAT = "ostiary-encoder/1"
FOLDER = Path(__file__).parent / "weights"
MODEL, DESCRIPTION, VOCABULARY = "encoder.safetensors", "encoder.toml", "tokenizer.json"

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]


class WeightsError(ValueError):
    """Weights that cannot be used; says what is wrong with which file."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What the encoder is made of.

    Attributes:
        tensors: By name; a matrix `w` has `w.scale` beside it.
        digest: SHA-256 over the weights, their description and the vocabulary, hex: of
            everything that determines a score.
        description: What `encoder.toml` says: heads, calibration, thresholds, provenance.
        vocabulary: The tokenizer, as the `tokenizers` library writes it.
    """

    tensors: Tensors
    digest: str
    description: Mapping[str, Any]
    vocabulary: str


def read(folder: Path = FOLDER) -> Weights:
    """Read the weights in `folder`.

    Raises:
        WeightsError: If a file is missing, is not the pinned one or not of this format.
    """
    try:
        contents = {name: (folder / name).read_bytes() for name in (MODEL, DESCRIPTION, VOCABULARY)}
    except OSError as error:
        raise WeightsError(f"cannot read the encoder's weights: {error}") from error
    description = _description(contents[DESCRIPTION])
    for name in (MODEL, VOCABULARY):
        if sha256(contents[name]).hexdigest() != description["sha256"].get(name):
            raise WeightsError(
                f"`{name}` is not the file that `{DESCRIPTION}` names by its SHA-256"
            )
    everything = sha256(b"".join(sha256(part).digest() for part in contents.values()))
    return Weights(
        _tensors(contents[MODEL]),
        everything.hexdigest(),
        description,
        contents[VOCABULARY].decode(),
    )


def _description(content: bytes) -> dict[str, Any]:
    try:
        description = tomllib.loads(content.decode())
    except ValueError as error:
        raise WeightsError(f"`{DESCRIPTION}` is not TOML: {error}") from error
    found = description.get("format")
    if found != FORMAT:
        raise WeightsError(f"`{DESCRIPTION}` has the format `{found}`; only `{FORMAT}` is known")
    if not isinstance(description.get("sha256"), dict):
        raise WeightsError(f"`{DESCRIPTION}` pins no file by its SHA-256")
    return description


def _tensors(content: bytes) -> Tensors:
    try:
        tensors: Tensors = load(content)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"`{MODEL}` is not a safetensors file: {error}") from error
    return tensors


def pack(tensors: Tensors) -> bytes:
    """Return the file for float32 `tensors`; matrices are stored as int8.

    A linear layer's matrix is (out, in) in PyTorch and (in, out) here, ready to multiply.
    """
    packed: dict[str, Array] = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and min(tensor.shape) > 2:
            embedding = "embeddings" in name
            matrix = tensor if embedding else np.ascontiguousarray(tensor.T)
            packed[name], packed[f"{name}.scale"] = quantized(matrix, axis=1 if embedding else 0)
        else:
            packed[name] = tensor.astype(np.float32)
    return save(packed, metadata={"format": FORMAT})


def quantized(matrix: Array, axis: int) -> tuple[Array, Array]:
    """Return int8 values and the float32 scales along the other axis: matrix ~ values * scale."""
    scale = np.abs(matrix).max(axis=axis, keepdims=True) / 127
    scale = np.maximum(scale, 1e-12).astype(np.float32)
    return np.rint(matrix / scale).astype(np.int8), scale
