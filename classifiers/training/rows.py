"""The training set as token ids: what a machine with a GPU needs of it, and no text.

`python -m classifiers.training --data DIR --write-rows FILE` makes the file here, and
`--rows FILE` trains from it elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor

from classifiers.encoder_text import LONGEST, Shown, windows
from classifiers.training.example import HEADS, Example

LATER = 24  # windows of a harmless text of which one is taught beside the first


@dataclass(frozen=True, slots=True)
class Rows:
    """The windows that teach, each a row.

    Attributes:
        ids: (tokens of all rows,), int32.
        starts: (rows + 1,), int64: row i is `ids[starts[i]:starts[i + 1]]`.
        leads: (rows,), int64: how many of a row's tokens are not of the text itself.
        labels: (rows, heads), float32: how sure it is that 1 is right; NaN where unknown.
        weights: (rows,), float32, 1 on average.
    """

    ids: Tensor
    starts: Tensor
    leads: Tensor
    labels: Tensor
    weights: Tensor

    @property
    def lengths(self) -> Tensor:
        """(rows,), int64: tokens of each row."""
        return self.starts[1:] - self.starts[:-1]

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        safetensors.torch.save_file({name: getattr(self, name) for name in self.__slots__}, path)

    @classmethod
    def load(cls, path: Path) -> Rows:
        """Read what `save` wrote. Raises `OSError`, or `KeyError` if it is another file."""
        tensors = safetensors.torch.load_file(path)
        return cls(**{name: tensors[name] for name in cls.__slots__})


def rows_of(tokenizer: Tokenizer, examples: Sequence[Example], weights: Sequence[float]) -> Rows:
    """Cut the windows that teach; `weights` says how much each example counts."""
    taught = [
        (window, example, weight)
        for example, weight in zip(examples, weights, strict=True)
        for window in _teaching(tokenizer, example)
    ]
    lengths = torch.tensor([len(window.ids) for window, _, _ in taught])
    assert int(lengths.max()) <= LONGEST  # noqa: S101 - `windows` sees to it
    return Rows(
        ids=torch.tensor([i for window, _, _ in taught for i in window.ids], dtype=torch.int32),
        starts=torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)]),
        leads=torch.tensor([window.lead for window, _, _ in taught]),
        labels=torch.tensor(
            [[example.labels.get(head, math.nan) for head in HEADS] for _, example, _ in taught]
        ),
        weights=torch.tensor([weight for _, _, weight in taught], dtype=torch.float32),
    )


def _teaching(tokenizer: Tokenizer, example: Example) -> list[Shown]:
    """Return the first window; of a harmless text also one from further on.

    What harms stands near the start of most harmful texts, or the label would be wrong of
    the first window. A harmless text is harmless throughout, and serving reads all of it.
    """
    harmless = example.labels.get("any") == 0 and not any(example.labels.values())
    most = LATER if harmless else 1
    shown = windows(tokenizer, example.kind, example.text, example.prompt, most)
    if len(shown) < 2:
        return shown
    return [shown[0], shown[1 + crc32(example.text.encode("utf-8", "replace")) % (len(shown) - 1)]]
