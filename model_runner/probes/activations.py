"""What a model thinks where it draws the tokens of a labelled reply. Needs torch.

    residuals: (position, layers * hidden), float32: the residual streams after the chosen
    layers, each token's vector scaled to unit RMS, smoothed over tokens from the start

Smoothing vectors and then weighing them is the same as smoothing what `tap` reads, because
probes are linear. So training sees exactly what is served, and only the positions that
count have to be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import torch

from model_runner.probes.tap import decoder_layers, unit_rms
from model_runner.probes.texts import Labelled
from model_runner.reply import Codec
from model_runner.types import Message, Prompt, Role

MOST_POSITIONS = 48  # of one text; from a longer reply, evenly
_MOST_TOKENS = 1024  # a longer text is read up to here
_BATCH = 16


class Collector:
    """Reads labelled texts with one model.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        codec: How conversations are put to it.
        layers: Of which decoder layers the output is read, ascending.
        step: How much of a smoothed vector is the newest token's.
    """

    def __init__(self, model: Any, codec: Codec, layers: Sequence[int], step: float) -> None:  # noqa: ANN401 - transformers ships no types
        self._model = model
        self._codec = codec
        self._layers = tuple(layers)
        self._step = step

    @torch.inference_mode()
    def collect(
        self, texts: Sequence[Labelled], told: Callable[[int], None] = lambda done: None
    ) -> list[torch.Tensor]:
        """Return the residuals of each text, in order; `told` hears how many are done.

        Raises:
            PromptRejected: If a text cannot be put to the model.
            ValueError: If the model's template hides where a reply begins.
        """
        tokens = [self.tokens(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda index: len(tokens[index][0]))
        found: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        for begin in range(0, len(order), _BATCH):
            batch = order[begin : begin + _BATCH]
            residuals = self._read([tokens[index][0] for index in batch])
            for index, of_text in zip(batch, residuals, strict=True):
                ids, first = tokens[index]
                found[index] = _spread(of_text[first : len(ids)]).cpu()
            told(begin + len(batch))
        return found

    def tokens(self, text: Labelled) -> tuple[list[int], int]:
        """Return the ids that are read and the first position that draws a token of the reply.

        The last token of a reply is not read: nothing of it is drawn there.
        """
        asked = Message(Role.USER, text.prompt)
        opening = self._codec.render(Prompt("", (asked,)))
        if text.reply is None:
            return self._cut(opening, len(opening) - 1)
        empty, whole = (
            self._codec.render(
                Prompt("", (asked, Message(Role.ASSISTANT, said), Message(Role.USER, "-")))
            )
            for said in ("", text.reply)
        )
        if whole[: len(opening)] != opening or empty[: len(opening)] != opening:
            raise ValueError("the model's template writes a past reply unlike a new one")
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(empty, whole, strict=False))
        begun = sum(1 for _ in alike)
        end = begun + len(whole) - len(empty)
        return self._cut(whole[: max(end - 1, len(opening))], len(opening) - 1)

    def _cut(self, ids: list[int], first: int) -> tuple[list[int], int]:
        if first >= _MOST_TOKENS:  # the end of a long prompt is where the reply begins
            ids = ids[first + 1 - _MOST_TOKENS // 2 :]
            first = _MOST_TOKENS // 2 - 1
        return ids[:_MOST_TOKENS], first

    def _read(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return smoothed residuals: (row, position, layers * hidden)."""
        longest = max(map(len, rows))
        # Padded on the right: no token sees what comes after it.
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        read: dict[int, torch.Tensor] = {}
        layers = decoder_layers(self._model)
        hooks = [layers[layer].register_forward_hook(_keep(read, layer)) for layer in self._layers]
        try:
            self._model.get_decoder()(input_ids=ids.to(self._model.device), use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        residuals = torch.cat([read[layer] for layer in self._layers], dim=-1)
        for place in range(1, longest):
            residuals[:, place] = torch.lerp(
                residuals[:, place - 1], residuals[:, place], self._step
            )
        return residuals


def _keep(read: dict[int, torch.Tensor], layer: int) -> Callable[[object, object, Any], None]:
    def hook(module: object, inputs: object, output: Any) -> None:  # noqa: ANN401 - torch's shape
        read[layer] = unit_rms(output[0] if isinstance(output, tuple) else output)

    return hook


def _spread(residuals: torch.Tensor) -> torch.Tensor:
    """Keep at most `MOST_POSITIONS`, the first and the last among them."""
    count = len(residuals)
    if count <= MOST_POSITIONS:
        return residuals
    return residuals[torch.linspace(0, count - 1, MOST_POSITIONS).round().long()]
