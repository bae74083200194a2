"""Draws the next token of each row of a batch, each by its own settings. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_GREEDY_BELOW = 1e-5  # dividing by less leaves the range of a float
_LIKELIEST = 256  # top_p seldom reaches further; sorting 201,088 scores takes 10 ms


@dataclass(frozen=True, slots=True)
class Draw:
    """How one row is sampled.

    Attributes:
        temperature: 0 is greedy.
        top_p: Of all tokens, only the likeliest that together have this probability.
        generator: The row's own, on the model's device, so that a seed gives the same
            reply whoever else is in the batch.
    """

    temperature: float
    top_p: float
    generator: torch.Generator


def make_draw(temperature: float, top_p: float, seed: int | None, device: torch.device) -> Draw:
    """Build the settings of one row; without a seed every reply is different."""
    generator = torch.Generator(device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return Draw(temperature, top_p, generator)


def draw_token(logits: torch.Tensor, draw: Draw) -> int:
    """Return the next token's id.

    Args:
        logits: (vocabulary,), any float type, before softmax.
        draw: The row's settings.

    Raises:
        RuntimeError: If the model gave scores that are not numbers.
    """
    if draw.temperature < _GREEDY_BELOW:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.float() / draw.temperature, dim=-1)
    if draw.top_p >= 1:
        return int(torch.multinomial(probabilities, 1, generator=draw.generator))
    kept, token_ids = _nucleus(probabilities, draw.top_p)
    return int(token_ids[torch.multinomial(kept, 1, generator=draw.generator)])


def _nucleus(probabilities: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the likeliest tokens' probabilities and ids: (kept,) each, likeliest first."""
    size = probabilities.shape[-1]
    kept, token_ids = probabilities.topk(min(_LIKELIEST, size))
    if kept.sum() < top_p:
        kept, token_ids = probabilities.sort(descending=True)
    before = kept.cumsum(dim=-1) - kept
    inside = before < top_p
    inside[0] = True  # also where top_p is 0
    return kept[inside], token_ids[inside]
