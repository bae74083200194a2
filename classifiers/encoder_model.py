"""The encoder without anything around it: text to windows, windows to logits.

Serving adds batching, a cache and calibration; training measures what is here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from classifiers import encoder_graph
from classifiers.encoder_text import Kind, Shown, windows
from classifiers.encoder_weights import Weights, WeightsError

Logits = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

ANY, APART = "any", "prompt_injection"  # a prompt attack need not be a harm
MARGIN = 1.5  # in log odds


class Model:
    """A graph in ONNX Runtime and its tokenizer; safe to run from several threads.

    Attributes:
        heads: What each logit is about, in order.

    Raises:
        WeightsError: If the weights do not make a graph.
    """

    def __init__(self, weights: Weights):
        self.heads: tuple[str, ...] = tuple(weights.description["heads"])
        self._tokenizer = Tokenizer.from_str(weights.vocabulary)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        # One thread a run: several runs side by side waste less than one run on several.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            graph = encoder_graph.build(weights.tensors)
        except KeyError as error:
            raise WeightsError(f"the weights have no tensor {error}") from error
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def windows(self, kind: Kind, text: str, prompt: str, most: int) -> list[Shown]:
        """Return the windows that cover `text`, at most `most`; see `encoder_text.windows`."""
        return windows(self._tokenizer, kind, text, prompt, most)

    def run(self, batch: Sequence[Shown]) -> Logits:
        """Return logits: (batch, heads), float32; the same for a window whatever is beside it."""
        shape = len(batch), max(len(shown.ids) for shown in batch)
        ids, segments = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        mask = np.zeros(shape, np.int32)
        for row, shown in enumerate(batch):
            count = len(shown.ids)
            ids[row, :count] = shown.ids
            segments[row, shown.lead : count] = 1
            mask[row, :count] = 1
        inputs = {"ids": ids, "segments": segments, "mask": mask}
        logits: Logits = self._session.run(None, inputs)[0]
        return logits


def coherent(heads: Sequence[str], log_odds: Floats) -> Floats:
    """Return calibrated log odds in which no harm is much likelier than any harm at all.

    `any` has learned from every text, a rare category from few: where the two disagree on
    a text unlike those, `any` is right more often.

    Args:
        heads: Their names.
        log_odds: (texts or windows, heads), calibrated.
    """
    if ANY not in heads:
        return log_odds
    most = log_odds[:, [heads.index(ANY)]] + MARGIN
    bound = np.array([head not in (ANY, APART) for head in heads])
    return np.where(bound, np.minimum(log_odds, most), log_odds)
