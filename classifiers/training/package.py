"""Writes the weights folder: int8 weights, tokenizer and `encoder.toml` that pins them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from classifiers.encoder_text import LONGEST
from classifiers.encoder_weights import DESCRIPTION, FORMAT, MODEL, VOCABULARY, Weights, pack
from classifiers.training.example import HEADS

NAME = "encoder@1"
UNCALIBRATED: Mapping[str, Mapping[str, float]] = {
    head: {"slope": 1.0, "offset": 0.0} for head in HEADS
}


def write_weights(folder: Path, tensors: Mapping[str, Tensor], tokenizer: Path) -> None:
    """Write the weights and the tokenizer; `describe` must follow."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: tensor.float().numpy()
        for name, tensor in tensors.items()
        if "position_ids" not in name
    }
    # What is never read: places beyond the longest window, the base model's own pooler.
    place = "embeddings.position_embeddings.weight"
    arrays[place] = arrays[place][:LONGEST]
    kept = {name: array for name, array in arrays.items() if not name.startswith("pooler.")}
    (folder / MODEL).write_bytes(pack(kept))
    (folder / VOCABULARY).write_bytes(_compact(tokenizer))


def unpacked(weights: Weights) -> dict[str, Tensor]:
    """Return packed weights in float32 and as PyTorch has them, for training to begin at."""
    found: dict[str, Tensor] = {}
    for name, array in weights.tensors.items():
        if name.endswith(".scale"):
            continue
        value = torch.tensor(array, dtype=torch.float32)
        if (scale := weights.tensors.get(f"{name}.scale")) is not None:
            value = value * torch.tensor(scale)
            value = value if "embeddings" in name else value.T.contiguous()
        found[name] = value
    return found


def _compact(tokenizer: Path) -> bytes:
    """Return the tokenizer without its padding and truncation, which serving does not want."""
    document = json.loads(tokenizer.read_text(encoding="utf-8"))
    document["truncation"] = document["padding"] = None
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def describe(
    folder: Path,
    calibration: Mapping[str, Mapping[str, float]],
    thresholds: Mapping[str, Mapping[str, float]],
    provenance: Mapping[str, str],
) -> None:
    """Write `encoder.toml` for the files in `folder`."""
    lines = [
        "# Written by classifiers/training. The weights are pinned by their digests; a change",
        "# of either file, or of a number here, is another classifier.",
        f'format = "{FORMAT}"',
        f'name = "{NAME}"',
        f"heads = {json.dumps(list(HEADS))}",
        "",
        "[sha256]",
    ]
    lines += [f'"{name}" = "{_digest(folder / name)}"' for name in (MODEL, VOCABULARY)]
    lines += ["", "[provenance]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in provenance.items()]
    lines += ["", "# probability = sigmoid(slope * logit + offset)", "[calibration]"]
    lines += [f'"{head}" = {_table(numbers)}' for head, numbers in calibration.items()]
    lines += ["", "# The score that this share of benign validation texts reaches.", "[thresholds]"]
    lines += [f'"{head}" = {_table(numbers)}' for head, numbers in thresholds.items()]
    (folder / DESCRIPTION).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _table(numbers: Mapping[str, float]) -> str:
    pairs = (f"{json.dumps(key)} = {np.format_float_positional(v)}" for key, v in numbers.items())
    return "{" + ", ".join(f"{pair}0" if pair.endswith(".") else pair for pair in pairs) + "}"
