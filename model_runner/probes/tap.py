"""Reads the probes while a model computes what it would compute anyway. Needs torch.

A forward hook on each chosen decoder layer takes the residual stream that leaves it, scales
every token's vector to unit RMS (as the model's own next norm does) and adds its share of
the logits: no forward pass, and no activation is kept. The logits are then smoothed over
tokens, exponentially, from the conversation's first token on:

    smoothed[0] = logit[0];  smoothed[t] = (1 - step) * smoothed[t - 1] + step * logit[t]

Linear probes on several layers, smoothed over tokens: Constitutional Classifiers++
(arXiv 2601.04603).

    residual: (row, position, hidden), the model's type; logits: (row, position, category),
    float32, without the bias
"""

from __future__ import annotations

from typing import Any

import torch

from model_runner.probes.file import Probes, ProbesRefused


class Tap:
    """Probes on one model. One thread at a time may run the model.

    Args:
        model: A causal language model of transformers.
        probes: What is read; `Probes.check_weights` has passed.

    Attributes:
        categories: What is scored, in the order of scores.

    Raises:
        ProbesRefused: If the probes do not have the model's shape.
    """

    def __init__(self, model: Any, probes: Probes) -> None:  # noqa: ANN401 - transformers ships no types
        self.categories = probes.categories
        self._weights = torch.from_numpy(probes.weights).to(model.device)
        self._bias = torch.from_numpy(probes.bias).to(model.device)
        self._step = probes.step
        self._first = probes.layers[0]
        self._logits: torch.Tensor | None = None
        layers = decoder_layers(model)
        if probes.layers[-1] >= len(layers) or probes.weights.shape[2] != model.config.hidden_size:
            raise ProbesRefused("the probes do not have the shape of the model")
        self._hooks = [
            layers[layer].register_forward_hook(self._reader(layer, place))
            for place, layer in enumerate(probes.layers)
        ]

    def close(self) -> None:
        """Take the hooks out of the model."""
        for hook in self._hooks:
            hook.remove()

    def take(self) -> torch.Tensor:
        """Return the logits of the last forward pass, once: (row, position, category)."""
        logits, self._logits = self._logits, None
        if logits is None:
            raise RuntimeError("the probes read nothing of this forward pass")
        return logits

    def smooth(self, before: torch.Tensor | None, logits: torch.Tensor) -> torch.Tensor:
        """Return the smoothed logits at the last of some positions.

        Args:
            before: Those at the position before them, (..., category); None at the start.
            logits: (..., position, category).
        """
        count = logits.shape[-2]
        if before is None:
            before = logits[..., 0, :]
        ages = torch.arange(count - 1, -1, -1, device=logits.device)
        shares = self._step * (1 - self._step) ** ages  # (position,)
        return before * (1 - self._step) ** count + (shares.unsqueeze(-1) * logits).sum(dim=-2)

    def scores(self, smoothed: torch.Tensor) -> list[list[float]]:
        """Return probabilities for (row, category) smoothed logits."""
        scores: list[list[float]] = torch.sigmoid(smoothed + self._bias).tolist()
        return scores

    def _reader(self, layer: int, place: int) -> Any:  # noqa: ANN401 - a hook, as torch wants it
        def read(module: object, inputs: object, output: Any) -> None:  # noqa: ANN401 - likewise
            residual = output[0] if isinstance(output, tuple) else output
            share = torch.nn.functional.linear(unit_rms(residual), self._weights[:, place])
            # The first chosen layer begins anew: what a pass that failed left is gone.
            begun = None if layer == self._first else self._logits
            self._logits = share if begun is None else begun + share

        return read


def unit_rms(residual: torch.Tensor) -> torch.Tensor:
    """Return the vectors on the last axis in float32, scaled to a root mean square of 1."""
    whole = residual.float()
    return whole * torch.rsqrt(whole.pow(2).mean(dim=-1, keepdim=True) + 1e-6)


def decoder_layers(model: Any) -> Any:  # noqa: ANN401 - transformers ships no types
    """Return the model's decoder layers, in order."""
    return model.get_decoder().layers
